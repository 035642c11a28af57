"""How the things of a scene are told apart in words, and which claims about a scene are false but could be true."""

from itertools import permutations

from .captions import RELATIONS, noun, relations
from .world import COLOURS, ICONS, NOVEL_PAIRS, PLACES, SIZES, pick

#: Word -> the word with its article: "a cup", "an umbrella".
A = {word: f"{'an' if word[0] in 'aeiou' else 'a'} {word}" for word in (*ICONS, *COLOURS, *SIZES)}
#: Icon -> its plural.
MANY = {icon: noun(icon, 2) for icon in ICONS}

# Places of the things of a scene -> all (i, relation, j) where j is the only thing that stands so to thing i.
_ONLY = {}
for _n in range(1, len(PLACES) + 1):
    for _places in permutations(PLACES, _n):
        _ONLY[_places] = tuple(
            (i, relation, standing[0])
            for i in range(_n) for relation in RELATIONS
            if len(standing := [j for j in range(_n) if relation in relations(_places[j], _places[i])]) == 1)
#: Number of things -> all ordered pairs of two different things.
PAIRS = {n: tuple(permutations(range(n), 2)) for n in range(len(PLACES) + 1)}

# Whether the scene comes from the split `novel`, icon -> the colours that the icon can have there.
_POSSIBLE = {novel: {icon: tuple(c for c in COLOURS if ((icon, c) in NOVEL_PAIRS) == novel) for icon in ICONS}
             for novel in (False, True)}


def names(things):
    """The shortest name of every thing by icon and colour, "the cup" or "the red cup"; None where several fit."""
    icons = [t.icon for t in things]
    if len(set(icons)) == len(icons):
        return ["the " + icon for icon in icons]
    looks = [(t.icon, t.colour) for t in things]
    return ["the " + t.icon if icons.count(t.icon) == 1
            else f"the {t.colour} {t.icon}" if looks.count((t.icon, t.colour)) == 1 else None
            for t in things]


def name_with_place(thing):
    """A name that always fits one thing only: no place holds two."""
    return f"the {thing.icon} at the {thing.place}"


def only(things):
    """All (i, relation, j) where thing j is the only one that stands in the relation to thing i: j left of i, say."""
    return _ONLY[tuple([t.place for t in things])]


def is_novel(things):
    """Whether the things come from the split `novel`: its pairs of icon and colour appear nowhere else."""
    return (things[0].icon, things[0].colour) in NOVEL_PAIRS


def possible_colours(things):
    """Icon -> the colours that it can have in the split of these things.

    Whoever says something false keeps to them: a pair that the split never shows would give the falsehood away.
    """
    return _POSSIBLE[is_novel(things)]


def absent_pair(random, things, others=()):
    """A (colour, icon) that no thing has, as near to the truth as the scene allows.

    First choice: the colour of one thing and the icon of another, so that only a model which binds the two can tell.
    (With `others`, the things of another picture: first of all what stands there.) Then an icon of the scene in
    another colour, then another icon.
    """
    there = [(t.colour, t.icon) for t in things]
    found = [pair for t in others if (pair := (t.colour, t.icon)) not in there]
    if found:
        return pick(random, found)
    possible = possible_colours(things)
    found = [(colour, icon) for _, icon in there for colour, _ in there
             if colour in possible[icon] and (colour, icon) not in there]
    if found:
        return pick(random, found)
    found = ([(c, t.icon) for t in things for c in possible[t.icon] if (c, t.icon) not in there]
             or [(c, i) for i in ICONS for c in possible[i] if (c, i) not in there])
    return pick(random, found)
