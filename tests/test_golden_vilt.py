"""ViLT and its optimal transport against the authors' numbers (joins test_golden.py)."""

import json

import torch

from minimm.models.heads import vilt_head
from minimm.models.vilt import ViLT, ViLTConfig, ViLTRetrieval
from minimm.objectives.answers import answer_loss
from minimm.objectives.masking import IGNORE, Masked
from minimm.objectives.matching import ranking_loss
from minimm.objectives.transport import cosine_cost, transport
from test_golden import EXACT, FOLDER, SINGLE, close, read


def test_vilt_ipot():
    tensors, p = read("vilt_ipot")
    assert tensors["txt"].shape == (p["B"], p["M"], p["D"]) and tensors["img"].shape == (p["B"], p["N"], p["D"])
    text_mask, image_mask = (~tensors[f"{side}_pad"].bool() for side in ("txt", "img"))
    assert text_mask.sum(1).tolist() == p["txt_len"] and image_mask.sum(1).tolist() == p["img_len"]
    close(cosine_cost(tensors["txt"], tensors["img"]), tensors["cost"], EXACT, "cost")
    seen = {"txt", "img", "txt_pad", "img_pad", "cost"}
    for case, beta, iterations in p["cases"]:
        texts, images = (tensors[side].clone().requires_grad_() for side in ("txt", "img"))
        out = transport(texts, images, text_mask, image_mask, beta, iterations)
        (out.distance * torch.tensor(p["grad_weights"], dtype=torch.float64)).sum().backward()
        for what, came in (("distance", out.distance), ("plan", out.plan), ("grad_txt", texts.grad),
                           ("grad_img", images.grad)):
            close(came, tensors[f"{case}.{what}"], EXACT, f"{case}.{what}")
            seen.add(f"{case}.{what}")
        if (beta, iterations) == (0.5, 50):  # ViLT's own settings are the defaults
            defaults = transport(texts, images, text_mask, image_mask)
            close(defaults.distance, tensors[f"{case}.distance"], EXACT, "defaults")
    assert seen == set(tensors)


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
    pads = tensors["in.ids"][tensors["in.att"] == 0].unique().tolist() or [0]
    config = ViLTConfig(
        image=p["image"], patch=p["patch"], width=p["dim"], layers=p["layers"], heads=p["heads"],
        hidden=p["mlp_ratio"] * p["dim"], context=p["max_text"], vocab=p["vocab"], pad_id=pads[0], cls_id=p["cls_id"],
        sep_id=p["sep_id"], mask_id=p["mask_id"])
    weights = {vilt_name(name[2:]): tensor for name, tensor in tensors.items() if name.startswith("w.")}
    heads = {head: {name[len(head) + 1:]: weights.pop(name) for name in [*weights] if name.startswith(f"{head}.")}
             for head in ("rank", "vqa")}
    model = ViLT(config).double()
    model.load_state_dict(weights)
    return model, heads


def sizes_of(images):
    """How large the pictures are that stand on a canvas of zeros: `b 2`. Only pictures without grey rows allow that."""
    there = (images != 0).any(1)  # b h w
    return torch.stack([there.any(2).sum(1), there.any(1).sum(1)], dim=1)


def test_vilt_tiny():
    tensors, p = read("vilt_tiny")
    model, heads = tiny_vilt(tensors, p)
    images, ids, sizes = tensors["in.image"], tensors["in.ids"], torch.tensor(p["sizes"])
    assert [*images.shape] == [p["B"], 3, *p["canvas"]] and sizes.equal(sizes_of(images))
    assert (ids != model.config.pad_id).equal(tensors["in.att"].bool())
    assert tensors["in.att"].sum(1).tolist() == p["lens"]
    seen = {"in.image", "in.ids", "in.att"}

    def same(name, came, tolerance=EXACT):
        assert tuple(came.shape) == tuple(tensors[name].shape), name
        close(came, tensors[name], tolerance, name)
        seen.add(name)

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
    seen.add("out.patch_index")

    # One step of pre-training, with what the authors drew.
    masked = Masked(tensors["in.mlm_ids"], tensors["in.mlm_labels"])
    assert (masked.labels != IGNORE).nonzero().tolist() == p["mlm"]
    assert torch.where(masked.labels != IGNORE, masked.labels, masked.ids).equal(ids)
    matched, false_images = tensors["out.itm_labels"].bool(), tensors["in.false_image"]
    assert matched.sum() == p["B"] // 2
    step = model.step(images, ids, sizes, false_images, sizes_of(false_images), matched, masked)
    seen |= {"in.mlm_ids", "in.mlm_labels", "in.false_image", "out.itm_labels"}
    same("out.itm_logits", step.matching_logits)
    same("out.itm_loss", step.losses["matching"])
    same("out.wpa_distance_f64", step.alignment.distance)
    same("out.itm_wpa_loss", step.losses["alignment"], SINGLE)  # the authors take this one in float32
    assert abs(step.losses["alignment"] - tensors["out.itm_wpa_loss"]) < 1e-6
    same("out.mlm_loss", step.losses["masked language"])
    same("out.mlm_logits_selected", step.language_logits[masked.labels != IGNORE])
    sum(step.losses.values()).backward()
    parameters = dict(model.named_parameters())
    for name in [name for name in tensors if name.startswith("grad.")]:
        same(name, parameters[vilt_name(name[5:])].grad)

    # Retrieval: the true caption, then those of the pairs that follow in the batch.
    ranker = ViLTRetrieval(model.config, model).double()
    assert ranker.rank.weight.equal(tensors["w.itm.weight"][1:]) and ranker.rank.bias.equal(tensors["w.itm.bias"][1:])
    ranker.rank.load_state_dict(heads["rank"])
    chosen = (torch.arange(p["B"])[:, None] + torch.arange(1 + p["false_texts"])) % p["B"]
    scores = ranker(images, ids[chosen], sizes)
    same("out.irtr_scores", scores)
    same("out.irtr_loss", ranking_loss(scores))
    close(ranker.scores(images, ids, sizes).gather(1, chosen), tensors["out.irtr_scores"], EXACT, "all pairs")

    # Questions: the head is two linear maps with LayerNorm and GELU between them.
    head = vilt_head(p["dim"], len(heads["vqa"]["fc1.bias"]), p["answers"]).double()
    head.load_state_dict({f"{number}.{kind}": heads["vqa"][f"{layer}.{kind}"] for kind in ("weight", "bias")
                          for layer, number in (("fc1", 0), ("ln", 1), ("fc2", 3))})
    targets = torch.zeros(p["B"], p["answers"], dtype=torch.float64)
    for row, labels, scores in zip(targets, p["vqa_labels"], p["vqa_scores"]):
        row[labels] = torch.tensor(scores, dtype=torch.float64)
    same("in.vqa_targets", targets)
    logits = head(states.pooled)
    same("out.vqa_logits", logits)
    same("out.vqa_loss", answer_loss(logits, targets))
    assert seen == {name for name in tensors if not name.startswith("w.")}


def test_vilt_tiny_hf_keymap():
    """Hugging Face's ViltModel with the same weights under its names."""
    from transformers import ViltConfig, ViltModel

    tensors, p = read("vilt_tiny")
    keymap = json.loads((FOLDER / "vilt_tiny_hf_keymap.json").read_text())
    model, _ = tiny_vilt(tensors, p)
    assert {vilt_name(name) for name in keymap} == {f"encoder.{name}" for name, _ in model.encoder.named_parameters()}
    theirs = ViltModel(ViltConfig(
        vocab_size=p["vocab"], hidden_size=p["dim"], num_hidden_layers=p["layers"], num_attention_heads=p["heads"],
        intermediate_size=p["mlp_ratio"] * p["dim"], max_position_embeddings=p["max_text"], image_size=p["image"],
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
