"""Lesson 04: the gradient of the max of hinges, by hand."""

import numpy as np

from ._exercise import Case, Exercise, furthest_row


def _pairs(seed, b, d, margin, agreement=1.0):
    """Features of length 1 of b pairs that agree."""
    rng = np.random.default_rng(seed)
    shared = agreement * rng.normal(size=(b, d))
    image, text = (shared + rng.normal(size=(b, d)) for _ in range(2))
    return {"image_features": image / np.linalg.norm(image, axis=1, keepdims=True),
            "text_features": text / np.linalg.norm(text, axis=1, keepdims=True), "margin": margin}


def _cases():
    first = _pairs(42, 5, 3, 0.23, 2.0)
    order = [3, 0, 4, 2, 1]
    return [
        Case(first),
        Case(_pairs(7, 6, 8, 0.37)),
        Case(_pairs(9, 4, 9, 0.11, 2.0), "most pairs keep the margin"),
        Case({**first, **{name: first[name][order] for name in ("image_features", "text_features")}},
             "the pairs of case 1 in another order"),
        Case(_pairs(12, 7, 4, 0.0), "without a margin"),
        Case(_pairs(3, 2, 5, 1.9), "two pairs"),
    ]


def _expected(image_features, text_features, margin):
    """Pair by pair, from the definition of the loss."""
    b, gradient = len(image_features), np.zeros_like(image_features)
    scores = [[float(np.dot(image, text)) for text in text_features] for image in image_features]
    for i in range(b):
        wrong = [j for j in range(b) if j != i]
        text = max(wrong, key=lambda j: scores[i][j])
        if margin - scores[i][i] + scores[i][text] > 0:
            gradient[i] += text_features[text] - text_features[i]
        image = max(wrong, key=lambda j: scores[j][i])
        if margin - scores[i][i] + scores[image][i] > 0:
            gradient[image] += text_features[i]
            gradient[i] -= text_features[i]
    return gradient


def _tables(image_features, text_features, margin):
    """Where a wrong sentence and a wrong picture is the hardest and breaks the margin, `b b` of 0 and 1; the scores."""
    scores = image_features @ text_features.T
    wrong = np.where(np.eye(len(scores), dtype=bool), -np.inf, scores)
    own = np.diag(scores)
    texts = (wrong == wrong.max(axis=1, keepdims=True)) & (margin + wrong > own[:, None])
    images = (wrong == wrong.max(axis=0, keepdims=True)) & (margin + wrong > own[None, :])
    return texts.astype(float), images.astype(float), scores


def _through_normalisation(image_features, text_features, margin):
    gradient = _expected(image_features, text_features, margin)
    return gradient - image_features * (image_features * gradient).sum(axis=1, keepdims=True)


def _by(weights):
    """A slip in the gradient by the scores `b b`: a function of the two tables and the scores."""

    def slip(image_features, text_features, margin):
        return weights(*_tables(image_features, text_features, margin)) @ text_features

    return slip


def _own(texts, images):
    """How often each pair is pulled together, on the diagonal."""
    return np.diag(texts.sum(axis=1) + images.sum(axis=0))


def _all_violators(image_features, text_features, margin):
    scores = image_features @ text_features.T
    off = ~np.eye(len(scores), dtype=bool)
    texts = ((margin + scores > np.diag(scores)[:, None]) & off).astype(float)
    images = ((margin + scores > np.diag(scores)[None, :]) & off).astype(float)
    return (texts + images - _own(texts, images)) @ text_features


def _no_hinge(image_features, text_features, margin):
    return _expected(image_features, text_features, 9.0)  # such a margin everybody breaks


def _of_texts(image_features, text_features, margin):
    return _expected(text_features, image_features, margin)


def _right(texts, images, scores):
    return texts + images - _own(texts, images)


def _tell(came, expected):
    return (
        "row i must hold what every hinge that is not 0 asks of picture i: as an owner, and as somebody's hardest "
        f"negative; row {furthest_row(came, expected)} is the furthest off."
    )


EXERCISE = Exercise(
    name="hardest_gradient",
    lesson="04",
    difficulty=3,
    minutes=20,
    prompt="""Write `hardest_gradient(image_features, text_features, margin)`: the gradient of the max of hinges with
respect to the pictures' features, by hand.

`image_features` and `text_features` are float tensors of shape `b d` with rows of length 1, pair n is row n of both,
and b is at least 2; `margin` is a float. The loss is
$\\sum_i [m - s_{ii} + \\max_{j \\ne i} s_{ij}]_+ + [m - s_{ii} + \\max_{j \\ne i} s_{ji}]_+$
with $s_{ij}$ the inner product of picture i and sentence j. Return its gradient with respect to `image_features` as
they are (no derivative of a normalisation), a tensor of shape `b d` and of the same dtype. No two scores are equal.""",
    hints=(
        "First the gradient with respect to the scores, `b b`. A hinge that is not 0 gives +1 to the hardest "
        "negative's entry and -1 to the own one; a hinge of 0 gives nothing.",
        "The hardest sentence of a picture stands in its row (`argmax(dim=1)`), the hardest picture of a sentence in "
        "its column (`argmax(dim=0)`). Set the diagonal to -infinity before you look.",
        "$s_{ij} = \\langle I_i, T_j \\rangle$, so each entry (i, j) brings $T_j$ to row i: multiply the gradient with "
        "respect to the scores by `text_features`.",
    ),
    solution='''
def hardest_gradient(image_features, text_features, margin):
    scores = image_features @ text_features.T
    b, own = len(scores), scores.diagonal()
    n = torch.arange(b)
    wrong = scores.masked_fill(torch.eye(b, dtype=torch.bool), -torch.inf)
    by_scores = torch.zeros_like(scores)
    for dim in (1, 0):  # the hardest sentence in every row, the hardest picture in every column
        hardest = wrong.max(dim=dim)
        active = (margin - own + hardest.values > 0).to(scores.dtype)
        where = (n, hardest.indices) if dim == 1 else (hardest.indices, n)
        by_scores[where] += active
        by_scores[n, n] -= active
    return by_scores @ text_features
''',
    fact="The gradient on a picture is a difference of two sentences. The more alike the hardest negative and the own "
    "sentence are, the shorter it is: in a collapsed model all sentences are alike, and nothing moves.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("only the hardest sentences? Pictures are also the hardest negatives of sentences.",
         _by(lambda texts, images, scores: texts - _own(texts, 0 * images))),
        ("only the hardest pictures? Each picture has a hardest sentence too.",
         _by(lambda texts, images, scores: images - _own(0 * texts, images))),
        ("all that break the margin? Only the hardest of each counts.", _all_violators),
        ("hinges of 0 counted as well? A pair that keeps the margin asks for nothing.", _no_hinge),
        ("the margin left out? A negative counts that comes within the margin, not only one that is ahead.",
         lambda image_features, text_features, margin: _expected(image_features, text_features, 0.0)),
        ("the margin subtracted instead of added?",
         lambda image_features, text_features, margin: _expected(image_features, text_features, -margin)),
        ("the derivative of a normalisation in it? The features count as they are.", _through_normalisation),
        ("the wrong sign? The gradient points uphill: towards the negative, away from the own sentence.",
         _by(lambda *tables: -_right(*tables))),
        ("only pushed away from the negatives? The own pair is pulled together.",
         _by(lambda texts, images, _: texts + images)),
        ("only the own pair pulled together? The negatives are pushed away.",
         _by(lambda texts, images, _: -_own(texts, images))),
        ("the own pair pulled once where both of its hinges are not 0? Each of them pulls.",
         _by(lambda texts, images, _: texts + images - np.minimum(1, _own(texts, images)))),
        ("the gradient with respect to the sentences?", _of_texts),
        ("the mean over the batch? The loss is a sum.", _by(lambda *tables: _right(*tables) / len(tables[2]))),
        ("the mean of the two directions? The loss adds them.", _by(lambda *tables: _right(*tables) / 2)),
        ("the table of scores transposed before the product?", _by(lambda *tables: _right(*tables).T)),
    ),
    tell=_tell,
    shape="b d",
)
