"""Lesson 06: with a masked region go those that show the same."""

from dataclasses import replace

import numpy as np

from ._exercise import Case, Exercise


def _inputs(seed, r, f, selected, moved=6.0, threshold=0.4):
    """Regions of a picture of 100 pixels, most of them near one of three spots, so that they overlap more or less."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(5, 60, size=(3, 2))[rng.integers(3, size=r)] + rng.uniform(-moved, moved, size=(r, 2))
    sides = rng.uniform(14, 34, size=(r, 2))
    return {"features": rng.normal(size=(r, f)), "boxes": np.concatenate([corner, corner + sides], axis=1),
            "selected": np.isin(np.arange(r), selected), "threshold": threshold}


def _cases():
    row = np.array([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10], [50, 50, 60, 70], [9.0, 0, 19, 10]])
    chain = {"features": np.random.default_rng(9).normal(size=(5, 3)), "boxes": row, "selected": np.arange(5) == 0,
             "threshold": 0.4}
    apart = np.array([[0, 0, 1, 1], [1.8, 1.8, 2.8, 2.8], [9, 9, 10, 10], [0, 2, 1, 3], [4.0, 0, 5, 1]])
    half = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 70], [30, 30, 40, 40], [8.0, 8, 18, 18]])
    cases = [
        Case(_inputs(271, 17, 5, (0, 3, 8), moved=9.0)),
        Case(chain, "each of four boxes in a row overlaps the next"),
        Case(_inputs(272, 13, 4, (1, 2, 7), 9.0, threshold=0.3)),
        Case(_inputs(22, 7, 6, ()), "nothing selected"),
        Case(_inputs(23, 8, 3, range(8)), "everything selected"),
        Case({**chain, "boxes": apart}, "boxes of one pixel, all apart"),
        Case({**chain, "boxes": half, "threshold": 0.5}, "an overlap of just the threshold"),
        Case(_inputs(24, 10, 2, (4,), moved=2.0), "one region selected"),
    ]
    return [replace(case, not_finite="What is hidden becomes 0.") for case in cases]


def _share(first, second, plus=0.0, over="union", least=0.0):
    (a, b, c, d), (e, f, g, h) = first, second
    wide, high = max(least, min(c, g) - max(a, e) + plus), max(least, min(d, h) - max(b, f) + plus)
    areas = [(x2 - x1 + plus) * (y2 - y1 + plus) for x1, y1, x2, y2 in (first, second)]
    whole = {"union": sum(areas) - wide * high, "sum": sum(areas), "smaller": min(areas), "larger": max(areas),
             "own": areas[0], "other": areas[1]}
    return wide * high / whole[over]


def _overlaps(boxes, **how):
    """`r r`: of region i with region j."""
    return np.array([[_share(first, second, **how) for second in boxes] for first in boxes])


def _expected(features, boxes, selected, threshold):
    result = features.copy()
    for i in range(len(boxes)):
        if any(chosen and (i == j or _share(boxes[i], boxes[j]) > threshold) for j, chosen in enumerate(selected)):
            result[i] = 0
    return result


def _slip(hidden, **how):
    """A slip in what is hidden, `r` of bool: a function of the overlaps, the selected ones and the threshold."""

    def slip(features, boxes, selected, threshold):
        return np.where(hidden(_overlaps(boxes, **how), selected, threshold)[:, None], 0, features)

    return slip


def _right(overlaps, selected, threshold):
    return ((overlaps > threshold) & selected).any(axis=1)


def _first_alone(overlaps, selected, threshold):
    return selected | (overlaps[:, selected.argmax()] > threshold) & selected.any()


def _sizes_for_corners(features, boxes, selected, threshold):
    return _expected(features, np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1), selected, threshold)


def _spreading(overlaps, selected, threshold):
    for _ in selected:
        selected = _right(overlaps, selected, threshold)
    return selected


def _mean_instead(features, boxes, selected, threshold):
    hidden = (_expected(features, boxes, selected, threshold) == 0).all(axis=1, keepdims=True)
    return np.where(hidden, features.mean(axis=0), features)


def _removed_share(features, boxes, selected, threshold):
    overlaps = _overlaps(boxes)
    return features * (1 - np.where(selected, overlaps, 0).max(axis=1))[:, None]


def _kept(features, boxes, selected, threshold):
    return features - _expected(features, boxes, selected, threshold)


def _tell(came, expected):
    hidden, should = (np.abs(x).max(axis=1) == 0 for x in (came, expected))
    changed = (np.abs(came - expected).max(axis=1) > 1e-4) & ~hidden & ~should
    if changed.any():
        return f"a region that stays must keep its features; yours change those of region {int(changed.argmax())}."
    left = should & ~hidden  # visible, though they show what is to be guessed
    row = int((left if left.any() else hidden & ~should).argmax())
    side = "stays, and shows what is asked" if left.any() else "is hidden, and shows nothing of what is asked"
    return f"hidden must be what is selected and what overlaps it by more than the threshold; region {row} {side}."


EXERCISE = Exercise(
    name="hide_overlapping",
    lesson="06",
    difficulty=2,
    minutes=20,
    prompt="""Write `hide_overlapping(features, boxes, selected, threshold)`: hide the regions that are to be guessed,
and with them all that show much of the same.

For one picture: `features` is a float tensor of shape `r f`, `boxes` of shape `r 4` (x1, y1, x2, y2 in pixels; a box
is x2 - x1 wide), `selected` a mask of shape `r`, True for the regions that are to be guessed; `threshold` is a float.
Return the features with 0 in every row that is selected, or whose box overlaps that of a selected one by more than
`threshold` (intersection over union); all other rows as they are. Leave `features` itself unchanged.""",
    hints=(
        "First the overlap of every region with every other one, `r r`. With `boxes[:, None]` and `boxes[None]` all "
        "pairs are compared at once: `torch.maximum(boxes[:, None, :2], boxes[None, :, :2])` is `r r 2`.",
        "Entry (i, j) matters to region i if j is selected and the overlap exceeds the threshold. `selected[None]` is "
        "a row: it belongs to j. Is there any such j? `.any(dim=1)`.",
        "A box overlaps itself by 1, so that a selected region is among them, without a word. `masked_fill(hidden[:, "
        "None], 0)` makes a new tensor.",
    ),
    solution='''
def hide_overlapping(features, boxes, selected, threshold):
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])  # r r 2
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)  # r r
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=-1)
    overlap = common / (area[:, None] + area[None] - common)
    hidden = ((overlap > threshold) & selected[None]).any(dim=1)
    return features.masked_fill(hidden[:, None], 0)
''',
    fact="The paper that followed ViLBERT (Lu et al. 2020, 12-in-1) says that overlapping regions are masked too. The "
    "code that both were released with only marks them: their features stay in the input.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("only the selected regions hidden? Those that overlap them show the same.", _slip(lambda o, asked, t: asked)),
        ("the selected regions themselves left visible?", _slip(lambda o, chosen, t: _right(o, chosen, t) & ~chosen)),
        ("every region hidden that overlaps any other one, selected or not?",
         _slip(lambda o, selected, t: selected | ((o > t) & ~np.eye(len(o), dtype=bool)).any(axis=1))),
        ("neighbours of neighbours hidden too? Only what overlaps a selected region goes.", _slip(_spreading)),
        ("hidden at any overlap at all, whatever the threshold?", _slip(lambda o, selected, t: _right(o, selected, 0))),
        ("only what overlaps the first selected region? There can be several.", _slip(_first_alone)),
        ("the overlaps with all selected regions added up? One of them has to exceed the threshold.",
         _slip(lambda o, selected, t: selected | ((o * selected).sum(axis=1) > t))),
        ("the last two numbers of a box taken for width and height? They are x2 and y2.", _sizes_for_corners),
        ("hidden where the overlap is below the threshold?",
         _slip(lambda o, selected, t: selected | ((o < t) & selected).any(axis=1))),
        ("hidden at an overlap of just the threshold too? It has to be more.",
         _slip(lambda o, selected, t: ((o >= t) & selected).any(axis=1))),
        ("a threshold of 0.4, whatever was asked for?",
         lambda features, boxes, selected, threshold: _expected(features, boxes, selected, 0.4)),
        ("a threshold of 0.5, whatever was asked for?",
         lambda features, boxes, selected, threshold: _expected(features, boxes, selected, 0.5)),
        ("the intersection over the sum of the areas, which counts it twice?", _slip(_right, over="sum")),
        ("the intersection over the smaller area?", _slip(_right, over="smaller")),
        ("the intersection over the larger area?", _slip(_right, over="larger")),
        ("the intersection over the region's own area?", _slip(_right, over="own")),
        ("the intersection over the area of the selected region?", _slip(_right, over="other")),
        ("a pixel added to widths and heights?", _slip(_right, plus=1.0)),
        ("a width or height below 0 left as it is? Two of them multiply to something positive.",
         _slip(_right, least=-np.inf)),
        ("hidden regions filled with the mean? They become 0.", _mean_instead),
        ("features scaled down by the overlap? A region is hidden or stays as it is.", _removed_share),
        ("the wrong ones hidden: what is to be guessed stays, the rest is 0?", _kept),
    ),
    tell=_tell,
    shape="r f",
    without=("box_iou",),
)
