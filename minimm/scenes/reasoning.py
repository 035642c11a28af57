"""Why-questions, in the form of VCR (Zellers et al. 2019), and referring expressions."""

from itertools import permutations
from typing import NamedTuple

from .naming import name_with_place, names, only, possible_colours
from .world import COLOURS, ICONS, PLACES, SIZES, pick, stream

#: Icon -> what everybody knows about it, as the end of "which thing ...?".
PURPOSES = {
    "sun": "gives us light by day", "cloud": "brings rain", "umbrella": "helps us to stay dry",
    "snowman": "do children build in winter", "star": "may grant a wish when it falls",
    "telephone": "helps us to talk to people far away", "cup": "holds hot tea", "skull": "warns us of poison",
    "moon": "goes around the earth", "queen": "is the strongest in a game of chess",
    "knight": "jumps in a game of chess", "flask": "do we need to mix things in a lab", "heart": "stands for love",
    "diamond": "do people wear on a ring", "note": "do we read to play music",
    "wheelchair": "helps people who cannot walk", "flag": "stands for a country", "anchor": "keeps a ship where it is",
    "gear": "turns inside a machine", "airplane": "carries us through the air", "envelope": "do we put a letter into",
    "pencil": "helps us to write", "snowflake": "falls from the sky in winter", "cross": "marks a wrong answer",
}

_icons, _sizes, _places = tuple(ICONS), tuple(SIZES), tuple(PLACES)
_QUESTIONS = {icon: f"which thing {purpose}?" for icon, purpose in PURPOSES.items()}
_ANSWERS = {(colour, size): f"the {size} {colour} thing" for colour in COLOURS for size in SIZES}
_BECAUSE = {(icon, place): f"because the {icon} is at the {place}" for icon in ICONS for place in PLACES}
_ORDERS = tuple(permutations(range(4)))


class Why(NamedTuple):
    """A question with four answers and four rationales; `answer` and `rationale` are the numbers of the right ones.

    thing: the number of the scene's thing that all is about.
    """

    question: str
    answers: tuple
    answer: int
    rationales: tuple
    rationale: int
    thing: int


class Referring(NamedTuple):
    """A phrase that fits one thing of the scene only, and the number of that thing: boxes(scene)[thing] frames it."""

    text: str
    thing: int


def why(scene, key):
    """A why-question about a thing whose icon and whose look (size and colour) no other thing has; None without one.

    The wrong answers are the looks of the other things, and looks that the scene does not show when these are few.
    The rationales cross two icons with two places: "the right icon is where it is" is the right one; another thing
    where that one is, is (if there is another thing) true but no reason; the other two are false. Question and right
    answer leave two rationales open: only the picture tells where the thing is.

    key: what the random stream hangs on, such as (split, seed, index).
    """
    random, things = stream("why", *key), scene.things
    icons, looks = [t.icon for t in things], [t[1:3] for t in things]
    single = [i for i, icon in enumerate(icons) if icons.count(icon) == 1]
    options = [i for i in single if looks.count(looks[i]) == 1]
    if not options:
        return None
    i = pick(random, options)
    thing = things[i]

    answers = [looks[i]]
    for look in looks:
        if look not in answers:
            answers.append(look)
    colours = possible_colours(things)[thing.icon]  # other colours would be known to be wrong
    while len(answers) < 4:
        look = pick(random, colours), pick(random, _sizes)
        if look not in answers:
            answers.append(look)

    if len(single) > 1:
        other = things[pick(random, [j for j in single if j != i])]
        icon, place = other.icon, other.place
    else:
        icon = pick(random, [x for x in _icons if x not in icons])
        place = pick(random, [x for x in _places if x != thing.place])
    rationales = ((thing.icon, thing.place), (thing.icon, place), (icon, thing.place), (icon, place))

    told = [_ANSWERS[look] for look in answers]
    because = [_BECAUSE[rationale] for rationale in rationales]
    (a, b, c, d), (e, f, g, h) = order, second = pick(random, _ORDERS), pick(random, _ORDERS)
    return Why(_QUESTIONS[thing.icon], (told[a], told[b], told[c], told[d]), order.index(0),
               (because[e], because[f], because[g], because[h]), second.index(0), i)


def referring(scene, key):
    """A referring expression for every thing of a scene.

    More than half say just enough: the icon, with the colour if others have the icon too, or with the place if that
    does not help. Others do without the icon ("the red thing", "the thing above the cup"), or say more than they need.

    key: what the random stream hangs on, such as (split, seed, index).
    """
    random, things = stream("referring", *key), scene.things
    named = names(things)
    colours = [t.colour for t in things]
    result = []
    for i, thing in enumerate(things):
        form, text = random(), named[i] or name_with_place(thing)
        if form < 0.15:
            if colours.count(thing.colour) == 1:
                text = f"the {thing.colour} thing"
        elif form < 0.3:
            if options := [(j, relation) for j, relation, k in only(things) if k == i and named[j]]:
                j, relation = pick(random, options)
                text = f"the thing {relation} {named[j]}"
        elif form < 0.4:
            text = f"the {thing.size} {thing.icon} at the {thing.place}"
        result.append(Referring(text, i))
    return tuple(result)
