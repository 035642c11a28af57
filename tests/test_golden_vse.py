"""VSE++ and MoCo against their authors' numbers (joins test_golden.py)."""

import torch
from torch import nn

from minimm.models.moco import MoCo, MoCoConfig
from minimm.models.vse import FeatureEncoder, TextEncoder, VSEConfig
from minimm.objectives.contrastive import inner_product
from minimm.objectives.hinge import max_of_hinges, order_similarity, sum_of_hinges
from test_golden import EXACT, close, read

HINGES = {"sum": sum_of_hinges, "max": max_of_hinges}


def test_vsepp_loss():
    tensors, p = read("vsepp_loss")
    assert tensors["emb.im"].shape == (p["B"], p["D"]) and tensors["score.S"].shape == (p["n"], p["n"])
    seen = {"emb.im", "emb.s", "order.im", "order.s", "order.sim", "score.S"}
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
                seen.add(f"{prefix}.{what}")
        for margin in p["score_margins"]:
            scores = tensors["score.S"].clone().requires_grad_()
            loss = hinges(scores, margin)
            loss.backward()
            for what, came in (("loss", loss), ("grad", scores.grad)):
                key = f"score.{name}.m{margin}.{what}"
                close(came, tensors[key], EXACT, key)
                seen.add(key)
    assert seen == set(tensors)


def test_vsepp_encoders():
    tensors, p = read("vsepp_encoders")
    ids, cases = tensors["text.ids"], []
    config = {"embed_dim": p["embed"], "vocab": p["vocab"], "word_dim": p["word_dim"], "cnn": "precomputed",
              "cnn_width": p["img_dim"]}
    close((ids != VSEConfig().pad_id).sum(1), tensors["text.lengths"], EXACT)
    for name, choices in (("text.out", {}), ("text.out_abs", {"use_abs": True})):
        encoder = TextEncoder(VSEConfig(**config, **choices)).double()
        encoder.load_state_dict({
            "embed.weight": tensors["text.embed.weight"],
            **{f"rnn.{k[9:]}": t for k, t in tensors.items() if k.startswith("text.gru.")}})
        cases.append((name, encoder(ids)))
    for name, choices in (("image.out", {}), ("image.out_no_imgnorm", {"no_imgnorm": True}),
                          ("image.out_abs_no_imgnorm", {"no_imgnorm": True, "use_abs": True})):
        encoder = FeatureEncoder(p["img_dim"], VSEConfig(**config, **choices)).double()
        encoder.load_state_dict({f"fc.{k}": tensors[f"image.fc.{k}"] for k in ("weight", "bias")})
        cases.append((name, encoder(tensors["image.feat"])))
    for name, came in cases:
        close(came, tensors[name], EXACT, name)
    assert {name for name, _ in cases} == {name for name in tensors if ".out" in name}


def test_moco():
    tensors, p = read("moco")
    model = MoCo(nn.Linear(p["in_dim"], p["dim"]), MoCoConfig(dim=p["dim"], K=p["K"], m=p["m"], T=p["T"])).double()
    weights = {f"encoder_{e}.{k}": tensors[f"w.{name}.{k}"] for e, name in (("q", "q"), ("k", "k0")) for k in ("weight", "bias")}
    model.load_state_dict({**weights, "queue.keys": tensors["queue0"], "queue.pointer": torch.zeros(1, dtype=torch.int64)})
    seen = {"queue0", "w.q.weight", "w.q.bias", "w.k0.weight", "w.k0.bias"}
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
                           ("ptr_after", model.queue.pointer), ("xq", views[0]), ("xk", views[1])):
            close(came, tensors[f"s{i}.{what}"], EXACT, f"s{i}.{what}")
            seen.add(f"s{i}.{what}")
    assert seen == set(tensors)
