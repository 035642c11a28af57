"""Lesson 12: the triangles that turn the frequencies of a spectrogram into bands as the ear hears them."""

import numpy as np

from ._exercise import Case, Exercise, furthest_row


def _inputs(seed, n, t, top, bands, low, high):
    """The power of noise, at evenly spaced frequencies from 0 up to the top."""
    power = np.random.default_rng(seed).exponential(size=(n, t))
    return {"power": power, "frequencies": np.arange(n) * top / (n - 1), "bands": bands, "low": low, "high": high}


def _cases():
    return [
        Case(_inputs(0, 33, 6, 4000.0, 7, 100.0, 3700.0)),
        Case(_inputs(1, 40, 3, 8000.0, 11, 60.0, 7600.0)),
        Case(_inputs(2, 65, 4, 8000.0, 5, 0.0, 8000.0), "from 0 up to the highest frequency"),
        Case({**_inputs(3, 27, 5, 2000.0, 3, 300.0, 1500.0), "frequencies": 2000 * np.linspace(0, 1, 27) ** 2},
             "frequencies that are not evenly spaced"),
        Case(_inputs(4, 21, 2, 4000.0, 1, 500.0, 2500.0), "a single band"),
    ]


def _mel(hertz):
    return 2595 * np.log10(1 + hertz / 700)


def _hertz(mel):
    return 700 * (10 ** (mel / 2595) - 1)


def _edges(bands, low, high):
    return _hertz(_mel(low) + (_mel(high) - _mel(low)) * np.arange(bands + 2) / (bands + 1))


def _triangles(frequencies, edges):
    rows = []
    for left, centre, right in zip(edges, edges[1:], edges[2:]):
        rows.append([(f - left) / (centre - left) if left < f <= centre else
                     (right - f) / (right - centre) if centre < f < right else 0.0 for f in frequencies])
    return np.array(rows)


def _filters(frequencies, bands, low, high):
    return _triangles(frequencies, _edges(bands, low, high))


def _with(filters):
    """What other filters would give."""
    return lambda power, frequencies, bands, low, high: filters(frequencies, bands, low, high) @ power


_expected = _with(_filters)


@_with
def _in_mel(frequencies, bands, low, high):
    return _triangles(_mel(frequencies), _mel(_edges(bands, low, high)))


@_with
def _even(frequencies, bands, low, high):
    return _triangles(frequencies, np.linspace(low, high, bands + 2))


@_with
def _octaves(frequencies, bands, low, high):
    return _triangles(frequencies, np.geomspace(max(low, 1), high, bands + 2))


@_with
def _inside(frequencies, bands, low, high):
    """The peaks run from low to high; the outer edges lie beyond."""
    step = (_mel(high) - _mel(low)) / max(1, bands - 1)
    return _triangles(frequencies, _hertz(_mel(low) + step * np.arange(-1, bands + 1)))


@_with
def _boxes(frequencies, bands, low, high):
    edges = _edges(bands, low, high)
    return np.array([((frequencies > a) & (frequencies < b)).astype(float) for a, b in zip(edges, edges[2:])])


@_with
def _no_floor(frequencies, bands, low, high):
    edges = _edges(bands, low, high)
    return np.array([np.minimum((frequencies - a) / (b - a), (c - frequencies) / (c - b))
                     for a, b, c in zip(edges, edges[1:], edges[2:])])


def _one_slope(rising):
    @_with
    def filters(frequencies, bands, low, high):
        edges = _edges(bands, low, high)
        rows = [(frequencies - a) / (b - a) if rising else (c - frequencies) / (c - b)
                for a, b, c in zip(edges, edges[1:], edges[2:])]
        return np.clip(rows, 0, 1)

    return filters


@_with
def _of_unit_area(frequencies, bands, low, high):
    edges = _edges(bands, low, high)
    return _filters(frequencies, bands, low, high) * (2 / (edges[2:] - edges[:-2]))[:, None]


@_with
def _of_unit_sum(frequencies, bands, low, high):
    filters = _filters(frequencies, bands, low, high)
    return filters / np.maximum(filters.sum(axis=1, keepdims=True), 1e-12)


@_with
def _without_700(frequencies, bands, low, high):
    return _triangles(frequencies, np.expm1(np.linspace(np.log1p(low), np.log1p(high), bands + 2)))


def _tell(came, expected):
    if (came < -1e-6).any():
        return f"a band is a sum of powers, none of them negative; your smallest value is {came.min():.3g}."
    row = furthest_row(came, expected)
    return f"the bands are not those under the triangles; the largest difference is in band {row}, the lowest being band 0."


EXERCISE = Exercise(
    name="mel_bands",
    lesson="12",
    difficulty=2,
    minutes=20,
    prompt="""Write `mel_bands(power, frequencies, bands, low, high)`: the bands of a mel spectrogram.

`power` is a float tensor of shape `f t`: the power at each frequency (rows) and time (columns). `frequencies`, of shape `f`, are
those of the rows, in hertz. `bands` is a whole number m; `low` and `high` are numbers in hertz.
Take m + 2 edges from low to high that are evenly spaced on the mel scale, $\\mathrm{mel}(h) = 2595\\log_{10}(1 + h/700)$, and
bring them back to hertz. The filter of band n rises, on a straight line over the hertz, from 0 at edge n to 1 at edge
n + 1, falls to 0 at edge n + 2, and is 0 elsewhere (n counts from 0). A band is the sum of all powers, each times its
filter's value. Return a tensor of shape `m t`.""",
    hints=(
        "Solve mel = 2595 log10(1 + h / 700) for h. You then need three steps: the mels of low and high,"
        " `torch.linspace` between them, and back to hertz.",
        "Left edges, peaks and right edges of all filters are three slices of one list: `edges[:-2]`, `edges[1:-1]`,"
        " `edges[2:]`. With `[:, None]` behind them they stand against all frequencies at once.",
        "A triangle is the smaller one of a rising and a falling line, cut off below at 0. All filters are a matrix `m f`,"
        " and the bands are its product with `power`.",
    ),
    solution='''
def mel_bands(power, frequencies, bands, low, high):
    ends = 2595 * torch.log10(1 + torch.tensor([low, high], dtype=torch.float64) / 700)
    mels = torch.linspace(ends[0], ends[1], bands + 2, dtype=torch.float64)
    edges = (700 * (10 ** (mels / 2595) - 1)).to(power.dtype)
    left, peak, right = (part[:, None] for part in (edges[:-2], edges[1:-1], edges[2:]))
    rising, falling = (frequencies - left) / (peak - left), (right - frequencies) / (right - peak)
    return torch.minimum(rising, falling).clamp(min=0) @ power
''',
    fact="The 2595 and the base of the logarithm do not matter here: evenly spaced edges stay evenly spaced when the scale "
    "is stretched. Only the 700 does; it says where hearing turns from even steps to even ratios.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("edges evenly spaced in hertz instead of mel?", _even),
        ("edges evenly spaced in octaves? Below 700 Hz the mel scale is nearly even in hertz.", _octaves),
        ("slopes that are straight over the mels instead of the hertz?", _in_mel),
        ("peaks from low to high? It is the outer edges that lie there.", _inside),
        ("a band of ones from edge to edge instead of a triangle?", _boxes),
        ("no floor at 0? Outside its edges a line goes on below it.", _no_floor),
        ("the rising side alone?", _one_slope(True)),
        ("the falling side alone?", _one_slope(False)),
        ("filters of area 1 instead of height 1?", _of_unit_area),
        ("filters that add up to 1 over the frequencies?", _of_unit_sum),
        ("the highest band first?",
         _with(lambda frequencies, bands, low, high: _filters(frequencies, bands, low, high)[::-1])),
        ("700 forgotten, so that the logarithm is of 1 + h?", _without_700),
        ("the logarithm of the bands? Here the bands themselves are asked for.",
         lambda **given: np.log(_expected(**given))),
        ("the root of the power? A spectrogram of amplitudes would need it the other way round.",
         lambda power, **given: _expected(np.sqrt(power), **given)),
    ),
    tell=_tell,
    shape="m t",
)
