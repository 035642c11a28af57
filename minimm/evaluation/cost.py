"""What a model costs, in three parts (Kim et al. 2021, ViLT, figure 2): reading a picture, reading a text, and bringing
both together.

    cost(model, images, ids)              # {"picture": Cost, "text": Cost, "pair": Cost}
    cost(vilbert, images, ids, detector)  # what finds the regions belongs to reading a picture
    parameters(parts(model)["pair"])

A picture's and a text's part is all that can be computed without the other one, and so once for a whole gallery. The
pair's part is what is left, and has to be computed for every pair.
"""

import time
from functools import partial, singledispatch
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .._errors import expect
from ..models.albef import ALBEF
from ..models.clip import CLIP
from ..models.vilbert import ViLBERT
from ..models.vilt import ViLT
from ..models.vse import VSE
from ..objectives.contrastive import similarity
from .embed import evaluating
from .pairs import match

#: Inner products are too quick to be timed one by one: so many pictures with as many texts.
ROWS = 1024


class Cost(NamedTuple):
    """parameters: numbers to learn; flops: multiplications and additions in matrix products and convolutions, for one
    picture, text or pair; seconds: for one, with others in its batch."""

    parameters: int
    flops: float
    seconds: float


@singledispatch
def parts(model):
    """What each part holds: {"picture", "text", "pair"}, lists of modules and parameters. What only training needs (the
    heads of masked words and regions, momentum copies) is in none. Raises TypeError for a model that it does not know.
    """
    raise TypeError(f"model: expected a VSE, CLIP, ViLBERT, ViLT or ALBEF, but got a {type(model).__name__}")


@parts.register(CLIP)
@parts.register(VSE)
def two_towers(model):
    scale = [model.log_scale] if isinstance(model, CLIP) else []
    return {"picture": [model.vision], "text": [model.text], "pair": scale}


@parts.register(ViLBERT)
def two_streams(model):
    # The blocks in front of the first co-attention have not seen the other stream yet.
    c, text, vision = model.config, model.text_blocks, model.vision_blocks
    t, v = (*c.text_co, c.text_layers)[0], (*c.vision_co, c.vision_layers)[0]
    return {"picture": [model.vision_embed, *vision[:v]], "text": [model.text_embed, *text[:t]],
            "pair": [*text[t:], *vision[v:], model.co, model.text_pool, model.vision_pool, model.itm]}


@parts.register(ViLT)
def one_stream(model):
    e = model.encoder
    return {"picture": [e.patch, e.cls, e.pos], "text": [e.text],
            "pair": [e.modality, e.blocks, e.ln_final, e.pooler, model.itm]}


@parts.register(ALBEF)
def aligned_before_fused(model):
    online, text = model.online, model.online.text
    return {"picture": [online.vision, online.image_proj], "text": [text.embed, *text.layers, online.text_proj],
            "pair": [text.fusion, model.itm]}


def parameters(things):
    """How many numbers modules and parameters hold together."""
    return sum(p.numel() for thing in things for p in (thing.parameters() if isinstance(thing, nn.Module) else [thing]))


def metered(run, within, meter):
    """What a meter gains while `run()` runs: {part: within its modules, "pair": the rest}.

    meter: a function without arguments, such as a clock; within: part -> things, of which modules are metered;
    none may stand inside another one.
    """
    gained, hooks = dict.fromkeys(within, 0), []

    def begin(part, *_):
        gained[part] -= meter()

    def end(part, *_):
        gained[part] += meter()

    for part, things in within.items():
        for module in (thing for thing in things if isinstance(thing, nn.Module)):
            hooks += [module.register_forward_pre_hook(partial(begin, part)),
                      module.register_forward_hook(partial(end, part))]
    try:
        start = meter()
        run()
        return {**gained, "pair": meter() - start - sum(gained.values())}
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def cost(model, images, ids, detector=None, repeats=3):
    """What reading and matching costs: {"picture": Cost, "text": Cost, "pair": Cost}, in evaluation mode.

    images `b 3 h w`, ids `b l`: pairs. For ViLBERT images are what a Detector finds regions in, or without a detector
    the regions themselves, a mapping. repeats: the shortest time of so many counts; other programs only add to it.
    What stands between the modules (positions added, checks of inputs) counts as the pair's. Raises TypeError for a
    model that it does not know, and what the model raises.
    """
    expect(repeats > 0, "repeats", repeats, "at least 1")
    held, b, towers = parts(model), len(ids), isinstance(model, (CLIP, VSE))
    readers = {part: held[part] for part in ("picture", "text")}

    def see():
        return images if isinstance(images, dict) else detector.regions(images) if detector else {"images": images}

    def read():
        return (model.encode_image(images), model.encode_text(ids)) if towers else match(model, seen, ids)

    def compare():  # all pictures with all texts
        return similarity(*features, model.log_scale) if isinstance(model, CLIP) else model.similarity(*features)

    def gains(meter):
        gained = {part: gain / b for part, gain in metered(read, readers, meter).items()}
        gained["picture"] += metered(see, {}, meter)["pair"] / b
        if towers:
            gained["pair"] = metered(compare, {}, meter)["pair"] / ROWS**2
        return gained

    with evaluating(model):
        seen = see()
        features = [f[torch.arange(ROWS, device=f.device) % b] for f in read()] if towers else None
        with FlopCounterMode(display=False) as counter:
            flops = gains(counter.get_total_flops)
        times = [gains(time.perf_counter) for _ in range(repeats)]
    if detector:
        held["picture"].append(detector)
    return {part: Cost(parameters(held[part]), flops[part], min(t[part] for t in times)) for part in held}
