"""Questions about one scene, with short answers from a closed list.

Whether the answer is yes or no is drawn first, among questions that could have had either answer: the words of a
question alone then say nothing about it.
"""

from typing import NamedTuple

from .captions import RELATIONS, relations
from .naming import A, MANY, PAIRS, absent_pair, is_novel, name_with_place, names, only
from .world import COLOURS, ICONS, SIZES, pick, stream

KINDS = ("colour", "icon", "size", "count", "existence", "relation", "comparison")
#: Everything that an answer can be.
ANSWERS = ("yes", "no", "0", "1", "2", "3", "4", *COLOURS, *ICONS, *SIZES)

_icons, _colours = tuple(ICONS), tuple(COLOURS)
_YES_NO = {True: "yes", False: "no"}
#: Share of "what is above the cup?" among the questions on relations, where the scene allows it (four things never do).
WHAT_RELATION = 0.7


class Question(NamedTuple):
    """A question, its kind (one of KINDS) and its answer (one of ANSWERS).

    things: the numbers of those things of the scene that the question is about; none when it asks for what is absent.
    """

    kind: str
    text: str
    answer: str
    things: tuple


def _colour(random, things, names):
    i = int(random() * len(things))
    thing = things[i]
    name = names[i]
    if name is None or thing.colour in name:
        name = name_with_place(thing)
    return Question("colour", f"what colour is {name}?", thing.colour, (i,))


def _icon(random, things, names):
    i = int(random() * len(things))
    thing = things[i]
    by_place = random() < 0.4
    if not by_place and [t.colour for t in things].count(thing.colour) == 1:
        return Question("icon", f"what is the {thing.colour} thing?", thing.icon, (i,))
    if not by_place and [t[1:3] for t in things].count(thing[1:3]) == 1:
        return Question("icon", f"what is the {thing.size} {thing.colour} thing?", thing.icon, (i,))
    return Question("icon", f"what is at the {thing.place}?", thing.icon, (i,))


def _size(random, things, names):
    i = int(random() * len(things))
    name = names[i] or name_with_place(things[i])
    order = "large or small" if random() < 0.5 else "small or large"
    return Question("size", f"is {name} {order}?", things[i].size, (i,))


def _count(random, things, names):
    form = random()
    thing = pick(random, things)
    if form < 0.2:
        what, found = "things", range(len(things))
    elif form < 0.45:
        what, found = thing.size + " things", [i for i, t in enumerate(things) if t.size == thing.size]
    elif form < 0.7:
        colour = thing.colour if random() < 0.7 else pick(random, _colours)
        what, found = colour + " things", [i for i, t in enumerate(things) if t.colour == colour]
    else:
        icon = thing.icon if random() < 0.7 else pick(random, _icons)
        what, found = MANY[icon], [i for i, t in enumerate(things) if t.icon == icon]
    return Question("count", f"how many {what} are there?", str(len(found)), tuple(found))


def _existence(random, things, names):
    truth = random() < 0.5
    if truth:
        thing = pick(random, things)
        colour, icon = thing.colour, thing.icon
        found = tuple([i for i, t in enumerate(things) if t.icon == icon and t.colour == colour])
    else:
        (colour, icon), found = absent_pair(random, things), ()
    return Question("existence", f"is there {A[colour]} {icon}?", _YES_NO[truth], found)


def _relation(random, things, names):
    what = random() < WHAT_RELATION
    truth = random() < 0.5
    if what and (options := [o for o in only(things) if names[o[0]]]):
        i, relation, j = pick(random, options)
        return Question("relation", f"what is {relation} {names[i]}?", things[j].icon, (j, i))
    pairs = [p for p in PAIRS[len(things)] if names[p[0]] and names[p[1]]]
    if not pairs:
        return None
    i, j = pick(random, pairs)
    true = relations(things[i].place, things[j].place)
    relation = pick(random, true if truth else [r for r in RELATIONS if r not in true])
    return Question("relation", f"is {names[i]} {relation} {names[j]}?", _YES_NO[truth], (i, j))


def _more(random, things, truth):
    # Are there more of `one` than of `other`?
    by_icon = random() < 0.5
    labels, options = ([t.icon for t in things], _icons) if by_icon else ([t.colour for t in things], _colours)
    one, other = pick(random, labels), pick(random, labels if random() < 0.5 else options)
    while other == one or truth and labels.count(one) == labels.count(other):
        other = pick(random, options)
    if (labels.count(one) > labels.count(other)) != truth:
        one, other = other, one
    words = f"{MANY[one]} than {MANY[other]}" if by_icon else f"{one} things than {other} things"
    about = tuple([i for i, label in enumerate(labels) if label == one or label == other])
    return Question("comparison", f"are there more {words}?", _YES_NO[truth], about)


def _larger(random, things, names, truth):
    # Only where some thing is larger than another, else the answer would be known to be no.
    pairs = [(i, j) for i, j in PAIRS[len(things)] if names[i] and names[j]]
    larger = [(i, j) for i, j in pairs if things[i].size == "large" and things[j].size == "small"]
    if not larger:
        return None
    i, j = pick(random, larger if truth else [p for p in pairs if p not in larger])
    return Question("comparison", f"is {names[i]} larger than {names[j]}?", _YES_NO[truth], (i, j))


def _same_colour(random, things, names, truth):
    # Only where both answers are possible. In the split `novel` an icon has two colours, and two icons often none in
    # common: their names would tell the answer.
    if len(things) < 3 or is_novel(things):
        return None
    single = [i for i, t in enumerate(things) if names[i] and t.colour not in names[i]]
    if not 1 < len({things[i].colour for i in single}) < len(single):
        return None
    pairs = [(i, j) for i, j in PAIRS[len(things)]
             if i in single and j in single and (things[i].colour == things[j].colour) == truth]
    i, j = pick(random, pairs)
    return Question("comparison", f"do {names[i]} and {names[j]} have the same colour?", _YES_NO[truth], (i, j))


def _comparison(random, things, names):
    truth, form = random() < 0.5, random()
    return (form < 0.4 and _same_colour(random, things, names, truth)
            or form < 0.7 and _larger(random, things, names, truth)
            or _more(random, things, truth))


def questions(scene, key):
    """Questions about a scene: at most one of every kind, in the order of KINDS.

    About one thing alone there is no question of the kinds "relation" and "comparison". Things with equal icons are
    named by their colour or place, and where that does not help, the scene has no question on a relation.

    key: what the random stream hangs on, such as (split, seed, index).
    """
    random, things = stream("questions", *key), scene.things
    named = names(things)
    asked = [_colour(random, things, named), _icon(random, things, named), _size(random, things, named),
             _count(random, things, named), _existence(random, things, named)]
    if len(things) > 1:
        if relation := _relation(random, things, named):
            asked.append(relation)
        asked.append(_comparison(random, things, named))
    return tuple(asked)
