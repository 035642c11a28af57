"""ViLBERT, as its authors' code has it."""

import torch
from test_golden import EXACT, SINGLE, close, read

from minimm.models.vilbert import CoAttention, ViLBERT, ViLBERTConfig
from minimm.objectives import regions
from minimm.objectives.masking import IGNORE, Draw, apply_mask


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
    layer.load_state_dict({vilbert_name(f"co0.{k[2:]}")[5:]: t for k, t in tensors.items() if k.startswith("w.")})
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
    model = ViLBERT(vilbert_config(p, cls_id=p["cls_id"], sep_id=p["sep_id"], matched_only=False)).double()
    model.load_state_dict({vilbert_name(k[2:]): t for k, t in tensors.items() if k.startswith("w.")})
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
    gradients = [k for k in tensors if k.startswith("grad.")]
    assert gradients
    for key in gradients:
        close(model.get_parameter(vilbert_name(key[5:])).grad, tensors[key], EXACT, key)


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
