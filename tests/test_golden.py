"""Numbers obtained by running the authors' own code, reproduced (see golden/README.md).

The folder is tests/golden, or what the variable MINIMM_GOLDEN names: every size, seed and value comes from the
`params` in each file's metadata and from the shapes, so any folder of this layout will do.
"""

import json
import math
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

from benchmarks.peers import hugging_face_weights
from minimm.evaluation import retrieval as measures
from minimm.explain import methods, record
from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.models.clip import CLIP, AttentionPool, CLIPConfig
from minimm.models.heads import vilt_head
from minimm.models.moco import MoCo, MoCoConfig
from minimm.models.vilbert import CoAttention, ViLBERT, ViLBERTConfig
from minimm.models.vilt import ViLT, ViLTConfig, ViLTRetrieval
from minimm.models.vse import FeatureEncoder, TextEncoder, VSEConfig
from minimm.objectives import contrastive, masking, momentum, regions
from minimm.objectives.answers import answer_loss
from minimm.objectives.contrastive import inner_product, similarity, symmetric_cross_entropy
from minimm.objectives.hinge import max_of_hinges, order_similarity, sum_of_hinges
from minimm.objectives.masking import IGNORE, Draw, Masked, apply_mask
from minimm.objectives.matching import ranking_loss
from minimm.objectives.transport import cosine_cost, transport
from minimm.training.schedules import albef_learning_rate

FOLDER = Path(os.environ.get("MINIMM_GOLDEN") or Path(__file__).parent / "golden")

BUILT = {
    "albef_gradcam", "albef_itc", "albef_mlm", "albef_mlm_masking", "albef_pretrain_tiny", "albef_queue_ema",
    "albef_rerank", "albef_retrieval_tiny", "albef_schedules", "clip_attnpool", "clip_init_stats", "clip_loss",
    "clip_tiny", "explain_clip", "explain_rules", "moco", "retrieval_metrics", "vilbert_coattention", "vilbert_regions",
    "vilbert_tiny", "vilt_ipot", "vilt_tiny", "vilt_whole_word_mask", "vsepp_encoders", "vsepp_loss",
}
# Read together with another file.
COMPANIONS = {"clip_tiny_hf_keymap", "clip_init_stats_params", "vilt_tiny_hf_keymap"}

EXACT = {"rtol": 0, "atol": 1e-8}  # the authors' code ran in float64
SINGLE = {"rtol": 2e-5, "atol": 2e-5}  # the authors' code ran in float32


class Tensors(dict):
    """The tensors of a golden file. `unread` holds the names of those that nobody has asked for yet."""

    def __init__(self, tensors):
        super().__init__(tensors)
        self.unread = set(tensors)

    def __getitem__(self, name):
        self.unread.discard(name)
        return super().__getitem__(name)

    def under(self, prefix):
        """Those whose names begin with the prefix, by the rest of their names; at least one."""
        found = {name.removeprefix(prefix): self[name] for name in self if name.startswith(prefix)}
        assert found, f"no {prefix}*"
        return found


READ = []  # (name, tensors) of every file that the test in progress reads whole


def read(name, whole=True):
    """(tensors, params) of a golden file; floating-point tensors as float64. whole: the test has to use all of them."""
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        tensors = Tensors({key: file.get_tensor(key) for key in file.keys()})
        params = json.loads(file.metadata()["params"])
    tensors.update({name: t.double() for name, t in tensors.items() if t.is_floating_point()})
    if whole:
        READ.append((name, tensors))
    return tensors, params


@pytest.fixture(autouse=True)
def every_tensor_is_used(request):
    READ.clear()
    failed = request.session.testsfailed
    yield
    # Another folder may hold further tensors; in ours nothing stands unused.
    if request.session.testsfailed == failed and not os.environ.get("MINIMM_GOLDEN"):
        for name, tensors in READ:
            unread = sorted(tensors.unread)
            assert not unread, f"{name}: the test never looked at {', '.join(unread)}"


def pad_id(ids, mask):
    """The id that stands where there is no text, for files whose params do not name it."""
    pads = ids[~mask].unique().tolist() or [0]
    assert len(pads) == 1
    return pads[0]


def close(came, expected, tolerance, what=""):
    came, expected = (torch.as_tensor(x, dtype=torch.float64) for x in (came, expected))
    torch.testing.assert_close(came, expected, **tolerance, msg=lambda m: f"{what}: {m}")


def test_every_file_is_known():
    found = {path.stem for path in FOLDER.iterdir() if path.suffix in (".safetensors", ".json")}
    assert found, f"no golden files in {FOLDER}"
    assert found <= BUILT | COMPANIONS, "a golden file that no test reads and no list names"
    assert BUILT <= found, "a golden file is missing"


def test_clip_loss():
    tensors, params = read("clip_loss")
    assert tensors["img"].shape == (params["B"], params["D"])
    for case, log_scale in params["log_scales"].items():
        images, texts = (tensors[name].clone().requires_grad_() for name in ("img", "txt"))
        scale = torch.tensor(log_scale, dtype=torch.float64, requires_grad=True)
        close(scale.detach(), tensors[f"{case}.log_scale"], EXACT)
        logits = similarity(images, texts, scale)
        close(logits / scale.exp(), tensors["cos"], EXACT, "cosines")
        loss = symmetric_cross_entropy(logits)
        loss.backward()
        close(loss, tensors[f"{case}.loss"], EXACT, case)
        close(images.grad, tensors[f"{case}.grad_img"], EXACT, case)
        close(texts.grad, tensors[f"{case}.grad_txt"], EXACT, case)
        close(scale.grad, tensors[f"{case}.grad_log_scale"], EXACT, case)


def clip_name(name):
    """A golden name of a CLIP weight as this library's name."""
    parts = name.split(".")
    if parts[:2] == ["vision", "patch"]:
        parts[1:2] = ["patch", "conv"]
    if len(parts) > 2 and parts[1].startswith("blk"):
        parts[1:2] = ["blocks", parts[1][3:]]
        if parts[3] in ("fc1", "fc2"):
            parts.insert(3, "mlp")
    return ".".join(parts)


def tiny_clip(whole=True):
    tensors, p = read("clip_tiny", whole)
    config = CLIPConfig(
        embed_dim=p["embed_dim"], image=p["image"], patch=p["patch"], vision_width=p["vision_width"],
        vision_layers=p["vision_layers"], vision_heads=p["vision_heads"], context=p["context"], vocab=p["vocab"],
        text_width=p["text_width"], text_layers=p["text_layers"], text_heads=p["text_heads"],
        eot_id=int(tensors["in.text"].max()), stem=False)  # the published vocabulary: end-of-text is the highest id
    model = CLIP(config).double()
    model.load_state_dict({clip_name(k): t for k, t in tensors.under("w.").items()})
    return model, tensors


def test_clip_tiny():
    model, tensors = tiny_clip()
    # Rounding errors of float32 grow with the scale that logits are multiplied by. SINGLE is for the initial one.
    growth = max(1, 0.07 * model.log_scale.exp().item())
    single = {kind: growth * tolerance for kind, tolerance in SINGLE.items()}
    seen = {}
    watched = {"vision.ln_pre": model.vision.ln_pre, "text.ln_final": model.text.ln_final}
    for tower in ("vision", "text"):
        for i, block in enumerate(getattr(model, tower).blocks):
            watched[f"{tower}.blk{i}"] = block
    for name, module in watched.items():
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
    images, ids = tensors["in.image"], tensors["in.text"]
    out = model(images, ids)
    loss = symmetric_cross_entropy(out.logits_per_image)
    loss.backward()

    for name, activation in tensors.under("act.").items():
        close(seen[name], activation, single, name)
    for prefix, tolerance in (("out64", EXACT), ("out", single)):
        close(out.image_features, tensors[f"{prefix}.image_features"], tolerance, prefix)
        close(out.text_features, tensors[f"{prefix}.text_features"], tolerance, prefix)
        close(out.logits_per_image, tensors[f"{prefix}.logits_per_image"], tolerance, prefix)
        close(loss, tensors[f"{prefix}.loss"], tolerance, prefix)
    close((ids == model.config.eot_id).int().argmax(1), tensors["in.eot_pos"], EXACT)
    for prefix, tolerance in (("grad64.", EXACT), ("grad.", single)):
        for name, gradient in tensors.under(prefix).items():
            close(model.get_parameter(clip_name(name)).grad, gradient, tolerance, name)


def test_clip_tiny_hf_keymap():
    """The weights under Hugging Face's names are those that its model gets in the benchmarks and in test_parity.py."""
    model, tensors = tiny_clip(whole=False)
    keymap = json.loads((FOLDER / "clip_tiny_hf_keymap.json").read_text())
    theirs = hugging_face_weights(model)
    assert sorted(keymap) == sorted(tensors.under("w.")) and sorted(keymap.values()) == sorted(theirs)
    for name, its in keymap.items():
        assert theirs[its].equal(tensors[f"w.{name}"]), name


def openai_weights(model):
    """The weights of a CLIP under the names, and in the fused and transposed shapes, of the authors' state dict."""
    result = {"logit_scale": model.log_scale}
    for tower, prefix in ((model.vision, "visual."), (model.text, "")):
        for i, block in enumerate(tower.blocks):
            name = f"{prefix}transformer.resblocks.{i}."
            for part in ("weight", "bias"):
                result[f"{name}attn.in_proj_{part}"] = torch.cat(
                    [getattr(block.attn.get_submodule(m), part) for m in "qkv"])
                for theirs, ours in (("attn.out_proj", "attn.o"), ("ln_1", "ln1"), ("ln_2", "ln2"),
                                     ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):
                    result[f"{name}{theirs}.{part}"] = getattr(block.get_submodule(ours), part)
    vision, text = model.vision, model.text
    result |= {
        "visual.class_embedding": vision.cls, "visual.positional_embedding": vision.pos,
        "visual.proj": vision.proj.weight.T, "visual.conv1.weight": vision.patch.conv.weight,
        "visual.ln_pre.weight": vision.ln_pre.weight, "visual.ln_pre.bias": vision.ln_pre.bias,
        "visual.ln_post.weight": vision.ln_final.weight, "visual.ln_post.bias": vision.ln_final.bias,
        "positional_embedding": text.pos, "text_projection": text.proj.weight.T,
        "token_embedding.weight": text.tok.weight, "ln_final.weight": text.ln_final.weight,
        "ln_final.bias": text.ln_final.bias,
    }
    return result


def test_clip_init_stats():
    golden = json.loads((FOLDER / "clip_init_stats.json").read_text())
    p = json.loads((FOLDER / "clip_init_stats_params.json").read_text())
    torch.manual_seed(p["seed"])
    model = CLIP(CLIPConfig(
        embed_dim=p["embed_dim"], image=p["image"], patch=p["patch"], vision_width=p["vision_width"],
        vision_layers=p["vision_layers"], vision_heads=max(1, p["vision_width"] // 64), context=p["context"],
        vocab=p["vocab"], text_width=p["text_width"], text_layers=p["text_layers"], text_heads=p["text_heads"],
        eot_id=p["vocab"] - 1, stem=False))
    ours = openai_weights(model)
    assert sorted(ours) == sorted(golden)
    assert sum(t.numel() for t in ours.values()) == sum(p.numel() for p in model.parameters())
    for name, (shape, mean, std) in golden.items():
        values = ours[name].detach().double()
        assert list(values.shape) == shape, name
        if std == 0:
            assert values.std(unbiased=False) < 1e-12 and math.isclose(values.mean(), mean, abs_tol=1e-5), name
            continue
        # Both are samples of n numbers. The standard error of a standard deviation is s / sqrt(2 n) for a normal
        # distribution and less for a uniform one; the files are rounded to five digits.
        error = std / math.sqrt(2 * values.numel())
        assert abs(values.std().item() - std) < 4 * math.sqrt(2) * error + 1e-5, (name, values.std().item(), std)
        assert abs(values.mean().item() - mean) < 4 * 2 * error + 1e-5, (name, values.mean().item(), mean)


def test_clip_attnpool():
    tensors, p = read("clip_attnpool")
    pool = AttentionPool(p["side"] ** 2, p["dim"], p["heads"], p["out"]).double()
    pool.load_state_dict({name if name == "pos" else f"attn.{name}": tensors[name] for name in tensors
                          if name not in ("x", "out")})
    close(pool(tensors["x"]), tensors["out"], EXACT)


def test_retrieval_metrics():
    tensors, p = read("retrieval_metrics")
    images, captions = tensors["img"], tensors["caps"]
    # Order embeddings are made non-negative first; the authors computed these in float32.
    above, below = captions.abs().float(), images.abs().float()
    order = -(above[None] - below[:, None]).clamp(min=0).square().sum(-1).sqrt()
    of_text = torch.arange(p["images"]).repeat_interleave(p["captions_per_image"])
    for measure, scores in (("cosine", images @ captions.T), ("order", order)):
        of_picture, of_caption = measures.ranks(scores, of_text)
        close(of_picture, tensors[f"{measure}.i2t_ranks0"], EXACT)
        close(of_caption, tensors[f"{measure}.t2i_ranks0"], EXACT)
        # The best score; of several that are the same, any.
        for dim, top in ((1, tensors[f"{measure}.i2t_top1"]), (0, tensors[f"{measure}.t2i_top1"])):
            close(scores.take_along_dim(top.unsqueeze(dim), dim).squeeze(dim), scores.amax(dim), EXACT)
        result = measures.retrieval(scores, of_text)
        close(result.text, tensors[f"{measure}.i2t"], EXACT)
        close(result.image, tensors[f"{measure}.t2i"], EXACT)

    close(measures.recall(tensors["median_example.ranks0"]).median, tensors["median_example.medr"], EXACT)
    of_text = torch.tensor(p["albef_txt2img"])
    close(of_text, tensors["albef.txt2img"], EXACT)
    # Re-ranked scores are two matrices, one a direction.
    text = measures.retrieval(tensors["albef.score_i2t"], of_text).text
    image = measures.retrieval(tensors["albef.score_t2i"].T, of_text).image
    for ours, name in ((text, "txt"), (image, "img")):
        for k in ("r1", "r5", "r10"):
            close(getattr(ours, k), tensors[f"albef.{name}_{k}"], EXACT, f"{name} {k}")
    for name, recalls in (("txt_r_mean", text[:3]), ("img_r_mean", image[:3]), ("r_mean", text[:3] + image[:3])):
        close(sum(recalls) / len(recalls), tensors[f"albef.{name}"], EXACT, name)


def test_albef_mlm():
    tensors, p = read("albef_mlm")
    labels = torch.where(tensors["labels"] < 0, masking.IGNORE, tensors["labels"])
    for alpha in p["mlm_alphas"]:
        logits = tensors["logits"].clone().requires_grad_()
        loss = masking.masked_cross_entropy(logits, labels, tensors["logits_m"], alpha)
        loss.backward()
        close(loss, tensors[f"mlm.a{alpha}.loss"], EXACT, f"alpha {alpha}")
        close(logits.grad, tensors[f"mlm.a{alpha}.grad"], EXACT, f"alpha {alpha}")
    for alpha in p["clm_alphas"]:
        of_answer = masking.causal_cross_entropy(tensors["logits"], labels, tensors["logits_m"], alpha)
        close(of_answer, tensors[f"clm.a{alpha}.per_sample"], EXACT, f"alpha {alpha}")
        close((of_answer * tensors["clm.weights"]).sum() / p["num_questions"], tensors[f"clm.a{alpha}.vqa_loss"], EXACT)


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
        assert abs(share.double().mean().item() - expected) <= 4 * error, name


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


def albef_config(p, **changes):
    return ALBEFConfig(
        embed_dim=p["embed"], image=p["image"], patch=p["patch"], vision_width=p["v_width"],
        vision_layers=p["v_depth"], vision_heads=p["v_heads"], vision_hidden=int(p["v_width"] * p["v_mlp_ratio"]),
        context=p["max_pos"], vocab=p["vocab"], text_width=p["hidden"], text_layers=p["fusion"],
        fusion_layers=p["layers"] - p["fusion"], text_heads=p["heads"], text_hidden=p["inter"], pad_id=p["pad_id"],
        cls_id=p["cls_id"], mask_id=p["mask_id"], stem=False, temperature=p["temp"], alpha_steps=0, **changes)


def albef_name(name, config):
    """A golden name of an ALBEF weight as this library's name within `Encoders` (not of the matching head)."""
    for theirs, ours in (("vision.patch.", "vision.patch.conv."), ("proj_v", "image_proj"), ("proj_t", "text_proj")):
        name = name.replace(theirs, ours)
    for theirs, ours in (("tok", "tok"), ("pos", "pos"), ("type", "token_type"), ("ln_emb", "ln")):
        name = name.replace(f"text.{theirs}.", f"text.embed.{ours}.")
    parts = name.split(".")
    if len(parts) > 2 and parts[1].startswith("blk"):
        number = int(parts[1][3:])
        fusion = parts[0] == "text" and number >= config.text_layers
        where = "blocks" if parts[0] == "vision" else "fusion" if fusion else "layers"
        parts[1:2] = [where, str(number - config.text_layers * fusion)]
        if parts[3] in ("fc1", "fc2"):
            parts.insert(3, "mlp")
    return ".".join(parts)


def tiny_albef(tensors, p, **changes):
    config = albef_config(p, **changes)
    model = ALBEF(config).double()
    for prefix, encoders in (("w.", model.online), ("m0.", model.momentum)):
        encoders.load_state_dict({albef_name(k, config): t for k, t in tensors.under(prefix).items()
                                  if not k.startswith("itm.")})
    model.itm.load_state_dict(tensors.under("w.itm."))
    for name in ("alpha", "momentum"):
        close(p[name], tensors[name], EXACT, name)
    with torch.no_grad():
        model.temperature.fill_(tensors["temp"])
    for name, queue in (("img", model.image_queue), ("txt", model.text_queue)):
        queue.keys.copy_(tensors[f"queue_{name}0"])
    if config.index_targets:
        model.index_queue.keys.copy_(tensors["queue_idx0"])
    return model.train()


def albef_gradient(model, name):
    if name == "temp":
        return model.temperature.grad
    if name.startswith("itm."):
        return model.get_parameter(name).grad
    return model.online.get_parameter(albef_name(name, model.config)).grad


def test_albef_itc():
    tensors, p = read("albef_itc")
    cases = [(*case, False) for case in p["cases"]] + [(*case, True) for case in p["multi_cases"]]
    index, queue_index = torch.tensor(p["idx"]), torch.tensor(p["idx_queue"])
    for name, alpha, temperature, multi in cases:
        image, text = (tensors[f"in.{k}"].clone().requires_grad_() for k in ("img", "txt"))
        tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
        image_m, text_m = (F.normalize(tensors[f"in.{k}_m"], dim=-1) for k in ("img", "txt"))
        image_keys = torch.cat([image_m.T, tensors["in.queue_img"]], 1)
        text_keys = torch.cat([text_m.T, tensors["in.queue_txt"]], 1)
        hard = torch.eye(p["B"], p["B"] + p["K"], dtype=torch.float64)
        if multi:
            hard = contrastive.shared_targets(index, torch.cat([index, queue_index]), torch.float64)
            close(hard, tensors["multi.targets"], EXACT)
            assert index.equal(tensors["multi.idx"]) and queue_index.equal(tensors["multi.idx_queue"])
        loss = 0
        for online, teacher, keys in ((image, image_m, text_keys), (text, text_m, image_keys)):
            targets = contrastive.distilled_targets(hard, contrastive.key_similarity(teacher, keys, tau), alpha)
            logits = contrastive.key_similarity(F.normalize(online, dim=-1), keys, tau)
            loss = loss + contrastive.soft_cross_entropy(logits, targets) / 2
        loss.backward()
        for came, what in ((loss, "loss"), (image.grad, "grad_img"), (text.grad, "grad_txt"), (tau.grad, "grad_temp")):
            close(came, tensors[f"{name}.{what}"], EXACT, f"{name} {what}")


def test_albef_queue_ema():
    tensors, p = read("albef_queue_ema")
    queues = {"img": momentum.Queue(tensors["queue_img0"]), "txt": momentum.Queue(tensors["queue_txt0"])}
    for queue in queues.values():
        queue.pointer.copy_(tensors["ptr0"])
    for step in range(p["steps"]):
        for name, queue in queues.items():
            queue.enqueue(tensors[f"s{step}.{name}"])
            close(queue(), tensors[f"s{step}.queue_{name}_after"], EXACT)
            close(queue.pointer, tensors[f"s{step}.ptr_after"], EXACT)
    for m in (p["ema"], *(p["extra_ema"] or [])):
        slow, fast = (torch.nn.ParameterList([tensors[k].clone()]) for k in ("ema.before", "ema.online"))
        momentum.ema_update(slow, fast, m)
        close(slow[0], tensors[f"ema.after_{m}"], EXACT)


def test_albef_pretrain_tiny():
    tensors, p = read("albef_pretrain_tiny")
    model = tiny_albef(tensors, p, queue=p["queue"], momentum=p["momentum"], alpha=p["alpha"])
    ids, mask = tensors["in.ids"], tensors["in.att"].bool()
    assert model.text_mask(ids).equal(mask)
    labels = torch.where(tensors["in.mlm_labels"] < 0, IGNORE, tensors["in.mlm_labels"])
    step = model.step(tensors["in.image"], ids, masked=Masked(tensors["in.mlm_ids"], labels),
                      negatives=(tensors["in.neg_img_for_text"], tensors["in.neg_txt_for_image"]))
    sum(step.losses.values()).backward()
    for came, name in (
            (step.losses["contrastive"], "loss_ita"), (step.losses["matching"], "loss_itm"),
            (step.losses["masked language"], "loss_mlm"), (step.image_features, "image_feat"),
            (step.text_features, "text_feat"), (step.momentum_image_features, "image_feat_m"),
            (step.momentum_text_features, "text_feat_m"), (step.image_weights, "itm_weights_t2i"),
            (step.text_weights, "itm_weights_i2t"), (step.fused_cls, "itm_cls"), (step.matching_logits, "itm_logits"),
            (step.language_logits, "mlm_logits"), (step.teacher_logits, "mlm_logits_m"),
            (model.image_queue(), "queue_img"), (model.text_queue(), "queue_txt"),
            (model.image_queue.pointer, "queue_ptr")):
        close(came, tensors[f"out.{name}"], EXACT, name)
    for name, weight in tensors.under("out.m1.").items():
        close(model.momentum.get_parameter(albef_name(name, model.config)), weight, EXACT, name)
    for name, gradient in tensors.under("grad.").items():
        close(albef_gradient(model, name), gradient, EXACT, name)
    assert all(w.grad is None for w in model.momentum.parameters())


def test_albef_retrieval_tiny():
    tensors, p = read("albef_retrieval_tiny")
    for name, alpha in (("distill0", 0.0), ("distill1", p["alpha"])):
        model = tiny_albef(tensors, p, queue=p["queue"], momentum=p["momentum"], alpha=alpha, index_targets=True)
        index = tensors["in.idx"]
        assert index.tolist() == p["idx"] and model.index_queue()[0].tolist() == p["idx_queue"]
        assert model.text_mask(tensors["in.ids"]).equal(tensors["in.att"].bool())
        step = model.step(tensors["in.image"], tensors["in.ids"], index,
                          negatives=(tensors[f"{name}.neg_img_for_text"], tensors[f"{name}.neg_txt_for_image"]))
        sum(step.losses.values()).backward()
        close(step.targets, tensors["out.targets"], SINGLE)  # the authors round the shares to float32
        for came, what in ((step.losses["contrastive"], "loss_ita"), (step.losses["matching"], "loss_itm"),
                           (step.image_weights, "itm_weights_t2i"), (step.text_weights, "itm_weights_i2t"),
                           (step.matching_logits, "itm_logits")):
            close(came, tensors[f"{name}.{what}"], SINGLE if what == "loss_ita" else EXACT, f"{name} {what}")
        for what, gradient in tensors.under(f"{name}.grad.").items():
            close(albef_gradient(model, what), gradient, SINGLE, f"{name} {what}")
        close(model.index_queue(), tensors["out.queue_idx"], EXACT)
        close(model.image_queue(), tensors["out.queue_img"], EXACT)
        close(model.image_queue.pointer, tensors["out.ptr"], EXACT)


def test_albef_rerank():
    tensors, p = read("albef_rerank")
    weights, q = read(p["weights_of"], whole=False)
    model = tiny_albef(weights, q, queue=q["queue"], index_targets=True).eval()
    assert p["k"] == tensors["k"] and model.text_mask(tensors["in.ids"]).equal(tensors["in.att"].bool())
    cosines, of_text, of_image = model.rerank(tensors["in.image"], tensors["in.ids"], p["k"])
    close(cosines, tensors["out.itc_sim"], EXACT)
    close(of_text, tensors["out.score_i2t"], EXACT)
    close(of_image, tensors["out.score_t2i"], EXACT)


def albef_curve(what, case, length):
    """alpha or the learning rate (lr) in so many iterations."""
    n, curve = case["n"], torch.zeros(length, dtype=torch.float64)
    model = ALBEF(ALBEFConfig(alpha=case["alpha"], alpha_steps=n, queue=4))
    for i in range(length):
        model.steps.fill_(i)
        curve[i] = model.alpha() if what.startswith("alpha") else albef_learning_rate(
            *divmod(i, n), case["lr"], case["min_lr"], case["warmup_lr"], case["epochs"], case["warmup_epochs"])
    return curve


def test_albef_schedules():
    tensors, p = read("albef_schedules")
    # Further cases, extra_*, say what they change; which one a curve belongs to shows in its values, not in its name.
    cases = [p[name.removeprefix("extra_")] | case for name, of_name in p.items() if of_name
             for case in (of_name if isinstance(of_name, list) else [of_name])]
    for key in tensors:
        what, expected = key.split(".", 1)[1], tensors[key]
        curves = [albef_curve(what, case, len(expected)) for case in cases]
        assert any(torch.allclose(curve, expected, rtol=1e-9, atol=1e-12) for curve in curves), key


HINGES = {"sum": sum_of_hinges, "max": max_of_hinges}


def test_vsepp_loss():
    tensors, p = read("vsepp_loss")
    assert tensors["emb.im"].shape == (p["B"], p["D"]) and tensors["score.S"].shape == (p["n"], p["n"])
    close(order_similarity(tensors["order.im"], tensors["order.s"]), tensors["order.sim"], EXACT, "order.sim")
    for name, hinges in HINGES.items():
        for prefix, inputs, similarity, margin in (
                (f"emb.cosine.{name}", "emb", inner_product, p["margin"]),
                (f"order.{name}", "order", order_similarity, p["order_margin"][name])):
            images, texts = (tensors[f"{inputs}.{side}"].clone().requires_grad_() for side in ("im", "s"))
            loss = hinges(similarity(images, texts), margin)
            loss.backward()
            for what, came in (("loss", loss), ("grad_im", images.grad), ("grad_s", texts.grad)):
                close(came, tensors[f"{prefix}.{what}"], EXACT, f"{prefix}.{what}")
        for margin in p["score_margins"]:
            scores = tensors["score.S"].clone().requires_grad_()
            loss = hinges(scores, margin)
            loss.backward()
            for what, came in (("loss", loss), ("grad", scores.grad)):
                key = f"score.{name}.m{margin}.{what}"
                close(came, tensors[key], EXACT, key)


def test_vsepp_encoders():
    tensors, p = read("vsepp_encoders")
    ids, lengths = tensors["text.ids"], tensors["text.lengths"]
    config = {"embed_dim": p["embed"], "vocab": p["vocab"], "word_dim": p["word_dim"], "cnn": "precomputed",
              "cnn_width": p["img_dim"], "pad_id": pad_id(ids, torch.arange(ids.shape[1]) < lengths[:, None])}
    assert lengths.tolist() == p["lengths"] == (ids != config["pad_id"]).sum(1).tolist()
    for name, choices in (("text.out", {}), ("text.out_abs", {"use_abs": True})):
        encoder = TextEncoder(VSEConfig(**config, **choices)).double()
        encoder.load_state_dict({"embed.weight": tensors["text.embed.weight"],
                                 **{f"rnn.{k}": t for k, t in tensors.under("text.gru.").items()}})
        close(encoder(ids), tensors[name], EXACT, name)
    for name, choices in (("image.out", {}), ("image.out_no_imgnorm", {"no_imgnorm": True}),
                          ("image.out_abs_no_imgnorm", {"no_imgnorm": True, "use_abs": True})):
        encoder = FeatureEncoder(p["img_dim"], VSEConfig(**config, **choices)).double()
        encoder.fc.load_state_dict(tensors.under("image.fc."))
        close(encoder(tensors["image.feat"]), tensors[name], EXACT, name)


def test_moco():
    tensors, p = read("moco")
    model = MoCo(nn.Linear(p["in_dim"], p["dim"]), MoCoConfig(dim=p["dim"], K=p["K"], m=p["m"], T=p["T"])).double()
    model.encoder_q.load_state_dict(tensors.under("w.q."))
    model.encoder_k.load_state_dict(tensors.under("w.k0."))
    model.queue.keys.copy_(tensors["queue0"])
    for i in range(p["steps"]):
        views = tensors[f"s{i}.xq"], tensors[f"s{i}.xk"]
        assert len(views[0]) == p["batch"]
        model.zero_grad()
        out = model(*views)
        loss = nn.functional.cross_entropy(out.logits, out.labels)
        loss.backward()
        for what, came in (("logits", out.logits), ("labels", out.labels), ("loss", loss),
                           ("grad_q_weight", model.encoder_q.weight.grad), ("k_weight_after", model.encoder_k.weight),
                           ("k_bias_after", model.encoder_k.bias), ("queue_after", model.queue.keys),
                           ("ptr_after", model.queue.pointer)):
            close(came, tensors[f"s{i}.{what}"], EXACT, f"s{i}.{what}")


def vilbert_config(p, **changes):
    return ViLBERTConfig(
        context=p["max_pos"], vocab=p["vocab"], text_width=p["t_hidden"], text_layers=p["t_layers"],
        text_heads=p["t_heads"], text_hidden=p["t_inter"], region_features=p["v_feature"], region_classes=p["v_target"],
        vision_width=p["v_hidden"], vision_layers=p["v_layers"], vision_heads=p["v_heads"], vision_hidden=p["v_inter"],
        co_width=p["bi_hidden"], co_heads=p["bi_heads"], text_co=tuple(p["t_biattention_id"]),
        vision_co=tuple(p["v_biattention_id"]), **changes)


def vilbert_name(name):
    """A golden name of a ViLBERT weight as this library's name."""
    parts = name.split(".")
    if parts[0].startswith("co"):  # keys and values come from the input of the other stream
        here, what = parts[1:3]
        stream = here if what not in "kv" else {"v": "t", "t": "v"}[here]
        stream = {"v": "vision", "t": "text"}[stream]
        parts = ["co", parts[0][2:], stream, *(["attn"] if what in "qkvo" else []), *parts[2:]]
    elif parts[0] in ("text", "img"):
        stream = "text" if parts[0] == "text" else "vision"
        if parts[1].startswith("blk"):
            parts = [f"{stream}_blocks", parts[1][3:], *parts[2:]]
        else:
            parts = [f"{stream}_embed", {"ln_emb": "ln", "type": "token_type"}.get(parts[1], parts[1]), *parts[2:]]
    for fc in ("fc1", "fc2"):
        if fc in parts:
            parts.insert(parts.index(fc), "mlp")
    name = ".".join(parts)
    for theirs, ours in (("mrm.decoder.bias", "mrm.bias"), ("pool_t", "text_pool"), ("pool_v", "vision_pool")):
        name = name.replace(theirs, ours)
    return name


def test_vilbert_coattention():
    tensors, p = read("vilbert_coattention")
    layer = CoAttention(vilbert_config(p)).double()
    layer.load_state_dict({vilbert_name(f"co0.{k}")[5:]: t for k, t in tensors.under("w.").items()})
    text, vision = (tensors[f"in.{k}"].clone().requires_grad_() for k in "tv")
    masks = {k: tensors[f"in.{k}_mask"].bool() for k in "tv"}
    for k in "tv":
        assert masks[k].sum(1).tolist() == p[f"{k}_len"]
    out_t, out_v = layer(text, vision, *(masks[k][:, None, None] for k in "tv"))
    close(out_t, tensors["out.t"], EXACT)
    close(out_v, tensors["out.v"], EXACT)
    (p["loss_v"] * (out_v**2).sum() + p["loss_t"] * (out_t**3).sum()).backward()
    close(text.grad, tensors["grad.t"], EXACT)
    close(vision.grad, tensors["grad.v"], EXACT)
    for here, name, x, other, mask in ((layer.text, "t_to_v", text, vision, masks["v"]),
                                       (layer.vision, "v_to_t", vision, text, masks["t"])):
        close(attention_weights(here.attn, x, other, mask), tensors[f"out.attn_{name}"], EXACT, name)


def attention_weights(attention, x, context, mask):
    """`b h q k`, from the layer's own q and k."""
    q, k = (t.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for t in (attention.q(x), attention.k(context)))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.masked_fill(~mask[:, None, None], float("-inf")).softmax(-1)


def test_vilbert_tiny():
    tensors, p = read("vilbert_tiny")
    model = ViLBERT(vilbert_config(p, pad_id=pad_id(tensors["in.ids"], tensors["in.att"].bool()), cls_id=p["cls_id"],
                                   sep_id=p["sep_id"], matched_only=False)).double()
    model.load_state_dict({vilbert_name(k): t for k, t in tensors.under("w.").items()})
    ids, mask, matched = tensors["in.ids"], tensors["in.v_att"].bool(), tensors["in.next"] == 0
    assert (ids != model.config.pad_id).equal(tensors["in.att"].bool())
    assert matched.tolist() == [n == 0 for n in p["next"]]
    assert mask.sum(1).tolist() == [1 + n for n in p["regions"]]
    labels = torch.where(tensors["in.mlm_labels"] < 0, IGNORE, tensors["in.mlm_labels"])
    selected, targets = tensors["in.region_label"] == 1, tensors["in.region_target"]
    out = model.encode(tensors["in.feat"], tensors["in.loc"], mask, ids)
    losses = model.losses(out, labels, selected, targets, matched)
    sum(losses.values()).backward()
    predicted = model.mrm(out.vision)
    squares = regions.region_error(predicted[:, 1:], targets, selected)
    for came, name in (
            (out.text, "seq_t"), (out.vision, "seq_v"), (out.pooled_text, "pooled_t"), (out.pooled_vision, "pooled_v"),
            (model.itm(out.fused), "itm_logits"), (model.mlm(out.text, model.text_embed.tok.weight), "mlm_logits"),
            (predicted, "mrm_logits"), (losses["masked language"], "loss_mlm"), (losses["alignment"], "loss_itm"),
            (losses["masked regions"], "loss_mrm_kl"), (squares, "loss_mrm_mse")):
        close(came, tensors[f"out.{name}"], EXACT, name)
    for name, gradient in tensors.under("grad.").items():
        close(model.get_parameter(vilbert_name(name)).grad, gradient, EXACT, name)


def test_vilbert_regions():
    tensors, p = read("vilbert_regions")
    boxes, size = tensors["boxes_xyxy"], tensors["image_wh"]
    assert size.tolist() == [p["W"], p["H"]] and len(boxes) == p["R"]
    real = torch.ones(1, len(boxes), dtype=torch.bool)
    close(regions.overlap(boxes)[:p["iou_rows"], :p["iou_rows"]], tensors["iou"], SINGLE)
    close(regions.location(boxes, size), tensors["loc5"], SINGLE)

    model = ViLBERT(ViLBERTConfig(region_features=tensors["features_first8"].shape[-1]))
    for i in range(p["samples"]):
        drawn = tensors[f"s{i}.region_draw"][None]
        features = tensors["features_first8"][i] if i < p["global_samples"] else torch.ones(len(boxes), 1).double()
        batch = regions.Regions(features[None], boxes[None], real, size[None])
        masked = regions.mask_regions(batch, drawn=drawn)
        assert masked.selected[0].equal(tensors[f"s{i}.region_label"] == 1)
        assert masked.hidden[0].equal(tensors[f"s{i}.region_zeroed"].bool())
        assert masked.overlapping[0].equal(tensors[f"s{i}.overlap_marked"].bool())
        assert (masked.features[0] == 0).all(-1).equal(masked.hidden[0])
        if i < p["global_samples"]:
            counted = real & ~masked.overlapping
            assert counted.sum() == tensors["global.count_used"][i]
            features, locations, mask = model.inputs(batch._replace(features=masked.features), counted)
            close(features[0, 0], tensors["global.first8"][i], SINGLE)
            close(features[0, 1:], tensors["features_first8"][i], EXACT)
            close(locations[0, 0], tensors["global.loc"][i], EXACT)
            close(locations[0, 1:], tensors["loc5"], SINGLE)
            assert mask.all() and tensors["global.mask"][i] == 1

        # The caption and its masked words, with the draw of the authors.
        ids, labels = tensors[f"s{i}.token_ids"], tensors[f"s{i}.lm_labels"]
        asked = labels >= 0
        caption = torch.where(asked, labels, ids)
        words = caption.tolist()[1:caption.tolist().index(p["sep_id"])]
        possible = p["captions"] if tensors[f"s{i}.not_aligned"] else [p["caption"]]
        assert caption[0] == p["cls_id"] and words in [text[:p["seq_len"] - 2] for text in possible]
        again = apply_mask(caption, asked, Draw(ids == p["mask_id"], ids != caption, ids), p["mask_id"])
        assert again.ids.equal(ids) and again.labels.equal(torch.where(asked, labels, IGNORE))


def test_vilt_ipot():
    tensors, p = read("vilt_ipot")
    assert tensors["txt"].shape == (p["B"], p["M"], p["D"]) and tensors["img"].shape == (p["B"], p["N"], p["D"])
    text_mask, image_mask = (~tensors[f"{side}_pad"].bool() for side in ("txt", "img"))
    assert text_mask.sum(1).tolist() == p["txt_len"] and image_mask.sum(1).tolist() == p["img_len"]
    close(cosine_cost(tensors["txt"], tensors["img"]), tensors["cost"], EXACT, "cost")
    for case, beta, iterations in p["cases"]:
        texts, images = (tensors[side].clone().requires_grad_() for side in ("txt", "img"))
        out = transport(texts, images, text_mask, image_mask, beta, iterations)
        (out.distance * torch.tensor(p["grad_weights"], dtype=torch.float64)).sum().backward()
        for what, came in (("distance", out.distance), ("plan", out.plan), ("grad_txt", texts.grad),
                           ("grad_img", images.grad)):
            close(came, tensors[f"{case}.{what}"], EXACT, f"{case}.{what}")
        if (beta, iterations) == (0.5, 50):  # ViLT's own settings are the defaults
            defaults = transport(texts, images, text_mask, image_mask)
            close(defaults.distance, tensors[f"{case}.distance"], EXACT, "defaults")


def vilt_name(name):
    """A golden name of a ViLT weight as this library's name."""
    parts = name.split(".")
    if parts[0] in ("itm", "mlm", "rank", "vqa"):
        return name
    if parts[0].startswith("blk"):
        parts[:1] = ["blocks", parts[0][3:]]
        if parts[2] in ("fc1", "fc2"):
            parts.insert(2, "mlp")
    elif parts[0] == "text":
        parts[1] = {"type": "token_type", "ln_emb": "ln"}.get(parts[1], parts[1])
    elif parts[0] == "vision":
        parts[:2] = ["patch", "conv"] if parts[1] == "patch" else [parts[1]]
    return ".".join(["encoder", *parts])


def tiny_vilt(tensors, p):
    config = ViLTConfig(
        image=p["image"], patch=p["patch"], width=p["dim"], layers=p["layers"], heads=p["heads"],
        hidden=int(p["mlp_ratio"] * p["dim"]), context=p["max_text"], vocab=p["vocab"],
        pad_id=pad_id(tensors["in.ids"], tensors["in.att"].bool()), cls_id=p["cls_id"], sep_id=p["sep_id"],
        mask_id=p["mask_id"])
    model = ViLT(config).double()
    model.load_state_dict({vilt_name(k): t for k, t in tensors.under("w.").items()
                           if not k.startswith(("rank.", "vqa."))})
    return model


def sizes_of(images):
    """How large the pictures are that stand on a canvas of zeros: `b 2`. Only pictures without grey rows allow that."""
    there = (images != 0).any(1)  # b h w
    return torch.stack([there.any(2).sum(1), there.any(1).sum(1)], dim=1)


def test_vilt_tiny():
    tensors, p = read("vilt_tiny")
    model = tiny_vilt(tensors, p)
    images, ids, sizes = tensors["in.image"], tensors["in.ids"], torch.tensor(p["sizes"])
    assert [*images.shape] == [p["B"], 3, *p["canvas"]] and sizes.equal(sizes_of(images))
    assert (ids != model.config.pad_id).equal(tensors["in.att"].bool())
    assert tensors["in.att"].sum(1).tolist() == p["lens"]

    def same(name, came, tolerance=EXACT):
        assert tuple(came.shape) == tuple(tensors[name].shape), name
        close(came, tensors[name], tolerance, name)

    states = model(images, ids, sizes).states
    same("out.text_feats", states.text)
    same("out.cls", states.text[:, 0])
    same("out.pooled", states.pooled)
    same("out.image_masks", states.image_mask)
    same("out.image_feats_raster", states.image * states.image_mask[..., None])
    # The authors shuffle the places of the largest pictures and fill up smaller ones with padding drawn at random.
    row, column = tensors["out.patch_index"].unbind(-1)
    place = row * (p["canvas"][1] // p["patch"]) + column
    real = tensors["out.image_masks"][:, 1:].bool()
    at = (states.places[:, None] == place[:, :, None]).int().argmax(2)  # where the authors' places stand here
    assert states.places.gather(1, at)[real].equal(place[real])
    at = torch.cat([torch.zeros(len(at), 1, dtype=at.dtype), torch.where(real, at + 1, len(at[0]))], dim=1)
    same("out.image_feats", states.image.gather(1, at[..., None].expand_as(states.image)))

    # One step of pre-training, with what the authors drew.
    asked = tensors["in.mlm_labels"] >= 0
    assert asked.nonzero().tolist() == sorted(p["mlm"])
    masked = Masked(tensors["in.mlm_ids"], torch.where(asked, tensors["in.mlm_labels"], IGNORE))
    assert torch.where(asked, masked.labels, masked.ids).equal(ids)
    matched, false_images = tensors["out.itm_labels"].bool(), tensors["in.false_image"]
    assert matched.sum() == p["B"] // 2
    step = model.step(images, ids, sizes, false_images, sizes_of(false_images), matched, masked)
    same("out.itm_logits", step.matching_logits)
    same("out.itm_loss", step.losses["matching"])
    same("out.wpa_distance_f64", step.alignment.distance)
    same("out.itm_wpa_loss", step.losses["alignment"], SINGLE)  # the authors take this one in float32
    assert abs(step.losses["alignment"] - tensors["out.itm_wpa_loss"]) < 1e-6
    same("out.mlm_loss", step.losses["masked language"])
    same("out.mlm_logits_selected", step.language_logits[asked])
    sum(step.losses.values()).backward()
    for name in tensors.under("grad."):
        same(f"grad.{name}", model.get_parameter(vilt_name(name)).grad)

    # Retrieval: the true caption, then those of the pairs that follow in the batch.
    ranker = ViLTRetrieval(model.config, model).double()
    assert ranker.rank.weight.equal(tensors["w.itm.weight"][1:]) and ranker.rank.bias.equal(tensors["w.itm.bias"][1:])
    ranker.rank.load_state_dict(tensors.under("w.rank."))
    chosen = (torch.arange(p["B"])[:, None] + torch.arange(1 + p["false_texts"])) % p["B"]
    scores = ranker(images, ids[chosen], sizes)
    same("out.irtr_scores", scores)
    same("out.irtr_loss", ranking_loss(scores))
    close(ranker.scores(images, ids, sizes).gather(1, chosen), tensors["out.irtr_scores"], EXACT, "all pairs")

    # Questions: the head is two linear maps with LayerNorm and GELU between them.
    head = vilt_head(p["dim"], len(tensors["w.vqa.fc1.bias"]), p["answers"]).double()
    for layer, number in (("fc1", 0), ("ln", 1), ("fc2", 3)):
        head[number].load_state_dict(tensors.under(f"w.vqa.{layer}."))
    targets = torch.zeros(p["B"], p["answers"], dtype=torch.float64)
    for row, labels, scores in zip(targets, p["vqa_labels"], p["vqa_scores"]):
        row[labels] = torch.tensor(scores, dtype=torch.float64)
    same("in.vqa_targets", targets)
    logits = head(states.pooled)
    same("out.vqa_logits", logits)
    same("out.vqa_loss", answer_loss(logits, targets))


def test_vilt_tiny_hf_keymap():
    """Hugging Face's ViltModel with the same weights under its names."""
    from transformers import ViltConfig, ViltModel

    tensors, p = read("vilt_tiny", whole=False)
    keymap = json.loads((FOLDER / "vilt_tiny_hf_keymap.json").read_text())
    model = tiny_vilt(tensors, p)
    assert {vilt_name(name) for name in keymap} == {f"encoder.{name}" for name, _ in model.encoder.named_parameters()}
    theirs = ViltModel(ViltConfig(
        vocab_size=p["vocab"], hidden_size=p["dim"], num_hidden_layers=p["layers"], num_attention_heads=p["heads"],
        intermediate_size=model.config.hidden, max_position_embeddings=p["max_text"], image_size=p["image"],
        patch_size=p["patch"], layer_norm_eps=1e-6, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        pad_token_id=model.config.pad_id)).double()
    theirs.embeddings.text_embeddings.LayerNorm.eps = 1e-12
    named = dict(theirs.named_parameters())
    assert set(named) == set(keymap.values())
    with torch.no_grad():
        for name, its in keymap.items():
            named[its].copy_(tensors[f"w.{name}"].view_as(named[its]))
    images, sizes = tensors["in.image"], torch.tensor(p["sizes"])
    height, width = (torch.arange(side) for side in p["canvas"])
    pixel_mask = (height[:, None] < sizes[:, :1, None]) & (width < sizes[:, 1:, None])
    reference = theirs(input_ids=tensors["in.ids"], attention_mask=tensors["in.att"], pixel_values=images,
                       pixel_mask=pixel_mask.long())
    close(reference.pooler_output, tensors["out.pooled"], EXACT, "pooled")
    close(reference.last_hidden_state[:, :p["max_text"]], tensors["out.text_feats"], EXACT, "text")
    close(model(images, tensors["in.ids"], sizes).states.pooled, reference.pooler_output, EXACT, "pooled, ours")


def explained(name, tensors):
    """A layer's weights under rule 5, from the golden name of the layer."""
    return methods.grad_cam(tensors[f"attn.{name}"], tensors[f"grad.{name}"])


def test_explain_rules():
    tensors, p = read("explain_rules")
    sizes = {"t": p["text"], "i": p["image"]}
    assert tensors["attn.tt0"].shape == (p["heads"], p["text"], p["text"])

    def chefer(steps):
        return methods.relevancy(steps, {(s, q): tensors["attn.tt0"].new_zeros(sizes[s], sizes[q])
                                         for s in sizes for q in sizes})

    def layer(*names):  # one step; the modalities are the last two letters of a name, numbers aside
        return {tuple(name.rstrip("0123456789")[-2:]): explained(name, tensors) for name in names}

    blocks = range(p["x"])
    text, image = ([f"{kind}{i}" for i in range(p[kind])] for kind in ("tt", "ii"))
    steps = [layer(name) for name in text + image]
    for block in blocks:  # of the last one the authors take what the text looks at
        last = block == blocks[-1]
        steps += [layer(*([f"x{block}.ti"] if last else [f"x{block}.ti", f"x{block}.it"])), layer(f"x{block}.tt")]
        steps += [] if last else [layer(f"x{block}.ii")]

    close(explained("tt0", tensors), tensors["rule5.A"], EXACT, "rule 5")
    for i in range(p["tt"]):
        close(chefer(steps[:i + 1])["t", "t"], tensors[f"rule6.R_after{i + 1}"], EXACT, "rule 6")
    alone = chefer(steps[:len(text + image)])
    for s in "ti":
        close(methods.normalised(alone[s, s]), tensors[f"rule8_9.Rbar_{s}"], EXACT, "rules 8 and 9")
    close(explained("x0.ti", tensors), tensors["rule10.A_ti"], EXACT)
    crossed = chefer(steps[:len(text + image)] + [layer("x0.ti")])
    close(crossed["t", "i"], tensors["rule10.R_ti_add"], EXACT, "rule 10")
    close(tensors["rule10.A_ti"] @ tensors["rule11.R_it_in"], tensors["rule11.R_tt_add"], EXACT, "rule 11")
    result = chefer(steps)
    close(result["t", "i"], tensors["full.R_ti"], EXACT, "all rules")

    own, other = text + [f"x{b}.tt" for b in blocks], image + [f"x{b}.ii" for b in blocks]
    weights = lambda names: [tensors[f"attn.{name}"] for name in names]  # noqa: E731
    last = f"x{blocks[-1]}"
    close(methods.rollout_across(weights(own[:-1]), tensors[f"attn.{last}.ti"], weights(other[:-1])),
          tensors["full.rollout_R_ti"], EXACT, "rollout across")
    close(methods.attention(tensors[f"attn.{last}.ti"]), tensors["full.rawattn_R_ti"], EXACT, "attention across")
    for name in ("it", "ii"):  # which the authors never look at
        tensors[f"attn.{last}.{name}"], tensors[f"grad.{last}.{name}"]
    for name, came in (("R_tt", result["t", "t"]), ("rollout_R_tt", methods.rollout(weights(own))),
                       ("rawattn_R_tt", methods.attention(tensors[f"attn.{last}.tt"]))):
        came = came.clone()
        came[0, 0] = 0  # the authors take out what [CLS] says of itself
        close(came, tensors[f"full.{name}"], EXACT, name)
    for key in [key for key in tensors if key.startswith("rollout.")]:
        names = [n.replace("x0tt", "x0.tt") for n in key.removeprefix("rollout.").split("_")]
        close(methods.rollout(weights(names)), tensors[key], EXACT, key)
    for key in [key for key in tensors if key.startswith("gradcam.lxmert.")]:
        name = key.removeprefix("gradcam.lxmert.")
        name = f"{name[:-2]}.{name[-2:]}"
        close(methods.grad_cam_by_heads(tensors[f"attn.{name}"], tensors[f"grad.{name}"]), tensors[key], EXACT, key)


def test_explain_clip():
    tensors, p = read("explain_clip")
    model, inputs = tiny_clip(whole=False)
    images, ids = inputs["in.image"], inputs["in.text"]
    with record(model, gradients=True) as maps:
        pairs = model(images[p["image_index"]].expand(len(ids), -1, -1, -1), ids).logits_per_image
    gradients = maps.gradients(pairs.diagonal())
    end = (ids == model.config.eot_id).int().argmax(1)

    def relevancy(tower, start):  # from the first layer on, or from the last
        names = [name for name in maps if name.startswith(tower)][start:]
        steps = [{(0, 0): methods.grad_cam(maps[name], gradients[name])} for name in names]
        return methods.relevancy(steps, {(0, 0): torch.zeros_like(steps[0][0, 0])})[0, 0]

    for start in p["start_layers"]:
        close(relevancy("vision", start)[:, 0, 1:], tensors[f"start{start}.image_relevance"], SINGLE, f"image {start}")
        close(relevancy("text", start), tensors[f"start{start}.R_text"], SINGLE, f"text {start}")
    rows = tensors["text_relevance_rows_start0"]  # which the authors divide by their sum to show them
    close(methods.text_relevance(relevancy("text", 0), end)[:, 1:], rows / rows.sum(1, keepdim=True), SINGLE, "words")


def test_albef_gradcam():
    tensors, p = read("albef_gradcam")
    weights, q = read(p["weights_of"], whole=False)
    model = tiny_albef(weights, q, queue=q["queue"], index_targets=True).eval()
    images, ids = weights["in.image"], weights["in.ids"]
    with record(model, gradients=True) as maps:
        out = model(images, ids)
        cosines = (out.image_features * out.text_features).sum(1)
    assert set(maps) == {name for name in dict(model.named_modules()) if name.startswith("online.")
                         and name.endswith("attn")}
    close(out.matching_logits, tensors["itm_logits"], EXACT)
    of_matching = maps.gradients(out.matching_logits[:, 1])
    of_cosine = maps.gradients(cosines / model.temperature)
    real = model.text_mask(ids)[:, :, None]
    for key in [key for key in tensors if key.endswith(".attn")]:
        task, block = key.split(".")[:2]
        number = int(block[3:])
        layer = f"online.text.fusion.{number - q['fusion']}.xattn" if task == "itm" else f"online.vision.blocks.{number}.attn"
        gradient = (of_matching if task == "itm" else of_cosine)[layer]
        close(maps[layer], tensors[key], EXACT, key)
        close(gradient, tensors[f"{task}.{block}.grad"], EXACT, key)
        cam = methods.grad_cam(maps[layer], gradient)[..., 1:]  # without the class token
        if task == "itm":
            close(cam * real, tensors[f"itm.{block}.per_token"], EXACT, key)
            close((cam * real).mean(1), tensors[f"itm.{block}.mean"], EXACT, key)  # over pads as well
        else:
            close(cam[:, 0], tensors[f"itc.{block}.map"], EXACT, key)
