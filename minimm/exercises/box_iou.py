"""Lesson 01: intersection over union of boxes."""

import numpy as np

from ._exercise import Case, Exercise


def _boxes(rng, n):
    """Boxes with sides of 8 to 30 pixels in pictures of 64, `n 4`."""
    sides = rng.uniform(8, 30, size=(n, 2))
    corner = rng.uniform(0, 1, size=(n, 2)) * (64 - sides)
    return np.concatenate([corner, corner + sides], axis=1)


def _near(rng, boxes):
    """The same boxes, their sides moved a little."""
    return boxes + rng.uniform(-3.5, 3.5, size=boxes.shape)


def _cases():
    rng = np.random.default_rng(5)
    first, second, third, fourth = (_boxes(rng, n) for n in (7, 3, 5, 9))
    apart = np.array([[0.0, 0, 10, 8]])
    return [
        Case({"boxes": first, "truth": _near(rng, first)}),
        Case({"boxes": second, "truth": second.copy()}, "equal boxes"),
        Case({"boxes": third, "truth": _boxes(rng, 5)}, "some far from each other"),
        Case({"boxes": apart, "truth": np.array([[30.0, 40, 42, 60]])}, "apart in both directions"),
        Case({"boxes": apart, "truth": np.array([[2.0, 40, 8, 60]])}, "apart in one direction"),
        Case({"boxes": np.array([[10.0, 10, 40, 50], [0, 0, 20, 10]]), "truth": np.array([[15.0, 20, 25, 30], [20, 0, 30, 10]])},
             "one inside the other; two that touch"),
        Case({"boxes": fourth, "truth": _near(rng, fourth)}),
    ]


def _parts(boxes, truth, clip=True):
    """(intersection, area of each), `b` each."""
    sides = np.minimum(boxes[:, 2:], truth[:, 2:]) - np.maximum(boxes[:, :2], truth[:, :2])
    sides = np.maximum(sides, 0) if clip else sides
    area, true_area = ((x[:, 2:] - x[:, :2]).prod(axis=1) for x in (boxes, truth))
    return sides.prod(axis=1), area, true_area


def _expected(boxes, truth):
    result = []
    for (a, b, c, d), (e, f, g, h) in zip(boxes, truth):
        wide, high = max(0.0, min(c, g) - max(a, e)), max(0.0, min(d, h) - max(b, f))
        result.append(wide * high / ((c - a) * (d - b) + (g - e) * (h - f) - wide * high))
    return np.array(result)


def _slip(formula, clip=True):
    return lambda boxes, truth: formula(*_parts(boxes, truth, clip))


def _plus_one(boxes, truth):
    step = np.array([0, 0, 1, 1])
    return _expected(boxes + step, truth + step)


def _clipped_in_one(boxes, truth):
    inside, area, true_area = _parts(boxes, truth, clip=False)
    inside = np.maximum(inside, 0)
    return inside / (area + true_area - inside)


def _enclosing(boxes, truth):
    inside = _parts(boxes, truth)[0]
    sides = np.maximum(boxes[:, 2:], truth[:, 2:]) - np.minimum(boxes[:, :2], truth[:, :2])
    return inside / sides.prod(axis=1)


def _as_sizes(boxes, truth):
    return _expected(*(np.concatenate([x[:, :2], x[:, :2] + x[:, 2:]], axis=1) for x in (boxes, truth)))


def _tell(came, expected):
    outside = came.max() if came.max() > 1 + 1e-6 else came.min()
    if not 0 <= outside <= 1:
        return f"an overlap lies between 0 and 1; one of yours is {outside:.3g}."
    row = int(np.abs(came - expected).argmax())
    side = "large" if came[row] > expected[row] else "small"
    return f"each entry must be the overlap of a box with its true box; yours in row {row} is {came[row]:.3g}, too {side}."


EXERCISE = Exercise(
    name="box_iou",
    lesson="01",
    difficulty=2,
    minutes=15,
    prompt="""Write `box_iou(boxes, truth)`: how well does each box fit its true box?

Both are float tensors of shape `b 4`, a row for each box: x0, y0, x1, y1 in pixels, with x0 < x1 and y0 < y1; a box is
x1 - x0 wide. Return, for each row, the area that the two boxes have in common over the area that they cover together: a
tensor of shape `b`, with values from 0 (they have nothing in common) to 1 (they are equal).""",
    hints=(
        "What two boxes have in common is a box: its left side is the larger of the two left sides, its right side the"
        " smaller of the two right sides.",
        "Where the right side comes before the left there is nothing in common: a width below 0 counts as 0, and so does a"
        " height, each for itself.",
        "What they cover together is the sum of both areas less what they have in common, which the sum counts twice."
        " `torch.maximum(boxes[:, :2], truth[:, :2])` are both coordinates of the upper left corner at once.",
    ),
    solution='''
def box_iou(boxes, truth):
    low = torch.maximum(boxes[:, :2], truth[:, :2])
    high = torch.minimum(boxes[:, 2:], truth[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    area, true_area = ((x[:, 2:] - x[:, :2]).prod(dim=1) for x in (boxes, truth))
    return common / (area + true_area - common)
''',
    fact="The authors of ViLBERT add a pixel to every side when they compute overlaps: in older code x1 is the last pixel inside, "
    "not the first one outside. That makes a box of 20 by 20 pixels a tenth larger.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the overlap counted twice? What both cover must be taken off the sum of the areas once.",
         _slip(lambda inside, area, true_area: inside / (area + true_area))),
        ("twice the intersection over the sum of the areas? That is Dice's coefficient.",
         _slip(lambda inside, area, true_area: 2 * inside / (area + true_area))),
        ("over the smaller area instead of the union?",
         _slip(lambda inside, area, true_area: inside / np.minimum(area, true_area))),
        ("over the larger area instead of the union?",
         _slip(lambda inside, area, true_area: inside / np.maximum(area, true_area))),
        ("over the area of `boxes` alone?", _slip(lambda inside, area, true_area: inside / area)),
        ("over the true area alone?", _slip(lambda inside, area, true_area: inside / true_area)),
        ("the product set to 0 where it is negative, not width and height each? Two negative sides multiply to something "
         "positive.", _clipped_in_one),
        ("a width or height below 0 left as it is? Two of them multiply to something positive.",
         _slip(lambda inside, area, true_area: inside / (area + true_area - inside), clip=False)),
        ("over the smallest box around both instead of the union?", _enclosing),
        ("a pixel added to widths and heights? Here x1 is the first pixel outside.", _plus_one),
        ("the last two numbers taken for width and height? They are x1 and y1.", _as_sizes),
        ("1 less the overlap? That is a distance.", lambda boxes, truth: 1 - _expected(boxes, truth)),
        ("the intersection itself, in square pixels?", _slip(lambda inside, area, true_area: inside)),
        ("percent? The result lies between 0 and 1.", lambda boxes, truth: 100 * _expected(boxes, truth)),
    ),
    tell=_tell,
    shape="b",
    without=("box_iou",),
)
