"""What a scene is and how scenes are drawn by lot.

A scene is a background and one to four things; a thing is an icon, a colour, a size and a place. Everything that the
course's language says, and everything that its measures count, follows from these few values.

Chance comes from `random.Random(text).random()` alone: Python promises that this stream never changes, so one seed
gives the same scenes on every machine and with every version.
"""

from random import Random
from typing import NamedTuple

from .._errors import expect

#: Icon -> code point of the DejaVu Sans font that matplotlib ships.
ICONS = {
    "sun": 0x2600, "cloud": 0x2601, "umbrella": 0x2602, "snowman": 0x2603, "star": 0x2605, "telephone": 0x260E,
    "cup": 0x2615, "skull": 0x2620, "moon": 0x263D, "queen": 0x265B, "knight": 0x265E, "flask": 0x2697,
    "heart": 0x2665, "diamond": 0x2666, "note": 0x266A, "wheelchair": 0x267F, "flag": 0x2691, "anchor": 0x2693,
    "gear": 0x2699, "airplane": 0x2708, "envelope": 0x2709, "pencil": 0x270F, "snowflake": 0x2744, "cross": 0x2716,
}
#: Colour -> red, green, blue (0 to 255).
COLOURS = {
    "red": (238, 58, 58), "orange": (255, 150, 20), "yellow": (255, 235, 60), "green": (70, 215, 80),
    "blue": (80, 150, 255), "pink": (250, 120, 220), "white": (250, 250, 250),
}
#: Size -> side of the icon's square, in pixels.
SIZES = {"small": 22, "large": 30}
#: Background -> red, green, blue. All are dark, so that every colour of a thing stands out.
BACKGROUNDS = {"night": (16, 18, 56), "forest": (14, 58, 34), "stone": (84, 86, 96), "desert": (92, 58, 26)}
#: Place -> column, row of the two-by-two layout.
PLACES = {"top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1), "bottom right": (1, 1)}

SIDE = 64  # pixels; pictures are square
CELL = SIDE // 2
#: Things sit in the middle of their place, but for so many pixels up, down, left or right: shapes that float freely take
#: a model many times longer to learn.
JITTER = 1
#: Share of scenes with 1, 2, 3, 4 things. With more things fewer scenes fit one caption; but then the icons alone tell
#: all captions apart, so that a model that has learnt them drops the colours, and shapes take longer to learn.
COUNTS = (0.20, 0.35, 0.30, 0.15)
#: Share of scenes whose things are all of one colour, as things that belong together often are.
ONE_COLOUR = 0.3
SPLITS = ("train", "val", "test", "novel")


class Thing(NamedTuple):
    """An icon with its colour, size and place; (x, y) is the top left corner of its square, in pixels."""

    icon: str
    colour: str
    size: str
    place: str
    x: int
    y: int


class Scene(NamedTuple):
    """A background and its things, in reading order of their places."""

    background: str
    things: tuple


_icons, _colours, _sizes = tuple(ICONS), tuple(COLOURS), tuple(SIZES)
_backgrounds, _places = tuple(BACKGROUNDS), tuple(PLACES)


def _held_out():
    # Two colours an icon, spread so that every colour is held out about equally often.
    pairs = set()
    for i, icon in enumerate(_icons):
        for k in (i, i + 2 + i // 7 % 3):
            pairs.add((icon, _colours[k % len(_colours)]))
    return frozenset(pairs)


#: Pairs (icon, colour) that appear in the split `novel`, and nowhere else.
NOVEL_PAIRS = _held_out()
_novel_colours = {i: tuple(c for c in _colours if (i, c) in NOVEL_PAIRS) for i in _icons}
_known_colours = {i: tuple(c for c in _colours if (i, c) not in NOVEL_PAIRS) for i in _icons}


def pick(random, options):
    """One of `options`, all equally likely; `random` is a function that returns a number in [0, 1)."""
    return options[int(random() * len(options))]


def shuffled(random, items):
    """A new list of `items` in a random order (Fisher and Yates)."""
    items = list(items)
    for i in range(len(items) - 1, 0, -1):
        j = int(random() * (i + 1))
        items[i], items[j] = items[j], items[i]
    return items


def stream(*key):
    """A random function of its own for every key: scene 7 of a split does not depend on scene 6."""
    return Random("/".join(map(str, key))).random


#: No picture is in two splits: what all x and y add up to, divided by 4, leaves another remainder in each.
_REMAINDERS = {"train": (0, 1), "val": (2,), "test": (3,), "novel": (0, 1, 2, 3)}


def make(split, index, seed=0):
    """The scene number `index` of a split.

    Raises ValueError for an unknown split or a negative index.
    """
    expect(split in SPLITS, "split", repr(split), f"one of {', '.join(SPLITS)}")
    expect(index >= 0, "index", index, "a number from 0 on")
    random = stream("scene", split, seed, index)
    while True:
        scene = _any(random, _novel_colours if split == "novel" else _known_colours)
        if sum([t.x + t.y for t in scene.things]) % 4 in _REMAINDERS[split]:
            return scene


def _any(random, colours):
    number, left = 1, random()
    while number < 4 and left >= COUNTS[number - 1]:
        left -= COUNTS[number - 1]
        number += 1
    background = pick(random, _backgrounds)
    chosen = shuffled(random, _places)[:number]
    colour = pick(random, _colours) if random() < ONE_COLOUR else None  # the one colour of all things
    icons = _icons if colour is None else [icon for icon in _icons if colour in colours[icon]]
    things = []
    for place in _places:  # reading order
        if place in chosen:
            icon, size = pick(random, icons), pick(random, _sizes)
            column, row = PLACES[place]
            middle = (CELL - SIZES[size]) // 2 - JITTER  # things stay in their cells and never overlap
            x = column * CELL + middle + int(random() * (2 * JITTER + 1))
            y = row * CELL + middle + int(random() * (2 * JITTER + 1))
            things.append(Thing(icon, colour or pick(random, colours[icon]), size, place, x, y))
    return Scene(background, tuple(things))
