"""Lesson 02: what retrieval in two stages costs."""

import numpy as np

from ._exercise import Case, Exercise


def _case(seed, i, t, k, about=""):
    rng = np.random.default_rng(seed)
    similarity, milliseconds = rng.normal(size=(i, t)), rng.permutation([7.0, 3.5, 0.25, 5.5])
    return Case({"similarity": similarity, "milliseconds": milliseconds, "k": k}, about)


def _cases():
    return [
        _case(0, 11, 17, 3),
        _case(1, 14, 9, 2),
        _case(2, 6, 13, 1, "a single candidate"),
        _case(3, 10, 10, 4),
        _case(4, 5, 8, 5, "k is the number of pictures"),
        _case(5, 21, 12, 6),
    ]


def _expected(similarity, milliseconds, k):
    """Pair by pair."""
    read_picture, read_text, first, second = milliseconds
    i, t = similarity.shape
    spent = i * read_picture + t * read_text
    for a in range(i):
        for b in range(t):
            wanted = (similarity[a] > similarity[a, b]).sum() < k or (similarity[:, b] > similarity[a, b]).sum() < k
            spent += first + second * wanted
    return np.array(spent)


def _best(similarity, k, axis):
    return np.argsort(np.argsort(-similarity, axis=axis), axis=axis) < k


def _spend(similarity, milliseconds, k, pairs=None, reads=(1, 1), order=(0, 1, 2, 3), firsts=None, again=False):
    read_picture, read_text, first, second = milliseconds[list(order)]
    i, t = similarity.shape
    of_picture, of_text = _best(similarity, k, 1), _best(similarity, k, 0)
    wanted = (of_picture | of_text).sum() if pairs is None else pairs(of_picture, of_text)
    reading = reads[0] * i * read_picture + reads[1] * t * read_text
    if again:
        reading += wanted * (read_picture + read_text)
    return np.array(reading + (i * t if firsts is None else firsts(i, t)) * first + wanted * second)


def _slip(**changes):
    return lambda **inputs: _spend(**inputs, **changes)


def _tell(came, expected):
    side = "much" if came > expected else "little"
    return (f"the time is that of reading everything once, of the first stage for every pair and of the second for the "
            f"candidates; {came:.6g} milliseconds are too {side}.")


EXERCISE = Exercise(
    name="two_stage_cost",
    lesson="02",
    difficulty=3,
    minutes=15,
    prompt="""Write `two_stage_cost(similarity, milliseconds, k)`: what a search in two stages costs, in milliseconds.

`similarity` (`i t`, no two equal) is what the first stage says of every picture (a row) with every text (a column). The
second stage scores again, for each picture, its `k` most similar texts, and for each text its `k` most similar
pictures; a pair that both want is scored once. `milliseconds` has four numbers: reading one picture, reading one text,
comparing one pair in the first stage, scoring one pair in the second. What is read once is kept. Return the
milliseconds of all together.""",
    hints=(
        "Four parts: what grows with the pictures, with the texts, with all pairs, and with the candidates.",
        "A table of bool (`i t`) can say which pairs are candidates: one for the pictures, one for the texts. Both"
        " together are their `|`.",
        "`torch.zeros_like(similarity, dtype=torch.bool).scatter(1, similarity.topk(k, dim=1).indices, True)` is the"
        " pictures' table; the texts' is the same along axis 0. How many entries of `a | b` are True?",
    ),
    solution='''
def two_stage_cost(similarity, milliseconds, k):
    read_picture, read_text, first, second = milliseconds.tolist()
    i, t = similarity.shape
    nothing = torch.zeros_like(similarity, dtype=torch.bool)
    of_picture = nothing.scatter(1, similarity.topk(k, dim=1).indices, True)
    of_text = nothing.scatter(0, similarity.topk(k, dim=0).indices, True)
    candidates = (of_picture | of_text).sum().item()
    return i * read_picture + t * read_text + i * t * first + candidates * second
''',
    fact="The second stage never scores more than k (i + t) pairs, so it grows like the gallery and not like its "
    "square. The first stage does grow like the square, but of something a million times cheaper.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("pairs that both want scored twice?", _slip(pairs=lambda a, b: a.sum() + b.sum())),
        ("only the pairs that both want? It is enough that one of them does.", _slip(pairs=lambda a, b: (a & b).sum())),
        ("only the candidates of the texts? The pictures have theirs too.", _slip(pairs=lambda a, b: b.sum())),
        ("only the candidates of the pictures? The texts have theirs too.", _slip(pairs=lambda a, b: a.sum())),
        ("all pairs scored again? Only the candidates are.", _slip(pairs=lambda a, b: a.size)),
        ("k candidates in all? Everyone has its own.", lambda similarity, milliseconds, k: _spend(
            similarity, milliseconds, k, pairs=lambda a, b: k)),
        ("the k least similar taken for candidates?",
         lambda similarity, milliseconds, k: _spend(-similarity, milliseconds, k)),
        ("candidates read again? What is read once is kept.", _slip(again=True)),
        ("the second stage left out?", _slip(pairs=lambda a, b: 0)),
        ("the first stage left out?", _slip(firsts=lambda i, t: 0)),
        ("the reading of the pictures left out?", _slip(reads=(0, 1))),
        ("the reading of the texts left out?", _slip(reads=(1, 0))),
        ("the reading left out?", _slip(reads=(0, 0))),
        ("the first stage for the pictures plus the texts? It compares every pair.", _slip(firsts=lambda i, t: i + t)),
        ("pictures and texts swapped in what reading costs? A row is a picture.", _slip(order=(1, 0, 2, 3))),
        ("the times of the two stages swapped?", _slip(order=(0, 1, 3, 2))),
        ("only one candidate for each?", lambda similarity, milliseconds, k: _spend(similarity, milliseconds, 1)),
    ),
    tell=_tell,
    plain_number=True,
)
