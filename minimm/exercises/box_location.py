"""Lesson 06: where a region lies, as five numbers."""

import numpy as np

from ._exercise import Case, Exercise


def _inputs(seed, b, r, sizes):
    """Boxes within pictures of the given sizes (width, height), `b r 4`."""
    rng = np.random.default_rng(seed)
    sizes = np.array(sizes, float)
    corners = np.sort(rng.uniform(0, 1, size=(b, r, 2, 2)), axis=2)  # low and high corner of x and of y
    return {"boxes": (corners * sizes[:, None, None]).reshape(b, r, 4), "sizes": sizes}


def _cases():
    whole = {"boxes": np.array([[[0, 0, 40, 90], [10.0, 0, 10, 90], [0, 45, 40, 90]]]), "sizes": np.array([[40.0, 90]])}
    return [
        Case(_inputs(1, 2, 3, [(640, 480), (333, 500)])),
        Case(_inputs(2, 3, 5, [(100, 50), (70, 210), (64, 96)])),
        Case(_inputs(3, 1, 7, [(81, 47)]), "a single picture"),
        Case(whole, "the whole picture, a line without width, the lower half"),
        Case(_inputs(4, 5, 1, [(60, 30), (30, 60), (90, 20), (45, 50), (200, 100)]), "one box a picture"),
    ]


def _expected(boxes, sizes):
    result = np.zeros((*boxes.shape[:2], 5))
    for picture, (width, height) in enumerate(sizes):
        for k, (x1, y1, x2, y2) in enumerate(boxes[picture]):
            result[picture, k] = (x1 / width, y1 / height, x2 / width, y2 / height,
                                  (x2 - x1) * (y2 - y1) / (width * height))
    return result


def _slip(formula):
    """A slip in the five numbers: a function of x1, y1, x2, y2 (`b r` each) and of W, H (`b 1` each)."""

    def slip(boxes, sizes):
        corners, (width, height) = np.moveaxis(boxes, -1, 0), np.moveaxis(sizes[:, None], -1, 0)
        return np.stack(np.broadcast_arrays(*formula(*corners, width, height)), axis=-1)

    return slip


def _area_by(area):
    """A slip in the last number alone: a function of x1, y1, x2, y2 as shares of the picture, and of W and H."""
    def five(x1, y1, x2, y2, w, h):
        shares = x1 / w, y1 / h, x2 / w, y2 / h
        return *shares, area(*shares, w, h)

    return _slip(five)


def _tell(came, expected):
    number = int(np.abs(came - expected).max(axis=(0, 1)).argmax())
    name = ("x1 / W", "y1 / H", "x2 / W", "y2 / H", "the share of the area")[number]
    outside = came.max() if came.max() > 1 + 1e-6 else came.min()
    if not -1e-6 <= outside <= 1 + 1e-6:
        return f"all five numbers are shares of the picture and lie from 0 to 1; one of yours is {outside:.3g}."
    return f"each row must hold x1 / W, y1 / H, x2 / W, y2 / H and the share of the area; furthest off is {name}."


EXERCISE = Exercise(
    name="box_location",
    lesson="06",
    difficulty=1,
    minutes=8,
    prompt="""Write `box_location(boxes, sizes)`: where does each region lie, whatever the size of its picture?

`boxes` is a float tensor of shape `b r 4`: x1, y1, x2, y2 in pixels, for r regions of each of b pictures. `sizes` is
a float tensor of shape `b 2`: width W and height H of each picture, in pixels. Return a tensor of shape `b r 5`: x1 /
W, y1 / H, x2 / W, y2 / H, and the share of the picture's area that the box covers.""",
    hints=(
        "Each picture has a size of its own, its regions share it: give `sizes` an axis for the regions, `sizes[:, "
        "None]` is `b 1 2`.",
        "The corners are divided by (W, H, W, H): `torch.cat([sizes, sizes], dim=-1)`.",
        "Once the corners are shares of the picture, so is width times height, (x2 - x1) (y2 - y1). `unbind(-1)` "
        "gives the four numbers, `torch.stack(..., dim=-1)` puts five together.",
    ),
    solution='''
def box_location(boxes, sizes):
    x1, y1, x2, y2 = (boxes / torch.cat([sizes, sizes], dim=-1)[:, None]).unbind(-1)  # b r each
    return torch.stack([x1, y1, x2, y2, (x2 - x1) * (y2 - y1)], dim=-1)
''',
    fact="The fifth number follows from the other four, but not linearly: no linear layer could compute it from them. "
    "The authors hand it over ready-made.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("middle, width and height instead of two corners?",
         _slip(lambda x1, y1, x2, y2, w, h: ((x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h,
                                             (x2 - x1) * (y2 - y1) / (w * h)))),
        ("width and height of the picture exchanged?", lambda boxes, sizes: _expected(boxes, sizes[:, ::-1])),
        ("everything divided by the width?", lambda boxes, sizes: _expected(boxes, sizes[:, [0, 0]])),
        ("everything divided by the height?", lambda boxes, sizes: _expected(boxes, sizes[:, [1, 1]])),
        ("everything divided by the longer side?",
         lambda boxes, sizes: _expected(boxes, np.repeat(sizes.max(axis=1, keepdims=True), 2, axis=1))),
        ("the size of the first picture used for all?", lambda boxes, sizes: _expected(boxes, 0 * sizes + sizes[:1])),
        ("not divided by the picture's size?", lambda boxes, sizes: _expected(boxes, 0 * sizes + 1)),
        ("the area in pixels? It is to be a share of the picture's.",
         _area_by(lambda x1, y1, x2, y2, w, h: (x2 - x1) * (y2 - y1) * w * h)),
        ("the area divided by one side of the picture only?",
         _area_by(lambda x1, y1, x2, y2, w, h: (x2 - x1) * (y2 - y1) * h)),
        ("a pixel added to width and height, for the area? Here the corners count as they are.",
         _area_by(lambda x1, y1, x2, y2, w, h: (x2 - x1 + 1 / w) * (y2 - y1 + 1 / h))),
        ("the area from the picture's corner to (x2, y2)?", _area_by(lambda x1, y1, x2, y2, w, h: x2 * y2)),
        ("width plus height instead of their product?",
         _area_by(lambda x1, y1, x2, y2, w, h: x2 - x1 + y2 - y1)),
        ("the root of the area?", _area_by(lambda x1, y1, x2, y2, w, h: np.sqrt((x2 - x1) * (y2 - y1)))),
        ("a corner, width and height? The second corner is asked for.",
         _slip(lambda x1, y1, x2, y2, w, h: (x1 / w, y1 / h, (x2 - x1) / w, (y2 - y1) / h, (x2 - x1) * (y2 - y1) / (w * h)))),
        ("y in front of x?", lambda boxes, sizes: _expected(boxes, sizes)[..., [1, 0, 3, 2, 4]]),
        ("the area first? It comes last.", lambda boxes, sizes: _expected(boxes, sizes)[..., [4, 0, 1, 2, 3]]),
        ("divided by the picture's size twice, for the area?",
         _area_by(lambda x1, y1, x2, y2, w, h: (x2 - x1) * (y2 - y1) / (w * h))),
        ("scaled from -1 to 1? Shares go from 0 to 1.",
         _slip(lambda x1, y1, x2, y2, w, h: (2 * x1 / w - 1, 2 * y1 / h - 1, 2 * x2 / w - 1, 2 * y2 / h - 1,
                                             (x2 - x1) * (y2 - y1) / (w * h)))),
        ("divided by a pixel less than the size?",
         _slip(lambda x1, y1, x2, y2, w, h: (x1 / (w - 1), y1 / (h - 1), x2 / (w - 1), y2 / (h - 1),
                                             (x2 - x1) * (y2 - y1) / (w * h)))),
        ("the corners in another order, x1, x2, y1, y2?",
         lambda boxes, sizes: _expected(boxes, sizes)[..., [0, 2, 1, 3, 4]]),
    ),
    tell=_tell,
    shape="b r 5",
)
