import torch

from minimm.objectives import masking
from test_golden import EXACT, close, read


def test_albef_mlm():
    tensors, p = read("albef_mlm")
    labels = torch.where(tensors["labels"] < 0, masking.IGNORE, tensors["labels"])
    for alpha in p["mlm_alphas"]:
        logits = tensors["logits"].clone().requires_grad_()
        loss = masking.masked_cross_entropy(logits, labels, tensors["logits_m"], alpha)
        loss.backward()
        close(loss, tensors[f"mlm.a{alpha}.loss"], EXACT, f"alpha {alpha}")
        close(logits.grad, tensors[f"mlm.a{alpha}.grad"], EXACT, f"alpha {alpha}")


def test_albef_mlm_masking():
    tensors, p = read("albef_mlm_masking")
    ids, bits = tensors["ids"], {k: tensors[f"draw.{k}"].bool() for k in ("selected", "replace", "random")}
    may_hide = (ids != p["pad_id"]) & (ids != p["cls_id"])
    drawn = masking.Draw(bits["replace"], bits["random"], tensors["draw.words"])
    applied = masking.apply_mask(ids, bits["selected"] & may_hide, drawn, p["mask_id"])
    torch.manual_seed(p["rng_seed"])
    seeded = masking.mask_tokens(ids, may_hide, p["mask_id"], p["vocab"], p["p"])
    for masked in (applied, seeded):
        assert masked.ids.equal(tensors["out.ids"]) and masked.labels.equal(tensors["out.labels"])
    # Shares on many tokens; both are samples, and [SEP] is hidden as often as a word.
    torch.manual_seed(p["rng_seed"])
    ids = torch.full(tuple(p["stats_shape"]), p["pad_id"])
    length = p["stats_len"]
    ids[:, 0], ids[:, length - 1] = p["cls_id"], p["sep_id"]
    ids[:, 1:length - 1] = torch.randint(p["low"], p["vocab"], (len(ids), length - 2))
    may_hide = (ids != p["pad_id"]) & (ids != p["cls_id"])
    masked = masking.mask_tokens(ids, may_hide, p["mask_id"], p["vocab"], p["p"])
    selected = masked.labels != masking.IGNORE
    shares = {"rate": selected[may_hide], "mask": (masked.ids == p["mask_id"])[selected],
              "kept": (masked.ids == ids)[selected], "sep_selected": selected[:, length - 1]}
    assert not selected[~may_hide].any()
    for name, share in shares.items():
        expected = tensors[f"stats.{name}"].item()
        error = (2 * expected * (1 - expected) / share.numel()) ** 0.5
        assert abs(share.double().mean().item() - expected) < 4 * error, name


def test_vilt_whole_word_mask():
    tensors, p = read("vilt_whole_word_mask")
    vocab = p["vocab"]
    continues = torch.tensor([token.startswith("##") for token in vocab])
    pad, cls, sep, mask = (vocab.index(f"[{name}]") for name in ("PAD", "CLS", "SEP", "MASK"))
    for kind in ("plain", "padded"):
        for probability in p["ps"]:
            get = lambda name: tensors[f"{kind}.p{probability}.{name}"]  # noqa: E731
            ids, lengths = get("ids"), get("len")
            numbers = masking.word_numbers(ids, continues, [cls, sep])
            within = torch.arange(ids.shape[1]) < lengths[:, None]
            numbers = torch.where(within, numbers, -1)
            assert numbers.equal(get("word_id"))
            orders = [row[row >= 0] for row in get("order")]
            budgets = [masking.budget(length, probability) for length in lengths.tolist()]
            selected = masking.select_words(numbers, orders, budgets) & (ids != pad)
            drawn = masking.Draw(get("draw_replace").bool(), get("draw_random").bool(), get("draw_words"))
            masked = masking.apply_mask(ids, selected, drawn, mask)
            assert masked.ids.equal(get("out_ids")), (kind, probability)
            assert masked.labels.equal(get("out_labels")), (kind, probability)
