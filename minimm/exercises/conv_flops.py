"""Lesson 02: operations of a convolution."""

import numpy as np

from ._exercise import Case, Exercise


def _case(seed, images, weight, stride, padding, about=""):
    rng = np.random.default_rng(seed)
    return Case({"images": rng.normal(size=images), "weight": rng.normal(size=weight), "stride": stride,
                 "padding": padding}, about)


def _cases():
    return [
        _case(0, (2, 5, 30, 41), (7, 5, 3, 4), 2, 1),
        _case(1, (3, 4, 23, 17), (9, 4, 5, 2), 3, 2),
        _case(2, (2, 3, 32, 24), (11, 3, 8, 8), 8, 0, "a filter as wide as its step: patches"),
        _case(3, (1, 6, 19, 26), (13, 6, 1, 1), 1, 0, "a filter of one pixel"),
        _case(4, (4, 8, 20, 22), (3, 8, 4, 3), 3, 0),
        _case(5, (2, 2, 21, 33), (5, 2, 7, 5), 2, 3),
    ]


def _expected(images, weight, stride, padding):
    """Counted place by place."""
    b, c, h, w = images.shape
    o, _, rows, columns = weight.shape
    places = sum(1 for y in range(-padding, h + padding - rows + 1, stride)
                 for x in range(-padding, w + padding - columns + 1, stride))
    return np.array(float(b * places * o * (c * rows * columns * 2)))


def _count(images, weight, stride, padding, two=2, sides=2, first=1, up=0, of=lambda b, c, o, k, l: b * c * o * k * l,
           places=None):
    b, c, *size = images.shape
    o, _, k, l = weight.shape
    if places is None:
        steps = [(n + sides * padding - side + up * (stride - 1)) // stride for n, side in zip(size, (k, l))]
        places = (steps[0] + first) * (steps[1] + first)
    else:
        places = places(*size, stride)
    return np.array(float(two * places * of(b, c, o, k, l)))


def _slip(**changes):
    return lambda **inputs: _count(**{**inputs, **changes})


def _tell(came, expected):
    side = "many" if came > expected else "few"
    return (f"every number of the result is a sum of as many products as a filter has weights; {came:.6g} operations "
            f"are too {side}.")


EXERCISE = Exercise(
    name="conv_flops",
    lesson="02",
    difficulty=2,
    minutes=10,
    prompt="""Write `conv_flops(images, weight, stride, padding)`: the operations of a convolution.

`images` is `b c h w`, `weight` is `o c k l`: o filters of k rows and l columns, which move by `stride` places at a
time; `padding` rows and columns of zeros are put on each of the four sides first. Return, as a number, the
multiplications and additions for the whole batch, a multiplication and the addition that goes with it counted as two,
as for a linear layer. Only shapes count; there is no bias.""",
    hints=(
        "A convolution is a linear layer that is applied at every place where a filter comes to lie. How many inputs"
        " and outputs has it?",
        "Down the picture there are `(h + 2 * padding - k) // stride + 1` such places: whole steps only. Across it l"
        " takes the place of k.",
        "At every place of every picture each of the o filters multiplies c * k * l numbers and adds them up.",
    ),
    solution='''
def conv_flops(images, weight, stride, padding):
    b, c, h, w = images.shape
    o, _, k, l = weight.shape
    rows = (h + 2 * padding - k) // stride + 1
    columns = (w + 2 * padding - l) // stride + 1
    return 2 * b * rows * columns * o * (c * k * l)
''',
    fact="ViLT's patch projection is such a convolution, whose filter is as wide as its step: it looks at every pixel "
    "once. A filter of 3 x 3 with a step of 1 looks at every pixel nine times, and a ResNet has dozens of such layers.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("a multiplication and its addition counted as one? That is the number of multiply-adds (MACs).", _slip(two=1)),
        ("the stride left out? A filter does not stop at every place.", _slip(stride=1)),
        ("the padding left out?", _slip(padding=0)),
        ("the padding added once? It is on both sides.", _slip(sides=1)),
        ("off by one: is the first place of the filter missing?", _slip(first=0)),
        ("the last, incomplete step counted? Only whole ones.", _slip(up=1)),
        ("one picture instead of the batch?", _slip(of=lambda b, c, o, k, l: c * o * k * l)),
        ("the channels left out? A filter sums over all of them.", _slip(of=lambda b, c, o, k, l: b * o * k * l)),
        ("the filters left out? There are o of them.", _slip(of=lambda b, c, o, k, l: b * c * k * l)),
        ("the filter's rows and columns left out?", _slip(of=lambda b, c, o, k, l: b * c * o)),
        ("a square filter, k by k?", _slip(of=lambda b, c, o, k, l: b * c * o * k * k)),
        ("a square filter, l by l?", _slip(of=lambda b, c, o, k, l: b * c * o * l * l)),
        ("the places of the picture instead of those of the result?", _slip(places=lambda h, w, s: h * w)),
        ("the weights alone? Each of them works at every place.",
         _slip(places=lambda h, w, s: 1, of=lambda b, c, o, k, l: c * o * k * l, two=1)),
        ("the numbers of the result alone? Each of them is a sum.", _slip(of=lambda b, c, o, k, l: b * o, two=1)),
        ("k and l swapped? The filter has k rows and l columns.",
         lambda **inputs: _count(**{**inputs, "weight": inputs["weight"].swapaxes(2, 3)})),
    ),
    tell=_tell,
    plain_number=True,
)
