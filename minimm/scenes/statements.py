"""Sentences that are true or not: hypotheses about one picture, statements about two.

Hypotheses follow natural language inference (entailment, neutral, contradiction) with the picture as the premise,
statements the form of NLVR2 (Suhr et al. 2019).
"""

from typing import NamedTuple

from .captions import RELATING, RELATIONS, Caption, Mention, caption, listing, relations, where_text
from .naming import A, absent_pair, names, possible_colours
from .world import BACKGROUNDS, COLOURS, PLACES, SIZES, pick, shuffled, stream

LABELS = ("entailment", "neutral", "contradiction")
#: What may be true of a thing but no picture of this world shows.
INVISIBLE = ("old", "heavy", "cheap", "expensive", "famous", "lucky", "borrowed", "lost")
#: Share of contradictions with such an adjective. With one hypothesis of every label a scene, who reads the hypotheses
#: alone gets 2 of 3 right, as much as on collections that people wrote (Gururangan et al. 2018); the third needs eyes.
CONTRADICTIONS_WITH_ADJECTIVE = 0.5

_colours, _sizes, _places = tuple(COLOURS), tuple(SIZES), tuple(PLACES)
_AN = {word: f"{'an' if word[0] in 'aeiou' else 'a'} {word}" for word in INVISIBLE}


class Hypothesis(NamedTuple):
    """A sentence, its label (one of LABELS), and the adjective in it that no picture shows, or None."""

    text: str
    label: str
    adjective: str | None


class Statement(NamedTuple):
    """A sentence about two pictures, whether it is true, and its form (one of FORMS)."""

    text: str
    truth: bool
    form: str


def premise(scene):
    """A caption that leaves nothing out: whatever the picture entails, this sentence entails too."""
    mentions = tuple([Mention(t.icon, t.colour, t.size, t.place) for t in scene.things])
    return Caption(listing(mentions) + where_text(scene.background), mentions, scene.background)


#: Descriptions of a scene: so many that leave nothing out, and so many that relate two things.
FULL, RELATED = 3, 2


def descriptions(scene, key):
    """What people write who are asked for all that they see, as for Visual Genome (Krishna et al. 2017), from which ALBEF
    and ViLT learnt beside captions: premises that name the things in any order, and captions with a relation.
    Of a thing alone there is no relation: premises only, all the same.

    key: what the random stream hangs on, such as (split, seed, index).
    """
    random = stream("descriptions", *key)
    full = [premise(scene._replace(things=tuple(shuffled(random, scene.things)))) for _ in range(FULL)]
    return (*full, *(caption(scene, random, RELATING) for _ in range(RELATED if len(scene.things) > 1 else 0)))


def _claim(random, things, named, truth, adjective):
    # a true or a false sentence about one thing
    i, form = int(random() * len(things)), int(random() * 5)
    thing, name = things[i], named[i]
    if form == 0 or name is None:
        colour, icon = (thing.colour, thing.icon) if truth else absent_pair(random, things)
        return f"there is {_AN[adjective]} {colour} {icon}" if adjective else f"there is {A[colour]} {icon}"
    subject = f"the {adjective} {name[4:]}" if adjective else name
    if form == 1 and thing.colour not in name:
        options = (thing.colour,) if truth else [c for c in possible_colours(things)[thing.icon] if c != thing.colour]
        return f"{subject} is {pick(random, options)}"
    if form == 2 and (others := [j for j, n in enumerate(named) if n and j != i]):
        j = pick(random, others)
        true = relations(thing.place, things[j].place)
        return f"{subject} is {pick(random, true if truth else [r for r in RELATIONS if r not in true])} {named[j]}"
    if form == 3:
        return f"{subject} is at the {thing.place if truth else pick(random, [p for p in _places if p != thing.place])}"
    return f"{subject} is {thing.size if truth else _sizes[thing.size == _sizes[0]]}"


def hypotheses(scene, key):
    """Three hypotheses about a scene, one of every label, in the order of LABELS.

    True of the picture: entailment. True, with an adjective that the picture cannot show: neutral. False, with or
    without such an adjective: contradiction.

    key: what the random stream hangs on, such as (split, seed, index).
    """
    random, things = stream("hypotheses", *key), scene.things
    named = names(things)
    adjective = pick(random, INVISIBLE)
    other = pick(random, INVISIBLE) if random() < CONTRADICTIONS_WITH_ADJECTIVE else None
    return (Hypothesis(_claim(random, things, named, True, None), "entailment", None),
            Hypothesis(_claim(random, things, named, True, adjective), "neutral", adjective),
            Hypothesis(_claim(random, things, named, False, other), "contradiction", other))


# The forms of a statement. Each function returns a text that is true or false as `truth` asks, or None where the two
# pictures do not allow both: else the form alone would tell the truth.

def _kind_in_both(random, left, right, truth, both):
    # what both pictures show, or exactly one of them
    for field in ((0, 1), (1, 0))[random() < 0.5]:  # Thing.icon, Thing.colour
        one, other = [t[field] for t in left.things], [t[field] for t in right.things]
        shared = [x for x in one if x in other]
        single = [x for x in one if x not in other] + [x for x in other if x not in one]
        if shared and single:
            kind = A[pick(random, shared if truth == both else single)]
            return kind if field == 0 else kind + " thing"
    return None


def _both(random, left, right, truth):
    kind = _kind_in_both(random, left, right, truth, True)
    return kind and f"both pictures show {kind}"


def _exactly_one(random, left, right, truth):
    kind = _kind_in_both(random, left, right, truth, False)
    return kind and f"exactly one picture shows {kind}"


def _more(random, left, right, truth):
    form = int(random() * 3)
    word = ("", pick(random, _sizes), pick(random, left.things + right.things).colour)[form]
    if form:
        field = (None, 2, 1)[form]  # Thing.size, Thing.colour
        one, other = [t[field] for t in left.things].count(word), [t[field] for t in right.things].count(word)
        word += " "
    else:
        one, other = len(left.things), len(right.things)
    if one == other:
        return None
    more, less = ("left", "right") if (one > other) == truth else ("right", "left")
    return f"the {more} picture shows more {word}things than the {less} picture"


def _same_background(random, left, right, truth):
    # Two random pictures are seldom alike: drop as many of the false statements as make both equally frequent.
    same = left.background == right.background
    if same != truth or not same and random() * (len(BACKGROUNDS) - 1) >= 1:
        return None
    return "both pictures have the same background"


_NUMBERS = ("there are no {} things in the two pictures", "there is one {} thing in the two pictures") + tuple(
    f"there are {n} {{}} things in the two pictures" for n in ("two", "three", "four", "five", "six", "seven", "eight"))


def _count(random, left, right, truth):
    # A false number is that of another kind of thing: numbers alone do not tell.
    field, options = (1, _colours) if random() < 0.5 else (2, _sizes)
    kinds = [t[field] for t in left.things + right.things]
    word, other = pick(random, options), pick(random, options)
    if kinds.count(word) == kinds.count(other):
        return None
    number = kinds.count(word if truth else other)
    return _NUMBERS[number].format(word)


def _side(random, left, right, truth):
    here, there, side = (left, right, "left") if random() < 0.5 else (right, left, "right")
    if truth:
        thing = pick(random, here.things)
        colour, icon = thing.colour, thing.icon
    else:
        colour, icon = absent_pair(random, here.things, there.things)
    return f"the {side} picture shows {A[colour]} {icon}"


_FORMS = {"both": _both, "exactly one": _exactly_one, "more": _more, "same background": _same_background,
          "count": _count, "side": _side}
FORMS = tuple(_FORMS)


def statements(left, right, key):
    """Statements about two scenes, at most one of every form, in the order of FORMS; each true or false with equal
    chances. One of the form "side" there always is.

    key: what the random stream hangs on, such as (split, seed, index).
    """
    random, made = stream("statements", *key), []
    for form, tell in _FORMS.items():
        truth = random() < 0.5
        if text := tell(random, left, right, truth):
            made.append(Statement(text, truth, form))
    return tuple(made)
