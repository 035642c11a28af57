"""How far to trust a map: against the masks of what a word means, against the model's own score, and against controls.

A map can look convincing and explain nothing, since most of what stands out in a picture is a thing. So the same scores are
taken of a model with random weights and of the map of another word: a map that does no better has not found what the word
means.

Letters: b maps, n places, h w pixels, f fractions of the places.
"""

from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .._errors import expect
from ..evaluation.embed import evaluating
from ..scenes import SIDE
from ..scenes import masks as masks_of_things
from ..scenes.tasks import to
from .architectures import Grid, ask_for_words, score
from .looking import Look, Maps
from .words import MEANS, meant, scene_words, words_of

#: How far from the mask the peak of a map may lie, in pixels: half a place of the course's grids, which cannot tell more.
TOLERANCE = 4
#: Steps of the curves: an eighth of the places each.
STEPS = 8
KINDS = ("icon", "colour")  # of words
#: Places of the course's grids, for what chance gets.
EVERYWHERE = Grid(SIDE // 8, SIDE // 8, 8, 3.5)


def peak(pixels):
    """Where maps `b h w` are highest: `b 2`, row and column, the middle of all pixels that share the highest value."""
    top = (pixels == pixels.amax((1, 2), keepdim=True)).to(pixels.dtype)
    y, x = (torch.arange(side, dtype=pixels.dtype, device=pixels.device) for side in pixels.shape[1:])
    total = top.sum((1, 2))
    return torch.stack([(top.sum(2) * y).sum(1) / total, (top.sum(1) * x).sum(1) / total], dim=1)


def pointing(pixels, masks, tolerance=TOLERANCE):
    """The pointing game (Zhang et al. 2018, section 4.2, there with 15 pixels): whether the peak of each map `b h w` lies in its
    mask `b h w`, or no further than the tolerance from it: `b` of bool. A map that is the same everywhere points to the
    middle of the picture."""
    y, x = (torch.arange(side, device=pixels.device) for side in pixels.shape[1:])
    row, column = peak(pixels).unbind(1)
    squared = (y[:, None] - row[:, None, None]) ** 2 + (x - column[:, None, None]) ** 2
    return (masks & (squared <= tolerance ** 2)).flatten(1).any(1)


def energy(pixels, masks):
    """The share of a map within its mask (Wang et al. 2020, Score-CAM, section 4.3): `b`, 0 to 1. What is below 0 counts as 0; a map
    without anything has 0."""
    pixels = pixels.clamp(min=0)
    total = pixels.sum((1, 2))
    return (pixels * masks).sum((1, 2)) / torch.where(total == 0, 1, total)


def best_iou(pixels, masks):
    """Intersection over union of the mask with all pixels above a threshold, the best that any threshold gives: `b`. An upper
    bound: the threshold is chosen for each map, looking at the mask."""
    values, order = pixels.flatten(1).sort(1, descending=True)
    inside = masks.flatten(1).gather(1, order).double().cumsum(1)  # of the pixels from the highest to this one
    taken = torch.arange(1, values.shape[1] + 1, device=values.device)
    iou = inside / (taken + masks.flatten(1).sum(1, keepdim=True) - inside)
    last = F.pad(values[:, 1:] != values[:, :-1], (0, 1), value=True)  # of pixels with one value: all or none
    return iou.masked_fill(~last, 0).amax(1).to(pixels.dtype)


def hide(picture, hidden):
    """A picture without some of its places: a mapping. hidden: Maps for one token, 1 where a place or a region is hidden, else 0.

    A place gets the median colour of its picture, which in a scene is the background's; the features of a region become 0,
    as in pre-training."""
    if "regions" in picture:
        return {**picture, "regions": picture["regions"].masked_fill(hidden.values[:, 0, :, None] > 0, 0)}
    images = picture["images"]
    where = hidden.pixels(*images.shape[2:]) > 0  # b 1 h w
    return {**picture, "images": torch.where(where, images.flatten(2).median(2).values[..., None, None], images)}


@torch.no_grad()
def curves(model, picture, ids, maps, target=None, steps=STEPS):
    """Deletion and insertion (Petsiuk et al. 2018, RISE, section 4.3): the score when the highest 0, 1 / steps, ... of the places
    are hidden, and when all but them are: two tensors `b f`, f = steps + 1. Good maps make the first fall early and the
    second rise early.

    maps: Maps for one token; picture, ids: a row a map; target: as for `architectures.score`, or a function.
    """
    values = maps.values.flatten(1)
    real = picture.get("region_mask") if maps.grid is None else None
    real = torch.ones_like(values, dtype=torch.bool) if real is None else real
    rank = values.masked_fill(~real, float("-inf")).argsort(dim=1, descending=True, stable=True).argsort(1)
    number = real.sum(1, keepdim=True)
    measure = target if callable(target) else partial(score, target=target)
    found = [], []
    with evaluating(model):
        for i in range(steps + 1):
            high = rank < (number * i / steps).round()
            for curve, hidden in zip(found, (high & real, ~high & real)):
                hidden = maps._replace(values=hidden.view(maps.values.shape).to(maps.values))
                curve.append(measure(model, hide(picture, hidden), ids).float())
    return tuple(torch.stack(curve, dim=1) for curve in found)


def area(curve):
    """The mean height of curves `b f` by the trapezoid rule: `b`."""
    return (curve[:, 1:] + curve[:, :-1]).mean(1) / 2


# Which words of which scenes.


class Asked(NamedTuple):
    """A word of a sentence about scene number `scene` within the data: the position `at` of its first token, the mask `h w` of
    what it means, and the position `other` of a word that means none of that, or None."""

    scene: int
    at: int
    mask: torch.Tensor
    other: int | None


def asked(data, kind):
    """The first word of a kind in the first caption of each scene that is true of some of its things and not of others: list of
    Asked. In a scene of one thing any map that finds a thing would be right. kind: one of KINDS."""
    expect(kind in KINDS, "kind", repr(kind), f"one of {', '.join(KINDS)}")
    result = []
    for i, (scene, ids) in enumerate(zip(data.scenes, data.tokens())):
        found = [(MEANS[word][0], at[0], mask) for word, at in words_of(ids)
                 if (mask := meant(scene, word)) is not None]
        of_kind = [(at, mask) for field, at, mask in found if field == kind]
        if of_kind:
            at, mask = of_kind[0]
            others = [o for field, o, m in found if field == "icon" and not (m & mask).any()]
            result.append(Asked(i, at, mask, others[0] if others else None))
    return result


class Bound(NamedTuple):
    """A colour word of a sentence about scene number `scene` within the data, the position `at` of its first token, in front of
    its noun: `own` `h w`, the thing that is meant, `other` `h w`, all other things of that colour."""

    scene: int
    at: int
    own: torch.Tensor
    other: torch.Tensor


def bound(data):
    """The first colour word in front of a noun in the first caption of each scene that has other things of that colour: list of
    Bound. Who reads the word alone cannot tell which of them is meant; who binds it to its noun can."""
    result = []
    for i, (scene, ids) in enumerate(zip(data.scenes, data.tokens())):
        words = words_of(ids)
        for (word, at), (next_word, _) in zip(words, words[1:]):
            (field, colour), (noun_field, icon) = (MEANS.get(w, (None, None)) for w in (word, next_word))
            if field == "colour" and noun_field == "icon":
                own, same = (torch.tensor([getattr(t, name) == value for t in scene.things])
                             for name, value in (("icon", icon), ("colour", colour)))
                if (own & same).sum() == 1 and (same & ~own).any():
                    things = torch.from_numpy(masks_of_things(scene))
                    result.append(Bound(i, at[0], things[own & same].any(0), things[same & ~own].any(0)))
                    break
    return result


# The table.


def wilson(hits, confidence=0.95):
    """[share, low, high] of hits `b` of bool, in percent, with Wilson's interval (1927)."""
    n, p, z = len(hits), hits.double().mean().item(), NormalDist().inv_cdf((1 + confidence) / 2)
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return [100 * x for x in (p, *((middle + side * half) / (1 + z * z / n) for side in (-1, 1)))]


def bootstrap(rows, statistic, confidence=0.95, draws=1000, seed=0):
    """[value, low, high] of a statistic of rows `b ...`, in percent: quantiles of what it is for `draws` samples of as many rows,
    drawn with replacement. statistic: `draws b ... -> draws`."""
    chosen = torch.randint(len(rows), (draws, len(rows)), generator=torch.Generator().manual_seed(seed))
    found = statistic(rows[chosen].double())
    low, high = found.quantile(found.new_tensor([(1 - confidence) / 2, (1 + confidence) / 2])).tolist()
    return [100 * x for x in (statistic(rows[None].double()).item(), low, high)]


def _mean(rows):
    return rows.mean(1)


def share_of_way(areas, whole, empty):
    """Mean areas under curves as a share of the way from the score of the empty picture to that of the whole one, each `b`: as
    `bootstrap` says it. None where the empty picture has the higher score: there is no such way."""
    if bool(whole.mean() <= empty.mean()):
        return None

    def share(rows):
        area, whole, empty = rows.mean(1).unbind(1)
        return (area - empty) / (whole - empty)
    return bootstrap(torch.stack([areas, whole, empty], dim=1), share)


def located(pixels, masks):
    """How well maps `b h w` find masks `b h w`: {"pointing", "energy", "iou"}, each [value, low, high] in percent."""
    return {"pointing": wilson(pointing(pixels, masks)), "energy": bootstrap(energy(pixels, masks), _mean),
            "iou": bootstrap(best_iou(pixels, masks), _mean)}


def chance(masks, grid):
    """What maps get that know nothing: {"pointing", "energy"} in percent, of a peak at any place of the grid, and of a map that
    is the same everywhere. masks `b h w`."""
    b, h, w = masks.shape
    one = torch.eye(grid.rows * grid.columns).view(1, -1, grid.rows, grid.columns)
    hits = [pointing(place.expand(b, -1, -1), masks).double().mean().item() for place in Maps(one, grid).pixels(h, w)[0]]
    return {"pointing": 100 * sum(hits) / len(hits), "energy": 100 * masks.double().mean().item()}


def _looks(model, data, words, see, target, curved, size):
    """method -> for all `words` the pixels of the word's own map, of the other word's, and, if curved, `b 4`: the area of the
    deletion curve, of the insertion curve, the score of the whole picture and of the empty one."""
    found, tokens, device, side = {}, data.tokens(), next(model.parameters()).device, data.pictures.shape[-1]
    for part in (words[i:i + size] for i in range(0, len(words), size)):
        index = torch.tensor([word.scene for word in part])
        picture, ids = to((see or data.see)(index), device), tokens[index].to(device)
        rows, all_words = torch.arange(len(part), device=device), scene_words(ids)
        own, other = (all_words[rows, torch.tensor(at, device=device)][:, None] for at in (
            [word.at for word in part], [word.at if word.other is None else word.other for word in part]))
        # The two words that are asked for; the others would take passes of their own.
        look = Look(model, picture, ids, torch.where((all_words == own) | (all_words == other), all_words, -1), target)
        asked_ids, asked_target = ids, target
        if target == "word":
            asked_ids, asked_target = ask_for_words(model, ids, all_words == own, torch.ones_like(rows, dtype=torch.bool))
        for method in look.methods:
            of_all = look.maps(method)
            at = [(all_words == number).long().argmax(1) for number in (own, other)]
            maps = [of_all._replace(values=of_all.values[rows, place][:, None]) for place in at]
            kept = [m.pixels(side, side)[:, 0].cpu() for m in maps]
            if curved:
                deletion, insertion = curves(model, picture, asked_ids, maps[0], asked_target)
                kept.append(torch.stack([area(deletion), area(insertion), deletion[:, 0], insertion[:, 0]], dim=1).cpu())
            found.setdefault(method, []).append(kept)
    return {method: [torch.cat(parts) for parts in zip(*kept)] for method, kept in found.items()}


def report(model, untrained, data, see=None, targets=(None, "word"), size=50):
    """All scores of a model's maps of words on scenes: plain values, a mapping for data/results.

    model: one of the five as pre-trained; untrained: the same with random weights; data: Scenes; see: what the model sees of
    them (default: `data.see`); targets: see `Look`; size: of batches. Each method's maps are those of its default layer.

    kind of word -> {"words", "other words": how many; "chance": see `chance`; "match" and "word", the targets: method -> {"pointing",
    "energy", "iou" of the word's own map; "random model", "other word": the same of the controls; "deletion", "insertion"}}.
    Scores are [value, low, high] in percent: 95 % intervals, Wilson's for "pointing", else by bootstrap over the scenes. Areas
    under the curves are a share of the way from the score of the empty picture (0 %) to that of the whole one (100 %), see
    `share_of_way`: deletion should be low, insertion high.
    """
    result = {}
    for kind in KINDS:
        words = asked(data, kind)
        expect(len(words) > 0, "data", f"{len(data)} scenes without one", f"scenes with a word for {kind}")
        masks = torch.stack([word.mask for word in words])
        there = torch.tensor([word.other is not None for word in words])
        result[kind] = {"words": len(words), "other words": int(there.sum()), "chance": chance(masks, EVERYWHERE)}
        for target in targets:
            own = _looks(model, data, words, see, target, True, size)
            random = _looks(untrained, data, words, see, target, False, size)
            result[kind][target or "match"] = {
                method: {**located(pixels, masks), "random model": located(random[method][0], masks),
                         "other word": located(others[there], masks[there]) if there.any() else None,
                         "deletion": share_of_way(areas[:, 0], *areas[:, 2:].unbind(1)),
                         "insertion": share_of_way(areas[:, 1], *areas[:, 2:].unbind(1))}
                for method, (pixels, others, areas) in own.items()}
    return result
