"""One training step of CLIP, stem off, against Hugging Face's and open_clip's, with the same weights and outputs.

Time: all three in turn in one process, the median of the ratios. Memory: each in a process of its own, the peak of the
resident set over what it was before the first step (on CUDA the peak that was allocated).
"""

import argparse
import statistics
import subprocess
import sys
import time

import torch

from minimm import device
from minimm.models.clip import CLIP, CLIPConfig
from minimm.objectives.contrastive import symmetric_cross_entropy

BATCH, LENGTH = 128, 32
CONFIG = CLIPConfig(stem=False, vocab=512, eot_id=511, context=LENGTH)


def blocks(model):
    """(tower, number, block) for all blocks."""
    return [(name, i, block) for name in ("vision", "text") for i, block in enumerate(getattr(model, name).blocks)]


def minimm_clip():
    torch.manual_seed(0)
    return CLIP(CONFIG)


def hugging_face(ours):
    """(model, function of a batch that returns the logits) with the weights of ours."""
    from transformers import CLIPConfig as HFConfig
    from transformers import CLIPModel

    c = CONFIG
    model = CLIPModel(HFConfig(
        projection_dim=c.embed_dim,
        vision_config={"hidden_size": c.vision_width, "num_hidden_layers": c.vision_layers, "image_size": c.image,
                       "num_attention_heads": c.vision_heads, "intermediate_size": 4 * c.vision_width,
                       "patch_size": c.patch, "hidden_act": "quick_gelu"},
        text_config={"hidden_size": c.text_width, "num_hidden_layers": c.text_layers, "vocab_size": c.vocab,
                     "num_attention_heads": c.text_heads, "intermediate_size": 4 * c.text_width,
                     "max_position_embeddings": c.context, "hidden_act": "quick_gelu", "eos_token_id": c.eot_id,
                     "bos_token_id": 0, "pad_token_id": 1}))
    model.load_state_dict(hugging_face_weights(ours), strict=False)

    def logits(images, ids):
        return model(pixel_values=images, input_ids=ids).logits_per_image
    return model, logits


def hugging_face_weights(ours):
    """The weights of our CLIP under Hugging Face's names."""
    weights = {
        "logit_scale": ours.log_scale, "visual_projection.weight": ours.vision.proj.weight,
        "text_projection.weight": ours.text.proj.weight,
        "vision_model.embeddings.class_embedding": ours.vision.cls,
        "vision_model.embeddings.patch_embedding.weight": ours.vision.patch.conv.weight,
        "vision_model.embeddings.position_embedding.weight": ours.vision.pos,
        "text_model.embeddings.token_embedding.weight": ours.text.tok.weight,
        "text_model.embeddings.position_embedding.weight": ours.text.pos,
    }
    for theirs, norm in (("vision_model.pre_layrnorm", ours.vision.ln_pre),
                         ("vision_model.post_layernorm", ours.vision.ln_final),
                         ("text_model.final_layer_norm", ours.text.ln_final)):
        weights |= {f"{theirs}.{part}": getattr(norm, part) for part in ("weight", "bias")}
    names = {"attn.q": "self_attn.q_proj", "attn.k": "self_attn.k_proj", "attn.v": "self_attn.v_proj",
             "attn.o": "self_attn.out_proj", "ln1": "layer_norm1", "ln2": "layer_norm2", "mlp.fc1": "mlp.fc1",
             "mlp.fc2": "mlp.fc2"}
    for tower, i, block in blocks(ours):
        for name, theirs in names.items():
            for part in ("weight", "bias"):
                weights[f"{tower}_model.encoder.layers.{i}.{theirs}.{part}"] = getattr(block.get_submodule(name), part)
    return weights


def open_clip(ours):
    """(model, function of a batch that returns the logits) with the weights of ours."""
    from open_clip.model import CLIP as OpenCLIP

    c = CONFIG
    model = OpenCLIP(
        c.embed_dim, quick_gelu=True,
        vision_cfg={"layers": c.vision_layers, "width": c.vision_width, "head_width": c.vision_width // c.vision_heads,
                    "patch_size": c.patch, "image_size": c.image},
        text_cfg={"context_length": c.context, "vocab_size": c.vocab, "width": c.text_width, "heads": c.text_heads,
                  "layers": c.text_layers})
    model.load_state_dict(open_clip_weights(ours), strict=False)

    def logits(images, ids):
        image_features, text_features, scale = model(images, ids)
        return scale * image_features @ text_features.T
    return model, logits


def open_clip_weights(ours):
    """The weights of our CLIP under the names of OpenAI's code, which open_clip shares."""
    weights = {
        "logit_scale": ours.log_scale, "visual.class_embedding": ours.vision.cls,
        "visual.positional_embedding": ours.vision.pos, "visual.proj": ours.vision.proj.weight.T,
        "visual.conv1.weight": ours.vision.patch.conv.weight, "positional_embedding": ours.text.pos,
        "text_projection": ours.text.proj.weight.T, "token_embedding.weight": ours.text.tok.weight,
    }
    for theirs, norm in (("visual.ln_pre", ours.vision.ln_pre), ("visual.ln_post", ours.vision.ln_final),
                         ("ln_final", ours.text.ln_final)):
        weights |= {f"{theirs}.{part}": getattr(norm, part) for part in ("weight", "bias")}
    names = {"attn.o": "attn.out_proj", "ln1": "ln_1", "ln2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    for tower, i, block in blocks(ours):
        prefix = f"{'visual.' if tower == 'vision' else ''}transformer.resblocks.{i}."
        for part in ("weight", "bias"):
            weights |= {f"{prefix}{theirs}.{part}": getattr(block.get_submodule(name), part)
                        for name, theirs in names.items()}
            weights[f"{prefix}attn.in_proj_{part}"] = torch.cat(
                [getattr(block.attn.get_submodule(name), part) for name in "qkv"])
    return weights


def contestants():
    """name -> (model, function of pictures and ids that returns the logits), all with the same weights."""
    ours = minimm_clip()
    made = {"minimm": (ours, lambda images, ids: ours(images, ids).logits_per_image),
            "Hugging Face": hugging_face(ours), "open_clip": open_clip(ours)}
    return {name: (model.to(device()).train(), logits) for name, (model, logits) in made.items()}


def batch():
    """Pictures, and texts that end at different places."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(BATCH, 3, CONFIG.image, CONFIG.image, generator=generator)
    ids = torch.randint(2, CONFIG.eot_id, (BATCH, LENGTH), generator=generator)
    for row, end in zip(ids, torch.randint(4, LENGTH, (BATCH,), generator=generator)):
        row[end], row[end + 1:] = CONFIG.eot_id, 0
    return images.to(device()), ids.to(device())


def stepper(model, logits, images, ids):
    """A function that takes one training step: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step():
        loss = symmetric_cross_entropy(logits(images, ids))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()  # waits for a GPU
    return step


def memory(name):
    """Print the peak memory of three steps of one contestant, in MiB."""
    model, logits = contestants()[name]
    step = stepper(model, logits, *batch())
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(3):
            step()
        print((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    if not sys.platform.startswith("linux"):
        print("nan")  # only Linux lets a process set its own high-water mark back
        return
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = high_water()
    for _ in range(3):
        step()
    print(high_water() - before)


def high_water():
    """The most memory that this process had since the mark was set back, in MiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 2**10


def main(rounds=15):
    models, (images, ids) = contestants(), batch()
    with torch.no_grad():
        outputs = {name: logits(images, ids) for name, (_, logits) in models.items()}
    for name, output in outputs.items():
        torch.testing.assert_close(output, outputs["minimm"], rtol=1e-4, atol=1e-4, msg=lambda m: f"{name}: {m}")
    steps = {name: stepper(model, logits, images, ids) for name, (model, logits) in models.items()}
    times = {name: [] for name in steps}
    for turn in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= 2:  # the first two warm up
                times[name].append(time.perf_counter() - start)
    peaks = {name: float(subprocess.run([sys.executable, "-m", "benchmarks.peers", "--memory", name], check=True,
                                        capture_output=True, text=True).stdout.split()[-1]) for name in steps}
    print(f"one CLIP step, {BATCH} pairs, float32, {device().type}, {torch.get_num_threads()} threads, equal outputs:")
    for name in steps:
        ratio = statistics.median(theirs / ours for theirs, ours in zip(times[name], times["minimm"]))
        print(f"  {name}: {1000 * statistics.median(times[name]):.0f} ms, {ratio:.2f} times minimm's; "
              f"peak memory {peaks[name]:.0f} MiB, {peaks[name] / peaks['minimm']:.2f} times minimm's")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", required=True)
    memory(parser.parse_args().memory)
