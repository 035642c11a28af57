"""What a model can tell apart: a true sentence against one that differs in a single respect (a foil).

Two sentences about one picture; the model is right if it finds the true one more similar. Chance is 50 %.
"""

from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .._errors import expect
from ..scenes import COLOURS, ICONS, Mention
from ..scenes.captions import RELATIONS, listing, phrase, stands
from ..scenes.world import pick, stream


class Foil(NamedTuple):
    """`true` and `false` are sentences about scene number `scene`."""

    scene: int
    true: str
    false: str


def _icon(scene, random):
    # a thing that is there against one that is not: needs shapes alone
    thing = pick(random, scene.things)
    other = pick(random, [i for i in ICONS if i not in {t.icon for t in scene.things}])
    return phrase(Mention(thing.icon)), phrase(Mention(other))


def _colour(scene, random):
    # the right colour against one that is nowhere in the picture: needs colours alone
    thing = pick(random, scene.things)
    other = pick(random, [c for c in COLOURS if c not in {t.colour for t in scene.things}])
    return phrase(Mention(thing.icon, thing.colour)), phrase(Mention(thing.icon, other))


def _pairs(scene):
    # two things of different icons and colours, each the only one of its icon
    icons = [t.icon for t in scene.things]
    return [(a, b) for a, b in combinations(scene.things, 2)
            if a.colour != b.colour and icons.count(a.icon) == icons.count(b.icon) == 1]


def _binding(scene, random):
    # "a red cup and a blue star" against "a blue cup and a red star": the same words, bound the other way
    pairs = _pairs(scene)
    if not pairs:
        return None
    a, b = pick(random, pairs)
    right = (Mention(a.icon, a.colour), Mention(b.icon, b.colour))
    wrong = (Mention(a.icon, b.colour), Mention(b.icon, a.colour))
    return listing(right), listing(wrong)


def _relation(scene, random):
    # "a cup left of a star" against "a star left of a cup"
    pairs = _pairs(scene)
    if not pairs:
        return None
    a, b = pick(random, pairs)
    relation = pick(random, [r for r in RELATIONS if stands(a, r, b)])
    first, second = phrase(Mention(a.icon)), phrase(Mention(b.icon))
    return f"{first} {relation} {second}", f"{second} {relation} {first}"


def _count(scene, random):
    # "two cups" against "a cup", or the reverse. Only scenes with an icon that is there once and one that is there twice:
    # else a model that likes the singular would look as if it could count.
    icons = [t.icon for t in scene.things]
    once, twice = [i for i in icons if icons.count(i) == 1], [i for i in icons if icons.count(i) == 2]
    if not (once and twice):
        return None
    number = 1 if random() < 0.5 else 2
    icon = pick(random, once if number == 1 else twice)
    return phrase(Mention(icon), number), phrase(Mention(icon), 3 - number)


_KINDS = {"icon": _icon, "colour": _colour, "binding": _binding, "relation": _relation, "count": _count}
KINDS = tuple(_KINDS)


def foils(scenes, kind, seed=0):
    """A pair of sentences for every scene that allows one: list of Foil. Raises ValueError for an unknown kind."""
    expect(kind in _KINDS, "kind", repr(kind), f"one of {', '.join(KINDS)}")
    result = []
    for i, scene in enumerate(scenes):
        pair = _KINDS[kind](scene, stream("foils", kind, seed, i))
        if pair is not None:
            result.append(Foil(i, *pair))
    return result


@torch.no_grad()
def told_apart(image_features, encode_text, tokenize, pairs):
    """How often, in percent, the true sentence is the more similar one. A tie counts half.

    image_features `b e`, a row a scene; encode_text: ids -> features `b e`; tokenize: texts -> ids.
    """
    expect(len(pairs) > 0, "pairs", "none", "at least one")
    images = F.normalize(image_features[[p.scene for p in pairs]], dim=-1)
    true, false = ((images * F.normalize(encode_text(tokenize(texts)), dim=-1)).sum(-1)
                   for texts in ([p.true for p in pairs], [p.false for p in pairs]))
    return 100 * ((true > false).double() + 0.5 * (true == false).double()).mean().item()
