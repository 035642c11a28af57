from dataclasses import replace

import torch
import torch.nn.functional as F

from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.objectives import contrastive, momentum
from minimm.objectives.masking import IGNORE, Masked
from minimm.training.schedules import albef_learning_rate
from test_golden import EXACT, SINGLE, close, read


def albef_config(p, **changes):
    return ALBEFConfig(
        embed_dim=p["embed"], image=p["image"], patch=p["patch"], vision_width=p["v_width"], vision_layers=p["v_depth"],
        vision_heads=p["v_heads"], vision_hidden=p["v_width"] * p["v_mlp_ratio"], context=p["max_pos"], vocab=p["vocab"],
        text_width=p["hidden"], text_layers=p["fusion"], fusion_layers=p["layers"] - p["fusion"], text_heads=p["heads"],
        text_hidden=p["inter"], pad_id=p["pad_id"], cls_id=p["cls_id"], mask_id=p["mask_id"], stem=False,
        temperature=p["temp"], alpha_steps=0, **changes)


def albef_name(name, config):
    """A golden name of an ALBEF weight as this library's name within `Encoders` (the head and temperature as they are)."""
    name = name.replace("vision.patch.", "vision.patch.conv.").replace("proj_v", "image_proj").replace("proj_t", "text_proj")
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
    outside = ("itm.weight", "itm.bias", "temp")
    for prefix, encoders in (("w.", model.online), ("m0.", model.momentum)):
        encoders.load_state_dict({albef_name(k[len(prefix):], config): t for k, t in tensors.items()
                                  if k.startswith(prefix) and k[len(prefix):] not in outside})
    model.itm.load_state_dict({"weight": tensors["w.itm.weight"], "bias": tensors["w.itm.bias"]})
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
    return model.itm.weight.grad if name == "itm.weight" else \
        model.online.get_parameter(albef_name(name, model.config)).grad


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
    for m in (p["ema"], *p["extra_ema"]):
        slow, fast = (torch.nn.ParameterList([tensors[k].clone()]) for k in ("ema.before", "ema.online"))
        momentum.ema_update(slow, fast, m)
        close(slow[0], tensors[f"ema.after_{m}"], EXACT)


def test_albef_pretrain_tiny():
    tensors, p = read("albef_pretrain_tiny")
    model = tiny_albef(tensors, p, queue=p["queue"], momentum=p["momentum"], alpha=p["alpha"])
    c = model.config
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
            (model.image_queue(), "queue_img"), (model.text_queue(), "queue_txt"), (model.image_queue.pointer, "queue_ptr")):
        close(came, tensors[f"out.{name}"], EXACT, name)
    for key in (k for k in tensors if k.startswith("out.m1.")):
        close(model.momentum.get_parameter(albef_name(key[7:], c)), tensors[key], EXACT, key)
    gradients = [k for k in tensors if k.startswith("grad.")]
    assert gradients
    for key in gradients:
        close(albef_gradient(model, key[5:]), tensors[key], EXACT, key)
    assert all(w.grad is None for w in model.momentum.parameters())


def test_albef_retrieval_tiny():
    tensors, p = read("albef_retrieval_tiny")
    for name, alpha in (("distill0", 0.0), ("distill1", p["alpha"])):
        model = tiny_albef(tensors, p, queue=p["queue"], momentum=p["momentum"], alpha=alpha, index_targets=True)
        index = tensors["in.idx"]
        assert index.tolist() == p["idx"] and model.index_queue()[0].tolist() == p["idx_queue"]
        step = model.step(tensors["in.image"], tensors["in.ids"], index,
                          negatives=(tensors[f"{name}.neg_img_for_text"], tensors[f"{name}.neg_txt_for_image"]))
        sum(step.losses.values()).backward()
        close(step.targets, tensors["out.targets"], SINGLE)  # the authors round the shares to float32
        for came, what in ((step.losses["contrastive"], "loss_ita"), (step.losses["matching"], "loss_itm"),
                           (step.image_weights, "itm_weights_t2i"), (step.text_weights, "itm_weights_i2t"),
                           (step.matching_logits, "itm_logits")):
            close(came, tensors[f"{name}.{what}"], SINGLE if what == "loss_ita" else EXACT, f"{name} {what}")
        for key in (k for k in tensors if k.startswith(f"{name}.grad.")):
            close(albef_gradient(model, key[len(name) + 6:]), tensors[key], SINGLE, key)
        close(model.index_queue(), tensors["out.queue_idx"], EXACT)
        close(model.image_queue(), tensors["out.queue_img"], EXACT)
        close(model.image_queue.pointer, tensors["out.ptr"], EXACT)


def test_albef_rerank():
    tensors, p = read("albef_rerank")
    weights, q = read(p["weights_of"])
    model = tiny_albef(weights, q, queue=q["queue"], index_targets=True).eval()
    assert p["k"] == tensors["k"]
    cosines, of_text, of_image = model.rerank(tensors["in.image"], tensors["in.ids"], p["k"])
    close(cosines, tensors["out.itc_sim"], EXACT)
    close(of_text, tensors["out.score_i2t"], EXACT)
    close(of_image, tensors["out.score_t2i"], EXACT)


def test_albef_schedules():
    tensors, p = read("albef_schedules")
    cases = {name: case for name, case in p.items() if case}
    for name, case in cases.items():
        n, of_case = case["n"], [k for k in tensors if k.startswith(f"{name}.")]
        assert of_case
        model = ALBEF(replace(ALBEFConfig(), alpha=case["alpha"], alpha_steps=n, queue=4))
        for key in of_case:
            for i, expected in enumerate(tensors[key].tolist()):
                if ".alpha" in key:
                    model.steps.fill_(i)
                    close(model.alpha(), expected, EXACT, f"{key} {i}")
                else:
                    rate = albef_learning_rate(*divmod(i, n), case["lr"], case["min_lr"], case["warmup_lr"], case["epochs"],
                                               case["warmup_epochs"])
                    close(rate, expected, {"rtol": 1e-9, "atol": 1e-12}, f"{key} {i}")
