"""CLIP: OpenAI's own archive (or its state dict, saved again), and Hugging Face's layout."""

import math

from .._errors import expect
from ..models.clip import CLIP, CLIPConfig
from ._names import count, fill, rename, resize_positions

# OpenAI's: q, k and v are stacked, the projections multiply from the right; three numbers stand beside the weights.
SIZES = ("input_resolution", "context_length", "vocab_size")


def _blocks(theirs, ours):
    return [
        (rf"{theirs}\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", rf"{ours}.blocks.\1.attn.[qkv].\2"),
        (rf"{theirs}\.resblocks\.(\d+)\.attn\.out_proj\.(weight|bias)", rf"{ours}.blocks.\1.attn.o.\2"),
        (rf"{theirs}\.resblocks\.(\d+)\.ln_([12])\.(weight|bias)", rf"{ours}.blocks.\1.ln\2.\3"),
        (rf"{theirs}\.resblocks\.(\d+)\.mlp\.c_fc\.(weight|bias)", rf"{ours}.blocks.\1.mlp.fc1.\2"),
        (rf"{theirs}\.resblocks\.(\d+)\.mlp\.c_proj\.(weight|bias)", rf"{ours}.blocks.\1.mlp.fc2.\2"),
    ]


OPENAI = [
    (r"visual\.class_embedding", r"vision.cls"),
    (r"visual\.positional_embedding", r"vision.pos"),
    (r"visual\.conv1\.weight", r"vision.patch.conv.weight"),
    (r"visual\.ln_pre\.(weight|bias)", r"vision.ln_pre.\1"),
    *_blocks(r"visual\.transformer", r"vision"),
    (r"visual\.ln_post\.(weight|bias)", r"vision.ln_final.\1"),
    (r"visual\.proj", r"vision.proj.weight.T"),
    (r"token_embedding\.weight", r"text.tok.weight"),
    (r"positional_embedding", r"text.pos"),
    *_blocks(r"transformer", r"text"),
    (r"ln_final\.(weight|bias)", r"text.ln_final.\1"),
    (r"text_projection", r"text.proj.weight.T"),
    (r"logit_scale", r"log_scale"),
    ("|".join(SIZES), None),
]

HUGGING_FACE = [
    (r"vision_model\.embeddings\.class_embedding", r"vision.cls"),
    (r"vision_model\.embeddings\.position_embedding\.weight", r"vision.pos"),
    (r"vision_model\.embeddings\.patch_embedding\.weight", r"vision.patch.conv.weight"),
    (r"vision_model\.pre_layrnorm\.(weight|bias)", r"vision.ln_pre.\1"),  # spelled like this
    (r"vision_model\.post_layernorm\.(weight|bias)", r"vision.ln_final.\1"),
    (r"visual_projection\.weight", r"vision.proj.weight"),
    (r"text_model\.embeddings\.token_embedding\.weight", r"text.tok.weight"),
    (r"text_model\.embeddings\.position_embedding\.weight", r"text.pos"),
    (r"text_model\.final_layer_norm\.(weight|bias)", r"text.ln_final.\1"),
    (r"text_projection\.weight", r"text.proj.weight"),
    (r"(vision|text)_model\.encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)",
     r"\1.blocks.\2.attn.\3.\4"),
    (r"(vision|text)_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.(weight|bias)", r"\1.blocks.\2.attn.o.\3"),
    (r"(vision|text)_model\.encoder\.layers\.(\d+)\.layer_norm([12])\.(weight|bias)", r"\1.blocks.\2.ln\3.\4"),
    (r"(vision|text)_model\.encoder\.layers\.(\d+)\.mlp\.fc([12])\.(weight|bias)", r"\1.blocks.\2.mlp.fc\3.\4"),
    (r"logit_scale", r"log_scale"),
]


def openai(tensors, facts, image=None):
    """A CLIP from OpenAI's names. image: another size of pictures, in pixels."""
    weights = rename(tensors, OPENAI)
    config = _config(weights)
    says = {name: int(tensors[name]) for name in SIZES if name in tensors}
    is_so = dict(zip(SIZES, (config["image"], config["context"], config["vocab"])))
    expect(says.items() <= is_so.items(), "weights", says, f"the sizes of their tensors, {is_so}")
    return _fill(weights, config, image)


def hugging_face(tensors, facts, image=None):
    """A CLIP from Hugging Face's names; facts: its config.json, where there is one."""
    weights = rename(tensors, HUGGING_FACE)
    config = _config(weights)
    for tower in ("vision", "text"):
        said = facts.get(f"{tower}_config") or {}
        activation = said.get("hidden_act", "quick_gelu")
        expect(activation == "quick_gelu", f"hidden_act of {tower}_config", repr(activation), "'quick_gelu'")
        config[f"{tower}_heads"] = said.get("num_attention_heads", config[f"{tower}_heads"])
    # 2 is what the published files say, and it is not so: their end-of-text token is the last one.
    end = (facts.get("text_config") or {}).get("eos_token_id", 2)
    if end != 2:
        config["eot_id"] = end
    return _fill(weights, config, image)


def _config(weights):
    """The sizes, as the shapes tell them. Heads are 64 wide (section 2.4)."""
    width, _, patch, _ = weights["vision.patch.conv.weight"].shape
    vocab, text_width = weights["text.tok.weight"].shape
    return dict(
        embed_dim=len(weights["vision.proj.weight"]), image=math.isqrt(len(weights["vision.pos"]) - 1) * patch,
        patch=patch, vision_width=width, vision_layers=count(weights, "vision.blocks."),
        vision_heads=max(1, width // 64), context=len(weights["text.pos"]), vocab=vocab, text_width=text_width,
        text_layers=count(weights, "text.blocks."), text_heads=max(1, text_width // 64), eot_id=vocab - 1, stem=False)


def _fill(weights, config, image):
    weights["vision.pos"] = resize_positions(weights["vision.pos"], image, config["patch"])
    return fill(CLIP(CLIPConfig(**config | {"image": image or config["image"]})), weights)
