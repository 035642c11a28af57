"""Lesson 08: the best of a first stage, scored again by a second one."""

import numpy as np

from ._exercise import Case, Exercise


def _case(seed, q, c, k, about=""):
    rng = np.random.default_rng(seed)
    return Case({"first": rng.normal(size=(q, c)), "second": rng.normal(size=(q, c)), "k": k}, about)


def _cases():
    return [
        _case(0, 4, 9, 3),
        _case(1, 6, 5, 2, "more queries than candidates"),
        _case(2, 3, 8, 1, "k = 1: nothing to reorder"),
        _case(3, 5, 7, 7, "k is all candidates"),
        _case(4, 2, 12, 5),
        _case(5, 7, 11, 4),
    ]


def _expected(first, second, k):
    scores = np.full_like(first, -100)
    for row in range(len(first)):
        for column in sorted(range(first.shape[1]), key=lambda c: -first[row, c])[:k]:
            scores[row, column] = second[row, column]
    return scores


def _chosen(first, k, axis=1):
    return np.argsort(np.argsort(-first, axis=axis), axis=axis) < k


def _scores(first, second, k, axis=1, inside=None, outside=-100):
    return np.where(_chosen(first, k, axis), second if inside is None else inside(first, second), outside)


def _slip(**changes):
    return lambda first, second, k: _scores(first, second, k, **changes)


def _sorted(first, second, k):
    """The scores in the order of the first stage, in the first k columns."""
    best = np.take_along_axis(second, np.argsort(-first, axis=1)[:, :k], axis=1)
    return np.concatenate([best, np.full((len(first), first.shape[1] - k), -100)], axis=1)


def _whole_table(first, second, k):
    return np.where(first >= np.sort(first, axis=None)[-k], second, -100)


def _tell(came, expected):
    kept, wanted = (came != -100).sum(axis=1), (expected != -100).sum(axis=1)
    if not np.array_equal(kept, wanted):
        row = int((kept != wanted).argmax())
        return f"each row has k scores and -100 everywhere else; row {row} has {kept[row]} scores, not {wanted[row]}."
    row = int((~np.isclose(came, expected, atol=1e-4)).any(axis=1).argmax())
    return f"the k best of the first stage have the second one's score, where they stand; row {row} is something else."


EXERCISE = Exercise(
    name="rerank_top_k",
    lesson="08",
    difficulty=2,
    minutes=15,
    prompt="""Write `rerank_top_k(first, second, k)`: retrieval in two stages.

`first` and `second` (`q c`) are the scores that two stages give c candidates for q queries, a row a query; higher is
better, and no two of `first` are equal. (In earnest `second` is only computed for what the first stage chooses; here it
is given for all, and the rest of it must not count.) Return the final scores, `q c`: for the `k` best candidates of
each query by `first` the score of `second`, for all others -100.""",
    hints=(
        "Every row chooses for itself: `first.topk(k, dim=1).indices` are the numbers of its candidates, `q k`.",
        "`second.gather(1, best)` are the second stage's scores of these, `q k`.",
        "Start with a table full of -100 (`torch.full_like`) and put the scores where they belong:"
        " `scatter(1, best, scores)`.",
    ),
    solution='''
def rerank_top_k(first, second, k):
    best = first.topk(k, dim=1).indices  # q k
    nothing = torch.full_like(first, -100)
    return nothing.scatter(1, best, second.gather(1, best))
''',
    fact="On Flickr30k the authors' code re-ranks 128 of 5,000 captions for a picture, and 128 of 1,000 pictures for a "
    "caption. What the first stage does not find, no second stage can find: recall at k is the second one's ceiling.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the second stage left out?", _slip(inside=lambda first, second: first)),
        ("all candidates scored by the second stage? Only k of them are.", lambda first, second, k: second),
        ("the stages swapped?", lambda first, second, k: _expected(second, first, k)),
        ("the others left with the score of the first stage? It is no logit of the second.",
         lambda first, second, k: np.where(_chosen(first, k), second, first)),
        ("0 for the others? Many a good candidate has a score below 0.", _slip(outside=0)),
        ("the k worst of the first stage as candidates?", lambda first, second, k: _scores(-first, second, k)),
        ("the k best of the second stage? The first one chooses.",
         lambda first, second, k: _expected(second, second, k)),
        ("the k best queries of each candidate? A row is a query.", _slip(axis=0)),
        ("the k best of the whole table? Every query has k of its own.", _whole_table),
        ("the sum of both scores? The second stage alone decides among the k.", _slip(inside=np.add)),
        ("scores in the first k columns? They stand where their candidates stand.", _sorted),
        ("k + 1 candidates instead of k?", lambda first, second, k: _expected(first, second, k + 1)),
        ("k - 1 candidates instead of k?", lambda first, second, k: _expected(first, second, k - 1)),
    ),
    tell=_tell,
    shape="q c",
)
