"""What people would write under a scene: captions that name every icon and leave out much of the rest.

The icon is the head noun of every phrase. Colour, size, place and background come only sometimes, as in captions
from the web: a model that could match pictures and sentences by their colours alone would never learn to see shapes.
"""

from functools import cache
from itertools import permutations
from typing import NamedTuple

from .world import PLACES, pick, shuffled, stream

#: How often a phrase says the colour and the size of its thing; how often a caption says the place of the thing that it
#: names first, and the background.
SAYS = {"colour": 0.65, "size": 0.2, "place": 0.25, "background": 0.3}
#: Of a thing that stands alone people say more: factor on all four, so the colour is always said.
ALONE = 2.5
#: Captions of a scene: each has a wording of its own.
WORDINGS = 5

_NUMBERS = ("no", "one", "two", "three", "four")
_IN_FRONT_OF = {"night": "at night", "forest": "in the forest", "stone": "on stone", "desert": "in the desert"}
RELATIONS = ("left of", "right of", "above", "below")


class Mention(NamedTuple):
    """What a phrase says of a thing; None is what it leaves out."""

    icon: str
    colour: str | None = None
    size: str | None = None
    place: str | None = None


class Caption(NamedTuple):
    """A sentence and, for the measures, what it says: mentions of things, a background, a relation.

    `relation` is (i, name, j): mention number i stands, say, left of mention number j.
    """

    text: str
    mentions: tuple
    background: str | None = None
    relation: tuple | None = None


def noun(icon, number=1):
    if number == 1:
        return icon
    return "snowmen" if icon == "snowman" else icon + ("es" if icon.endswith("s") else "s")


@cache
def phrase(mention, number=1, definite=False):
    """The words for `number` things that a mention describes: "a large red star", "two cups at the top left"."""
    words = [w for w in (mention.size, mention.colour) if w] + [noun(mention.icon, number)]
    if definite:
        first = "the"
    elif number > 1:
        first = _NUMBERS[number]
    else:
        first = "an" if words[0][0] in "aeiou" else "a"
    text = " ".join([first, *words])
    return f"{text} at the {mention.place}" if mention.place else text


def stands(a, relation, b):
    """Whether thing `a` stands left of, right of, above or below thing `b` (by their places, not by single pixels)."""
    (ax, ay), (bx, by) = PLACES[a.place], PLACES[b.place]
    return {"left of": ax < bx, "right of": ax > bx, "above": ay < by, "below": ay > by}[relation]


@cache
def relations(place, other):
    """All relations in which a thing at `place` stands to a thing at the `other` place, in the order of RELATIONS."""
    a, b = Mention("", place=place), Mention("", place=other)
    return tuple(r for r in RELATIONS if stands(a, r, b))


def listing(mentions):
    """"a cup, two stars and a moon": equal mentions of one kind are counted."""
    counts = {}
    for mention in mentions:
        counts[mention] = counts.get(mention, 0) + 1
    phrases = [phrase(m, n) for m, n in counts.items()]
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def things_text(mentions, relation=None):
    """The part of a caption that names its things: a listing, or a sentence with a relation."""
    if relation is None:
        return listing(mentions)
    comma = "," if mentions[0].place else ""  # "a cup at the top right, right of a star"
    text = f"{phrase(mentions[0])}{comma} {relation[1]} {phrase(mentions[1])}"
    return f"{text}, with {listing(mentions[2:])}" if len(mentions) > 2 else text


def where_text(background):
    """The part of a caption that says the background, with a space in front; empty for None."""
    return f" {_IN_FRONT_OF[background]}" if background else ""


def retold(caption, mentions, background, relation):
    """A caption in the same wording around other facts."""
    where = where_text(caption.background)
    text = caption.text[:len(caption.text) - len(where)]
    before, _, after = text.partition(things_text(caption.mentions, caption.relation))
    return Caption(before + things_text(mentions, relation) + after + where_text(background),
                   mentions, background, relation)


def said(caption):
    """All that a caption says, a list of (what, word, numbers of the mentions that say it).

    what: a field of Mention, "background" or "relation"; the last two belong to no mention. Mentions that share a
    phrase ("two cups") say it together.
    """
    phrases = {}
    for i, mention in enumerate(caption.mentions):
        phrases.setdefault((mention, i if caption.relation and i < 2 else None), []).append(i)
    facts = [(what, word, tuple(numbers)) for (mention, _), numbers in phrases.items()
             for what, word in zip(mention._fields, mention) if word]
    facts += [("background", caption.background, ())] * bool(caption.background)
    return facts + [("relation", caption.relation[1], ())] if caption.relation else facts


def reworded(caption, what, numbers, word):
    """A caption that says another word than in one row of `said`, in which what and numbers are these."""
    mentions, background, relation = caption.mentions, caption.background, caption.relation
    if what == "background":
        background = word
    elif what == "relation":
        relation = (relation[0], word, relation[2])
    else:
        mentions = tuple([m._replace(**{what: word}) if i in numbers else m for i, m in enumerate(mentions)])
    return retold(caption, mentions, background, relation)


# What stands before and behind the things; the background, if it is said, comes last.
_WORDINGS = (("", ""), ("a picture of ", ""), ("we see ", ""), ("here is ", ""), ("", " in this picture"), ("look, ", ""))
RELATING = len(_WORDINGS)  # the number of the wording that relates two things
# alone? -> the chances of SAYS
_CHANCES = {alone: tuple(chance * (ALONE if alone else 1) for chance in SAYS.values()) for alone in (False, True)}


def caption(scene, random, wording):
    """One caption of a scene in the wording of that number; RELATING is a sentence with a relation."""
    things = shuffled(random, scene.things)
    colour, size, place, background = _CHANCES[len(things) == 1]
    mentions = tuple([  # in this order: colour, size, place, one number of the stream each
        Mention(t.icon,
                t.colour if random() < colour else None,
                t.size if random() < size else None,
                t.place if i == 0 and random() < place else None)
        for i, t in enumerate(things)])
    background = scene.background if random() < background else None
    if wording < RELATING or len(things) == 1:
        before, after = _WORDINGS[wording % len(_WORDINGS)]
        text = before + listing(mentions) + after
        relation = None
    else:
        relation = (0, pick(random, relations(things[0].place, things[1].place)), 1)
        text = things_text(mentions, relation)
    return Caption(text + where_text(background), mentions, background, relation)


def captions(scene, key):
    """The captions of a scene, `WORDINGS` of them, every one in another wording.

    key: what the random stream hangs on, such as (split, seed, index).
    """
    random = stream("captions", *key)
    order = shuffled(random, range(RELATING + 1))
    return tuple(caption(scene, random, wording) for wording in order[:WORDINGS])


def fits(caption, scene):
    """Whether everything that a caption says is true of a scene, and the caption names every thing of it.

    Captions of this world always name every thing, so a scene with one more is not what the caption was written for.
    """
    if len(caption.mentions) != len(scene.things) or caption.background not in (None, scene.background):
        return False
    for order in permutations(scene.things):
        if all(t.icon == m.icon and m.colour in (None, t.colour) and m.size in (None, t.size)
               and m.place in (None, t.place) for m, t in zip(caption.mentions, order)):
            if caption.relation is None:
                return True
            i, relation, j = caption.relation
            if stands(order[i], relation, order[j]):
                return True
    return False
