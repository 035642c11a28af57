"""Numbers obtained by running the authors' own code, reproduced (see golden/README.md).

The folder is tests/golden, or what the variable MINIMM_GOLDEN names: every size, seed and value comes from the
`params` in each file's metadata and from the shapes, so any folder of this layout will do.
"""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from minimm.evaluation import retrieval as measures
from minimm.models.clip import CLIP, CLIPConfig
from minimm.objectives.contrastive import similarity, symmetric_cross_entropy

FOLDER = Path(os.environ.get("MINIMM_GOLDEN") or Path(__file__).parent / "golden")

# Files whose model is not built yet: each leaves this list when its test comes.
NOT_BUILT = {
    "albef_gradcam", "albef_itc", "albef_mlm", "albef_mlm_masking", "albef_pretrain_tiny", "albef_queue_ema",
    "albef_rerank", "albef_retrieval_tiny", "albef_schedules", "clip_attnpool", "explain_clip", "explain_rules", "moco",
    "vilbert_coattention", "vilbert_regions", "vilbert_tiny", "vilt_ipot", "vilt_tiny", "vilt_tiny_hf_keymap",
    "vilt_whole_word_mask", "vsepp_encoders", "vsepp_loss",
}
BUILT = {"clip_loss", "clip_tiny", "clip_init_stats", "retrieval_metrics"}
# Read together with another file.
COMPANIONS = {"clip_tiny_hf_keymap", "clip_init_stats_params"}

EXACT = {"rtol": 0, "atol": 1e-8}  # the authors' code ran in float64
SINGLE = {"rtol": 2e-5, "atol": 2e-5}  # the authors' code ran in float32


def read(name):
    """(tensors, params) of a golden file; floating-point tensors as float64."""
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        params = json.loads(file.metadata()["params"])
    return {k: t.double() if t.is_floating_point() else t for k, t in tensors.items()}, params


def close(came, expected, tolerance, what=""):
    came, expected = (torch.as_tensor(x, dtype=torch.float64) for x in (came, expected))
    torch.testing.assert_close(came, expected, **tolerance, msg=lambda m: f"{what}: {m}")


def test_every_file_is_known():
    found = {path.stem for path in FOLDER.iterdir() if path.suffix in (".safetensors", ".json")}
    assert found, f"no golden files in {FOLDER}"
    assert found <= BUILT | COMPANIONS | NOT_BUILT, "a golden file that no test reads and no list names"
    assert BUILT <= found, "a golden file is missing"
    assert not BUILT & NOT_BUILT


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


def tiny_clip():
    tensors, p = read("clip_tiny")
    config = CLIPConfig(
        embed_dim=p["embed_dim"], image=p["image"], patch=p["patch"], vision_width=p["vision_width"],
        vision_layers=p["vision_layers"], vision_heads=p["vision_heads"], context=p["context"], vocab=p["vocab"],
        text_width=p["text_width"], text_layers=p["text_layers"], text_heads=p["text_heads"],
        eot_id=int(tensors["in.text"].max()), stem=False)  # the published vocabulary: end-of-text is the highest id
    model = CLIP(config).double()
    model.load_state_dict({clip_name(k[2:]): t for k, t in tensors.items() if k.startswith("w.")})
    return model, tensors


def test_clip_tiny():
    model, tensors = tiny_clip()
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

    activations = [k for k in tensors if k.startswith("act.")]
    assert len(activations) == len(watched)
    for key in activations:
        close(seen[key[4:]], tensors[key], SINGLE, key)
    for prefix, tolerance in (("out64", EXACT), ("out", SINGLE)):
        close(out.image_features, tensors[f"{prefix}.image_features"], tolerance, prefix)
        close(out.text_features, tensors[f"{prefix}.text_features"], tolerance, prefix)
        close(out.logits_per_image, tensors[f"{prefix}.logits_per_image"], tolerance, prefix)
        close(loss, tensors[f"{prefix}.loss"], tolerance, prefix)
    close((ids == model.config.eot_id).int().argmax(1), tensors["in.eot_pos"], EXACT)
    parameters = dict(model.named_parameters())
    gradients = [k for k in tensors if k.startswith(("grad.", "grad64."))]
    assert gradients
    for key in gradients:
        prefix, name = key.split(".", 1)
        close(parameters[clip_name(name)].grad, tensors[key], EXACT if prefix == "grad64" else SINGLE, key)


def openai_weights(model):
    """The weights of a CLIP under the names, and in the fused and transposed shapes, of the authors' state dict."""
    result = {"logit_scale": model.log_scale}
    for tower, prefix in ((model.vision, "visual."), (model.text, "")):
        for i, block in enumerate(tower.blocks):
            name = f"{prefix}transformer.resblocks.{i}."
            for part in ("weight", "bias"):
                result[f"{name}attn.in_proj_{part}"] = torch.cat([getattr(block.attn.get_submodule(m), part) for m in "qkv"])
                for theirs, ours in (("attn.out_proj", "attn.o"), ("ln_1", "ln1"), ("ln_2", "ln2"),
                                     ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):
                    result[f"{name}{theirs}.{part}"] = getattr(block.get_submodule(ours), part)
    vision, text = model.vision, model.text
    result |= {
        "visual.class_embedding": vision.cls, "visual.positional_embedding": vision.pos,
        "visual.proj": vision.proj.weight.T, "visual.conv1.weight": vision.patch.conv.weight,
        "visual.ln_pre.weight": vision.ln_pre.weight, "visual.ln_pre.bias": vision.ln_pre.bias,
        "visual.ln_post.weight": vision.ln_final.weight, "visual.ln_post.bias": vision.ln_final.bias,
        "positional_embedding": text.pos, "text_projection": text.proj.weight.T, "token_embedding.weight": text.tok.weight,
        "ln_final.weight": text.ln_final.weight, "ln_final.bias": text.ln_final.bias,
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


@pytest.mark.parametrize("measure", ["cosine", "order"])
def test_retrieval_metrics(measure):
    tensors, p = read("retrieval_metrics")
    images, captions = tensors["img"], tensors["caps"]
    if measure == "cosine":
        scores = images @ captions.T
    else:  # order embeddings are made non-negative first; the authors computed these in float32
        images, captions = images.abs().float(), captions.abs().float()
        scores = -(captions[None] - images[:, None]).clamp(min=0).square().sum(-1).sqrt()
    of_text = torch.arange(p["images"]).repeat_interleave(p["captions_per_image"])
    of_picture, of_caption = measures.ranks(scores, of_text)
    close(of_picture, tensors[f"{measure}.i2t_ranks0"], EXACT)
    close(of_caption, tensors[f"{measure}.t2i_ranks0"], EXACT)
    close(scores.argmax(1), tensors[f"{measure}.i2t_top1"], EXACT)
    close(scores.argmax(0), tensors[f"{measure}.t2i_top1"], EXACT)
    result = measures.retrieval(scores, of_text)
    close(result.text, tensors[f"{measure}.i2t"], EXACT)
    close(result.image, tensors[f"{measure}.t2i"], EXACT)


def test_retrieval_metrics_median_and_albef():
    tensors, p = read("retrieval_metrics")
    close(measures.recall(tensors["median_example.ranks0"]).median, tensors["median_example.medr"], EXACT)
    of_text = torch.tensor(p["albef_txt2img"])
    close(of_text, tensors["albef.txt2img"], EXACT)
    # Re-ranked scores are two matrices, one a direction.
    text = measures.retrieval(tensors["albef.score_i2t"], of_text).text
    image = measures.retrieval(tensors["albef.score_t2i"].T, of_text).image
    for ours, name in ((text, "txt"), (image, "img")):
        for k in ("r1", "r5", "r10"):
            close(getattr(ours, k), tensors[f"albef.{name}_{k}"], EXACT, f"{name} {k}")
    means = {"img_r_mean": np.mean(image[:3]), "r_mean": np.mean([*text[:3], *image[:3]]), "txt_r_mean": np.mean(text[:3])}
    for name in (k for k in tensors if k.startswith("albef.") and k.endswith("r_mean")):
        close(means[name[6:]], tensors[name], EXACT, name)
