"""Lesson 04: hinges with semi-hard negatives."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words


def _similarity(seed, i, t):
    """Cosine-like numbers without ties (`i t`); the diagonal is higher, as after some training."""
    rng = np.random.default_rng(seed)
    return np.tanh(0.4 * rng.normal(size=(i, t)) + 0.4 * np.eye(i, t))


_NOT_FINITE = "Has a picture no sentence that is less similar than its own? The largest of none is -infinity."


def _cases():
    first = _similarity(20, 5, 7)  # a seed with which every slip gives a number of its own
    lowest = _similarity(6, 3, 4)
    lowest[1, 1] = -0.97
    return [
        Case({"similarity": first, "margin": 0.29}, not_finite=_NOT_FINITE),
        Case({"similarity": _similarity(1, 6, 8), "margin": 0.17}, not_finite=_NOT_FINITE),
        Case({"similarity": _similarity(2, 4, 9), "margin": 0.71}, "a wide margin", _NOT_FINITE),
        Case({"similarity": _similarity(3, 6, 6), "margin": 0.33}, not_finite=_NOT_FINITE),
        Case({"similarity": lowest, "margin": 0.43}, "of picture 1 the own sentence is the least similar of all",
             _NOT_FINITE),
        Case({"similarity": _similarity(4, 5, 6) - 3, "margin": 0.23}, "all similarities negative", _NOT_FINITE),
    ]


def _expected(similarity, margin):
    total = 0.0
    for n, row in enumerate(similarity):
        easier = [entry for j, entry in enumerate(row) if j != n and entry < row[n]]
        if easier:
            total += max(0.0, margin - row[n] + max(easier))
    return np.array(total)


def _hinges(similarity, margin, kept=None, largest=True):
    """The hinge of every row's largest (or smallest) entry of those that are kept; 0 where none is."""
    own, total = np.diag(similarity), 0.0
    for n, row in enumerate(similarity):
        entries = row[kept[n]]
        if len(entries):
            total += max(0.0, margin - own[n] + (entries.max() if largest else entries.min()))
    return total


def _below(similarity):
    return similarity < np.diag(similarity)[:, None]


def _others(similarity):
    return ~np.eye(*similarity.shape, dtype=bool)


def _square(similarity):
    return similarity[:, : len(similarity)]


def _all_below(similarity, margin):
    hinges = np.maximum(0, margin + similarity - np.diag(similarity)[:, None])
    return (hinges * _below(similarity)).sum()


def _no_hinge(similarity, margin):
    return sum(margin - row[n] + max(row[row < row[n]]) for n, row in enumerate(similarity) if (row < row[n]).any())


_tell = number_in_words(
    "the loss must be the sum over the pictures of one hinge each, with the most similar of those sentences that are less "
    "similar than the own one", within=(0, np.inf, "a sum of hinges is never negative"))


EXERCISE = Exercise(
    name="semi_hard_hinges",
    lesson="04",
    difficulty=2,
    minutes=15,
    prompt="""Write `semi_hard_hinges(similarity, margin)`: the hinges of the pictures, each with its semi-hard
negative.

`similarity` is a float tensor of shape `i t`: a row a picture, a column a sentence. Sentence n belongs to picture n,
and the further ones (t >= i) belong to none. The semi-hard negative of a picture is the most similar of all the wrong
sentences that are *less* similar to it than its own. Its hinge is $[m - s_{nn} + s_{n,\\text{semi-hard}}]_+$ with the
`margin` m. A picture without such a sentence costs nothing. Return the sum over the pictures, a 0-d tensor through
which gradients flow. No two similarities are equal.""",
    hints=(
        "Which entries of a row may be chosen? Those that are smaller than the own one: `similarity < own[:, None]`. "
        "That leaves out the own one as well.",
        "Set all others to -infinity (`masked_fill`) and take the largest of each row.",
        "In a row where nothing is left the largest is -infinity, and the hinge of it, `clamp(min=0)`, is 0: just what "
        "is wanted.",
    ),
    solution='''
def semi_hard_hinges(similarity, margin):
    own = similarity.diagonal()  # i
    easier = similarity < own[:, None]  # i t
    hardest = similarity.masked_fill(~easier, -torch.inf).amax(dim=1)
    return (margin - own + hardest).clamp(min=0).sum()
''',
    fact="Semi-hard negatives are FaceNet's cure for the same illness (Schroff et al. 2015, section 3.2): with the "
    "hardest ones the model collapsed early in training. It searched them in batches of about 1,800 faces.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the hardest negative of all? A semi-hard one is less similar than the own sentence.",
         lambda similarity, margin: _hinges(similarity, margin, _others(similarity))),
        ("the own sentence among the candidates? Each picture then costs the margin.",
         lambda similarity, margin: np.array(margin * len(similarity))),
        ("the easiest negative? Of those that are less similar the most similar one is wanted.",
         lambda similarity, margin: _hinges(similarity, margin, _below(similarity), largest=False)),
        ("only the sentences that are more similar than the own one?",
         lambda similarity, margin: _hinges(similarity, margin, ~_below(similarity) & _others(similarity))),
        ("all less similar sentences instead of one a picture?", _all_below),
        ("the mean over the pictures? It is a sum.",
         lambda similarity, margin: _expected(similarity, margin) / len(similarity)),
        ("the columns? A picture is a row.", lambda similarity, margin: _expected(_square(similarity).T, margin)),
        ("the sentences beyond the number of pictures left out? They compete too.",
         lambda similarity, margin: _expected(_square(similarity), margin)),
        ("no hinge? A negative beyond the margin costs nothing, not less than nothing.", _no_hinge),
        ("the margin doubled?", lambda similarity, margin: _expected(similarity, 2 * margin)),
        ("both directions? Here only the pictures look for sentences.",
         lambda similarity, margin: _expected(similarity, margin) + _expected(_square(similarity).T, margin)),
    ),
    tell=_tell,
    gradient_to=("similarity",),
)
