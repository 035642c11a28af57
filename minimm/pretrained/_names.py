"""The authors' names of weights into this library's.

A table has rows (theirs, ours). Theirs is a regular expression that a whole name must match; ours is the name here,
with \\1, \\2 for what the parentheses caught. In ours, `[qkv]` cuts a stacked matrix into the three of q, k and v; `.T`
at the end turns a matrix that the authors multiply from the right; None: not needed here.
"""

import math
import re

import torch
import torch.nn.functional as F
from einops import rearrange

from .._errors import expect

# What stands in files and is never needed: 0, 1, 2, ... as a tensor, and counters of batch normalisation.
NEVER_NEEDED = [(r"(.+\.)?position_ids", None), (r"(.+\.)?num_batches_tracked", None)]


def rename(tensors, rows):
    """{our name: tensor} from {their name: tensor}; numbers as float32.

    Two of their names may mean one tensor of ours (tied weights, which files hold under either name or both).
    Raises ValueError for names that no row knows, listing them, and for tied tensors that are not equal.
    """
    rows = [(re.compile(theirs), ours) for theirs, ours in [*NEVER_NEEDED, *rows]]
    renamed, of, unknown = {}, {}, []
    for name, tensor in tensors.items():
        match, ours = next(((match, ours) for theirs, ours in rows if (match := theirs.fullmatch(name))), (None, None))
        if match is None:
            unknown.append(name)
        elif ours is not None:
            for ours, part in _parts(match.expand(ours), tensor):
                if ours in renamed:
                    expect(part is renamed[ours] or torch.equal(part, renamed[ours]), f"{name} and {of[ours]}",
                           "different numbers", "one tensor under two names")
                renamed[ours], of[ours] = part, name
    expect(not unknown, "weights", f"unknown names ({len(unknown)}): {', '.join(unknown[:10])}",
           "only names that this layout has")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in renamed.items()}


def _parts(ours, tensor):
    if ours.endswith(".T"):
        return [(ours.removesuffix(".T"), tensor.T)]
    if "[qkv]" in ours:
        return [(ours.replace("[qkv]", letter), part) for letter, part in zip("qkv", tensor.chunk(3))]
    return [(ours, tensor)]


def count(weights, prefix):
    """How many blocks there are: names of ours that begin with `prefix` and a number."""
    return 1 + max((int(match[1]) for name in weights if (match := re.match(rf"{re.escape(prefix)}(\d+)\.", name))),
                   default=-1)


def fill(model, weights, besides=""):
    """Give `model` its weights, from the file alone; besides: a regular expression for what stays as it was made.

    Leading dimensions of 1 that the model's tensor has not are dropped (class tokens are [1, 1, d] with some authors).
    Raises ValueError for missing and superfluous names, and for wrong shapes.
    """
    own = model.state_dict()
    besides = {name: tensor for name, tensor in own.items() if re.fullmatch(besides, name)}
    missing, left = own.keys() - weights.keys() - besides.keys(), weights.keys() - own.keys()
    expect(not missing and not left, "weights", f"missing ({len(missing)}) {', '.join(sorted(missing)[:10]) or '-'}; "
           f"left over ({len(left)}) {', '.join(sorted(left)[:10]) or '-'}", "all of the model's, and no others")
    for name, tensor in weights.items():
        while tensor.ndim > own[name].ndim and tensor.shape[0] == 1:
            tensor = tensor[0]
        expect(tensor.shape == own[name].shape, name, tuple(tensor.shape), tuple(own[name].shape))
        weights[name] = tensor
    model.load_state_dict(weights | besides)
    return model


def resize_positions(table, image, patch):
    """A table of positions `1+n d`, of the class token and of a square grid, for pictures of `image` pixels: the row of
    the class token stays, the grid is resized bicubically, once and for all (what ALBEF's authors do; CLIP's never
    resize, others do so). None: as it is."""
    table = table.flatten(0, -2)
    side = math.isqrt(len(table) - 1)
    expect(side * side == len(table) - 1, "weights", f"{len(table)} positions", "1 and those of a square grid")
    expect(image is None or type(image) is int and image > 0 and image % patch == 0, "image", repr(image),
           f"a multiple of the patch {patch}, in pixels")
    if image is None or image == side * patch:
        return table
    grid = rearrange(table[1:], "(r c) d -> 1 d r c", r=side)
    grid = F.interpolate(grid, size=(image // patch,) * 2, mode="bicubic", align_corners=False)
    return torch.cat([table[:1], rearrange(grid, "1 d r c -> (r c) d")])


# What several architectures share. `ours` ends with a dot, or is empty.


def vision_transformer(theirs, ours):
    """Rows for the vision transformer of timm, with all of q, k and v in one matrix (ALBEF, ViLT)."""
    return [
        (rf"{theirs}\.cls_token", rf"{ours}cls"),
        (rf"{theirs}\.pos_embed", rf"{ours}pos"),
        (rf"{theirs}\.patch_embed\.proj\.(weight|bias)", rf"{ours}patch.conv.\1"),
        (rf"{theirs}\.blocks\.(\d+)\.norm([12])\.(weight|bias)", rf"{ours}blocks.\1.ln\2.\3"),
        (rf"{theirs}\.blocks\.(\d+)\.attn\.qkv\.(weight|bias)", rf"{ours}blocks.\1.attn.[qkv].\2"),
        (rf"{theirs}\.blocks\.(\d+)\.attn\.proj\.(weight|bias)", rf"{ours}blocks.\1.attn.o.\2"),
        (rf"{theirs}\.blocks\.(\d+)\.mlp\.fc([12])\.(weight|bias)", rf"{ours}blocks.\1.mlp.fc\2.\3"),
        (rf"{theirs}\.norm\.(weight|bias)", rf"{ours}ln_final.\1"),
    ]


def vision_sizes(weights, ours):
    """How large such a vision transformer is: image, patch, width, layers, heads, hidden. Heads are 64 wide."""
    width, _, patch, _ = weights[f"{ours}patch.conv.weight"].shape
    return dict(image=math.isqrt(weights[f"{ours}pos"].shape[-2] - 1) * patch, patch=patch, width=width,
                layers=count(weights, f"{ours}blocks."), heads=max(1, width // 64),
                hidden=len(weights[f"{ours}blocks.0.mlp.fc1.weight"]))


def text_embedding(theirs, ours):
    """Rows for BERT's embeddings."""
    return [
        (rf"{theirs}\.word_embeddings\.weight", rf"{ours}tok.weight"),
        (rf"{theirs}\.position_embeddings\.weight", rf"{ours}pos.weight"),
        (rf"{theirs}\.token_type_embeddings\.weight", rf"{ours}token_type.weight"),
        (rf"{theirs}\.LayerNorm\.(weight|bias)", rf"{ours}ln.\1"),
    ]


def bert_blocks(theirs, ours):
    """Rows for BERT's blocks, with or without cross-attention (ALBEF, ViLBERT)."""
    return [
        (rf"{theirs}\.(\d+)\.attention\.self\.(q|k|v)(?:uery|ey|alue)\.(weight|bias)", rf"{ours}\1.attn.\2.\3"),
        (rf"{theirs}\.(\d+)\.attention\.output\.dense\.(weight|bias)", rf"{ours}\1.attn.o.\2"),
        (rf"{theirs}\.(\d+)\.attention\.output\.LayerNorm\.(weight|bias)", rf"{ours}\1.ln1.\2"),
        (rf"{theirs}\.(\d+)\.crossattention\.self\.(q|k|v)(?:uery|ey|alue)\.(weight|bias)", rf"{ours}\1.xattn.\2.\3"),
        (rf"{theirs}\.(\d+)\.crossattention\.output\.dense\.(weight|bias)", rf"{ours}\1.xattn.o.\2"),
        (rf"{theirs}\.(\d+)\.crossattention\.output\.LayerNorm\.(weight|bias)", rf"{ours}\1.lnx.\2"),
        (rf"{theirs}\.(\d+)\.intermediate\.dense\.(weight|bias)", rf"{ours}\1.mlp.fc1.\2"),
        (rf"{theirs}\.(\d+)\.output\.dense\.(weight|bias)", rf"{ours}\1.mlp.fc2.\2"),
        (rf"{theirs}\.(\d+)\.output\.LayerNorm\.(weight|bias)", rf"{ours}\1.ln2.\2"),
    ]


def language_head(theirs, ours):
    """Rows for the head that names masked words; its bias stands in files under one or two names."""
    return [
        (rf"{theirs}\.transform\.dense\.(weight|bias)", rf"{ours}dense.\1"),
        (rf"{theirs}\.transform\.LayerNorm\.(weight|bias)", rf"{ours}ln.\1"),
        (rf"{theirs}\.(?:decoder\.)?bias", rf"{ours}bias"),
    ]
