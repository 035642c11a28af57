"""Captions as the web has them: with unrelated words, with things left out, with a wrong word.

Every noisy caption comes with a record of what was changed.
"""

from typing import NamedTuple

from .._errors import expect
from .captions import RELATIONS, Caption, fits, retold, reworded, said, things_text, where_text
from .data import Scenes
from .naming import possible_colours
from .world import BACKGROUNDS, ICONS, PLACES, SIZES, pick, shuffled, stream

NOISE = ("unrelated", "missing", "wrong")
#: What web pages write around a picture.
UNRELATED = (
    "buy now", "free shipping", "photo by anna", "photo by ben", "click for more", "best price", "sale", "my holiday",
    "follow me", "all rights reserved", "image not available", "posted yesterday", "vintage style", "last chance",
    "read the full story", "share with friends", "made with care", "download", "page", "untitled",
)

# Place -> the places that differ in one word: the other row or the other column.
_NEXT_PLACES = {p: tuple(o for o in PLACES if len({*p.split()} & {*o.split()}) == 1) for p in PLACES}


class Change(NamedTuple):
    """One change to a caption: the words `before` became the words `after`, either of which can be empty.

    what: "words" (unrelated ones), "things" (left out), or the kind of the wrong word: "icon", "colour", "size",
        "place", "background" or "relation".
    start: how many words of the noisy text, commas included, stand in front of the change.
    mentions: (number, mention) of the original caption for all that were left out, or that say something else now.
    """

    what: str
    before: str
    after: str
    start: int
    mentions: tuple = ()


class Noisy(NamedTuple):
    """A caption that says what its noisy text says, the kind of noise (one of NOISE), and its changes."""

    caption: Caption
    kind: str
    changes: tuple


def _words(text):
    return text.replace(",", " ,").split()


def _change(what, original, noisy, numbers):
    # The words that differ: all but the common beginning and the common end of the two texts.
    old, new = _words(original.text), _words(noisy.text)
    start = end = 0
    shorter = min(len(old), len(new))
    while start < shorter and old[start] == new[start]:
        start += 1
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return Change(what, " ".join(old[start:len(old) - end]), " ".join(new[start:len(new) - end]), start,
                  tuple((i, original.mentions[i]) for i in numbers))


def _unrelated(caption, scene, random):
    words = pick(random, UNRELATED)
    if random() < 0.5:
        change, text = Change("words", "", words, 0), f"{words} {caption.text}"
    else:
        change, text = Change("words", "", words, len(_words(caption.text))), f"{caption.text} {words}"
    return caption._replace(text=text), change


def _missing(caption, scene, random):
    count = len(caption.mentions)
    if count == 1:
        return None
    missing = sorted(shuffled(random, range(count))[:1 + int(random() * (count - 1))])
    left = tuple(m for i, m in enumerate(caption.mentions) if i not in missing)
    relation = caption.relation if caption.relation and missing[0] > 1 else None
    noisy = retold(caption, left, caption.background, relation)
    return noisy, _change("things", caption, noisy, missing)


def _other_words(what, word, caption, scene, numbers, random):
    # other words of that kind, in a random order
    if what in ("background", "relation"):
        return shuffled(random, [w for w in (BACKGROUNDS if what == "background" else RELATIONS) if w != word])
    mention = caption.mentions[numbers[0]]
    colours = possible_colours(scene.things)  # pairs of icon and colour that this split never shows stay unsaid too
    words = {"icon": ICONS if mention.colour is None else [i for i in ICONS if mention.colour in colours[i]],
             "colour": colours[mention.icon],
             "size": SIZES,
             "place": mention.place and _NEXT_PLACES[mention.place]}[what]
    return [other for other in shuffled(random, words)  # equal phrases would be counted: more than one word
            if mention._replace(**{what: other}) not in caption.mentions]


def _wrong(caption, scene, random):
    for what, word, numbers in shuffled(random, said(caption)):
        for other in _other_words(what, word, caption, scene, numbers, random):
            noisy = reworded(caption, what, numbers, other)
            if not fits(noisy, scene):  # with another icon it never does
                return noisy, _change(what, caption, noisy, numbers)


_MAKE = {"unrelated": _unrelated, "missing": _missing, "wrong": _wrong}


def noisy(caption, scene, kind, key):
    """A noisy version of a caption of a scene, with a record of what was changed.

    kind: "unrelated" puts words from UNRELATED in front or behind; "missing" leaves out one or more things, never all;
        "wrong" replaces one word by another of its kind (its article may go with it), so that the caption no longer
        fits the scene.
    key: what the random stream hangs on, such as (split, seed, index).

    Returns None for "missing" when the caption has one thing only. Raises ValueError for an unknown kind, and, except
    for "unrelated", for a caption that does not fit the scene or is noisy already.
    """
    expect(kind in NOISE, "kind", repr(kind), f"one of {', '.join(NOISE)}")
    if kind != "unrelated":
        told = things_text(caption.mentions, caption.relation)
        expect(fits(caption, scene) and told in caption.text and caption.text.endswith(where_text(caption.background)),
               "caption", repr(caption.text), "a caption of this scene, as `captions` makes them")
    made = _MAKE[kind](caption, scene, stream("noise", kind, *key))
    return made and Noisy(made[0], kind, made[1:])


def with_noise(data, share):
    """The same scenes, each caption noisy with the chance `share`; which noise, is drawn by lot. Nothing else that is said
    of the scenes changes. Raises ValueError unless share is from 0 to 1."""
    expect(0 <= share <= 1, "share", share, "a number from 0 to 1")

    def told(caption, scene, key):
        random = stream("with noise", *key)
        if random() >= share:
            return caption
        kinds = shuffled(random, NOISE)  # a caption of one thing cannot miss any: then the next kind
        return next(made.caption for kind in kinds if (made := noisy(caption, scene, kind, key)))

    captions = tuple([tuple([told(c, scene, (data.split, data.seed, number, k)) for k, c in enumerate(of)])
                      for number, scene, of in zip(data.numbers, data.scenes, data.captions)])
    return Scenes(data.split, data.seed, data.numbers, data.scenes, data.pictures, {"captions": captions})
