"""Lesson 01: recall at k for text retrieval."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words


def _similarity(seed, i, t):
    """Cosine-like numbers without ties (`i t`); the diagonal is a little higher, as after some training."""
    rng = np.random.default_rng(seed)
    return np.tanh(0.4 * rng.normal(size=(i, t)) + 0.35 * np.eye(i, t))


def _cases():
    first = _similarity(66, 11, 17)  # a seed with which every known slip gives a number of its own
    return [
        Case({"similarity": first, "k": 3}),
        Case({"similarity": first, "k": 1}),
        Case({"similarity": _similarity(1, 9, 9), "k": 2}),
        Case({"similarity": _similarity(7, 13, 19), "k": 4}),
        Case({"similarity": _similarity(3, 6, 13), "k": 4}, "more than twice as many captions as images"),
        Case({"similarity": _similarity(4, 10, 14), "k": 5}),
        Case({"similarity": _similarity(5, 1, 6), "k": 2}, "a single image"),
        Case({"similarity": -_similarity(6, 5, 8), "k": 8}, "k is the number of captions, so that every image is a hit"),
        Case({"similarity": -5 + 4 * _similarity(8, 8, 10), "k": 2}, "all similarities negative"),
    ]


def _expected(similarity, k):
    hits = 0
    for n, row in enumerate(similarity):
        better = sum(1 for entry in row if entry > row[n])
        hits += better < k
    return np.array(100 * hits / len(similarity))


def _ranks(similarity):
    """How many captions are more similar to each image than its own."""
    return (similarity > np.diag(similarity)[:, None]).sum(axis=1)


def _image_ranks(similarity):
    """How many images are more similar to each of the first i captions than its own."""
    return (similarity[:, : len(similarity)] > np.diag(similarity)).sum(axis=0)


def _percent(hits):
    return 100 * np.mean(hits)


_tell = number_in_words(
    "the result must be the percentage of images whose own caption is among the k captions most similar to them",
    ("low", "high"), (0, 100, "the result is a percentage of the images and lies between 0 and 100"))


EXERCISE = Exercise(
    name="recall_at_k",
    lesson="01",
    difficulty=2,
    minutes=10,
    prompt="""Write `recall_at_k(similarity, k)`: how often does an image find its own caption among the first k?

`similarity` is a float tensor of shape `i t`: row n says how similar image n is to each of the t captions. Image n's own
caption is column n. There can be more captions than images (t >= i); the further ones belong to no image and only
distract. `k` is an int from 1 to t. Return, as a float or a 0-d tensor, the percentage (0 to 100) of the images whose own
caption is among the k captions most similar to them. No two similarities are equal.""",
    hints=(
        "This is text retrieval: every image looks along its row. The columns (every caption looks for its image) would be"
        " image retrieval.",
        "An image is a hit when fewer than k captions of its row are more similar to it than its own is.",
        "`similarity.diagonal()` holds each image's similarity to its own caption (`i`). Compare it with the whole row:"
        " `similarity > own[:, None]` is `i t`. Count along each row, compare with k, take the mean, and make it percent.",
    ),
    solution='''
def recall_at_k(similarity, k):
    own = similarity.diagonal()  # i
    better = (similarity > own[:, None]).sum(dim=1)  # captions ahead of the image's own
    return 100 * (better < k).double().mean().item()
''',
    fact="The size of the gallery decides as much as the model. Pure guessing reaches R@10 = 1 % among 1,000 captions and "
    "100 % among ten, so a recall without the gallery's size says nothing.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("wrong direction? Every image looks along its row; these are the columns (image retrieval).",
         lambda similarity, k: _percent(_image_ranks(similarity) < k)),
        ("wrong direction? Every image looks along its row; these are the columns, divided by the number of captions.",
         lambda similarity, k: 100 * (_image_ranks(similarity) < k).sum() / similarity.shape[1]),
        ("a fraction; was it to be percent?", lambda similarity, k: np.mean(_ranks(similarity) < k)),
        ("a count of images; was it to be percent?", lambda similarity, k: (_ranks(similarity) < k).sum()),
        ("the k least similar captions instead of the most similar?", lambda similarity, k: _percent(_ranks(-similarity) < k)),
        ("off by one: is that the recall at k + 1?", lambda similarity, k: _percent(_ranks(similarity) <= k)),
        ("off by one: is that the recall at k - 1?", lambda similarity, k: _percent(_ranks(similarity) < k - 1)),
        ("k ignored: is that the recall at 1?", lambda similarity, k: _percent(_ranks(similarity) < 1)),
        ("the captions beyond the number of images left out? They compete too.",
         lambda similarity, k: _percent(_ranks(similarity[:, : len(similarity)]) < k)),
        ("divided by the number of captions instead of the number of images?",
         lambda similarity, k: 100 * (_ranks(similarity) < k).sum() / similarity.shape[1]),
        ("divided by k as well? That is a precision.", lambda similarity, k: _percent(_ranks(similarity) < k) / k),
        ("argsort's diagonal compared with k? Entry n of its row is the caption in place n, not caption n's place.",
         lambda similarity, k: _percent(np.diag(np.argsort(-similarity, axis=1)) < k)),
        ("cut to a whole number, by int() or //?", lambda similarity, k: np.trunc(_percent(_ranks(similarity) < k))),
        ("a fraction cut to 0 or 1 before it became percent, by int() or //?",
         lambda similarity, k: 100 * np.trunc(np.mean(_ranks(similarity) < k))),
        ("rounded to a whole number?", lambda similarity, k: np.round(_percent(_ranks(similarity) < k))),
        ("the misses counted instead of the hits?", lambda similarity, k: _percent(_ranks(similarity) >= k)),
    ),
    tell=_tell,
    plain_number=True,
)
