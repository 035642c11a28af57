"""Lesson 00: scale every row to Euclidean length 1."""

import numpy as np

from ._exercise import Case, Exercise, furthest_row, lengths_in_words


def _features(seed, b, d):
    """Rows of very different lengths (`b d`), none of them shorter than 0.5."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(b, d))
    rows /= np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows * rng.uniform(0.5, 20, size=(b, 1))


def _cases():
    unit = _features(4, 4, 6)
    return [
        Case({"features": _features(0, 3, 5)}),
        Case({"features": _features(1, 7, 4)}),
        Case({"features": 1e-3 * _features(2, 4, 9)}, "short rows"),
        Case({"features": _features(3, 1, 6)}, "a batch of one"),
        Case({"features": _features(5, 5, 1)}, "a single dimension"),
        Case({"features": unit / _lengths(unit)}, "rows that have length 1 already"),
    ]


def _lengths(features, axis=1):
    return np.sqrt((features**2).sum(axis=axis, keepdims=True))


def _expected(features):
    return np.array([[entry / sum(x * x for x in row) ** 0.5 for entry in row] for row in features])


def _softmax(features):
    weights = np.exp(features - features.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _tell(came, expected):
    lengths = lengths_in_words(came)
    if lengths:
        return f"rows must have length 1; yours have {lengths}."
    row = furthest_row(came, expected)
    return f"rows have length 1, as they must, but row {row} no longer points where row {row} of the input points."


EXERCISE = Exercise(
    name="unit_length",
    lesson="00",
    difficulty=1,
    minutes=5,
    prompt="""Write `unit_length(features)`: scale every row of `features` to Euclidean length 1.

`features` is a float tensor of shape `b d`: b vectors with d entries each. Return a new tensor of the same shape and
dtype in which every row points where it pointed before, with length 1. No row is zero, so you need not guard against a
division by zero. Leave `features` itself as it is.""",
    hints=(
        r"The Euclidean length of a row $x$ is $\lVert x \rVert = \sqrt{\sum_j x_j^2}$. Which axis of `b d` does the sum"
        " run over?",
        "There is one length a row: `b` numbers. To divide a `b d` tensor by them row by row, they need the shape `b 1`;"
        " `keepdim=True` keeps that axis.",
        "`features.norm(dim=1, keepdim=True)` gives the lengths in the shape `b 1`. What remains is one division.",
    ),
    solution='''
def unit_length(features):
    lengths = features.pow(2).sum(dim=1, keepdim=True).sqrt()  # b 1
    return features / lengths
''',
    fact="In 128 dimensions two random rows of length 1 have a cosine of about 0, give or take 0.09: there is room for a "
    "great many directions that are almost perpendicular to each other.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("normalised over the wrong axis (the columns instead of the rows)?", lambda features: features / _lengths(features, 0)),
        ("divided by the squared length; is the square root missing?", lambda features: features / _lengths(features) ** 2),
        ("divided by the root of the length, a square root too many?", lambda features: features / np.sqrt(_lengths(features))),
        ("divided by the sum of absolute values (the L1 norm) instead of the Euclidean length?",
         lambda features: features / np.abs(features).sum(axis=1, keepdims=True)),
        ("divided by the sum of the entries instead of the Euclidean length?",
         lambda features: features / features.sum(axis=1, keepdims=True)),
        ("divided by the largest entry instead of the Euclidean length?",
         lambda features: features / np.abs(features).max(axis=1, keepdims=True)),
        ("divided by the length of the whole matrix; each row has a length of its own.",
         lambda features: features / np.sqrt((features**2).sum())),
        ("divided by the root of the mean square instead of the root of the sum of squares?",
         lambda features: features / np.sqrt((features**2).mean(axis=1, keepdims=True))),
        ("multiplied by the length instead of divided?", lambda features: features * _lengths(features)),
        ("that is a softmax: rows that sum to 1 do not have length 1.", _softmax),
        ("standardised (mean 0, deviation 1) instead of scaled to length 1?",
         lambda features: (features - features.mean(axis=1, keepdims=True)) / features.std(axis=1, keepdims=True)),
        ("these are the lengths themselves; the rows still have to be divided by them.",
         lambda features: _lengths(features)[:, 0]),
    ),
    tell=_tell,
    shape="b d",
)
