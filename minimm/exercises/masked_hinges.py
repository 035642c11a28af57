"""Lesson 04: the sum of hinges, with captions of the same picture left out."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words


def _pairs(seed, b, d, index, margin, agreement=0.6):
    """Features of length 1 of b pairs that agree a little."""
    rng = np.random.default_rng(seed)
    shared = agreement * rng.normal(size=(b, d))
    image, text = (shared + rng.normal(size=(b, d)) for _ in range(2))
    return {"image_features": image / np.linalg.norm(image, axis=1, keepdims=True),
            "text_features": text / np.linalg.norm(text, axis=1, keepdims=True),
            "index": np.array(index), "margin": margin}


def _cases():
    first = _pairs(65, 6, 4, [3, 8, 3, 1, 8, 8], 0.21)
    order = [4, 2, 0, 5, 3, 1]
    return [
        Case(first),
        Case(_pairs(11, 5, 7, [9, 2, 4, 2, 0], 0.53)),
        Case(_pairs(14, 7, 3, [6, 5, 4, 3, 2, 1, 0], 0.13), "seven different pictures"),
        Case({**first, **{name: first[name][order] for name in ("image_features", "text_features", "index")}},
             "the pairs of case 1 in another order"),
        Case(_pairs(17, 4, 6, [0, 0, 1, 1], 0.0), "without a margin"),
        Case(_pairs(18, 3, 5, [7, 7, 7], 0.31), "all captions are of one picture"),
    ]


def _expected(image_features, text_features, index, margin):
    scores = [[sum(x * y for x, y in zip(image, text)) for text in text_features] for image in image_features]
    total = 0.0
    for i in range(len(scores)):
        for j in range(len(scores)):
            if index[i] != index[j]:
                total += max(0.0, margin - scores[i][i] + scores[i][j])  # sentence j for picture i
                total += max(0.0, margin - scores[i][i] + scores[j][i])  # picture j for sentence i
    return np.array(total)


def _parts(image_features, text_features, index, margin):
    """The hinges of wrong sentences and of wrong pictures, `b b`, and which pairs count."""
    scores = image_features @ text_features.T
    right = np.diag(scores)
    texts, images = (np.maximum(0, margin + scores - own) for own in (right[:, None], right[None, :]))
    return texts, images, index[:, None] != index[None, :]


def _total(texts, images, count):
    return ((texts + images) * count).sum()


def _slip(formula):
    """A slip in what is done with the hinges: a function of both tables and of the pairs that count."""
    return lambda **inputs: formula(*_parts(**inputs))


def _masked_before(image_features, text_features, index, margin):
    scores = image_features @ text_features.T
    right, kept = np.diag(scores), np.where(index[:, None] != index[None, :], scores, 0)
    return sum(np.maximum(0, margin + kept - own).sum() for own in (right[:, None], right[None, :]))


def _wrong_sign(image_features, text_features, index, margin):
    return _expected(-image_features, text_features, index, margin)


def _minus_margin(image_features, text_features, index, margin):
    return _expected(image_features, text_features, index, -margin)


def _no_hinge(image_features, text_features, index, margin):
    scores, count = image_features @ text_features.T, index[:, None] != index[None, :]
    right = np.diag(scores)
    return ((2 * margin + 2 * scores - right[:, None] - right[None, :]) * count).sum()


_tell = number_in_words(
    "the loss must be the sum of the hinges of all wrong sentences and of all wrong pictures, where what belongs to the "
    "same picture is not wrong")


EXERCISE = Exercise(
    name="masked_hinges",
    lesson="04",
    difficulty=2,
    minutes=15,
    prompt="""Write `masked_hinges(image_features, text_features, index, margin)`: the sum of hinges of a batch in
which several captions can belong to the same picture.

`image_features` and `text_features` are float tensors of shape `b d` with rows of length 1; pair n is row n of both.
`index` is an int64 tensor of shape `b`: the number of the picture that pair n is about. `margin` is a float, 0 or
more. The scores are the inner products. Wrong partners of pair i are the rows j with another index. Each costs
$[m - s_{ii} + s_{ij}]_+$ as a sentence for picture i, and $[m - s_{ii} + s_{ji}]_+$ as a picture for sentence i.
Return the sum of all of them, a 0-d tensor. Gradients must flow back to both features.""",
    hints=(
        "The scores are one matrix product, `b b`. Pair i's own score is on the diagonal: `scores.diagonal()`.",
        "Compare along the rows with the own score as a column (`[:, None]`): wrong sentences. Along the columns with "
        "it as a row (`[None, :]`): wrong pictures. `clamp(min=0)` is the hinge.",
        "`index[:, None] == index[None, :]` is True where two pairs are about the same picture, the diagonal included. "
        "Set the hinges there to 0 (`masked_fill`), after the clamp; then sum.",
    ),
    solution='''
def masked_hinges(image_features, text_features, index, margin):
    scores = image_features @ text_features.T  # b b: images down, texts across
    own = scores.diagonal()
    wrong_texts = (margin + scores - own[:, None]).clamp(min=0)
    wrong_images = (margin + scores - own[None, :]).clamp(min=0)
    same = index[:, None] == index[None, :]
    return (wrong_texts + wrong_images).masked_fill(same, 0).sum()
''',
    fact="In the authors' batches two captions of one picture can meet, and then punish each other. With 29,000 "
    "pictures of five captions that is rare. A data set of a few hundred pictures is another matter.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the index ignored? Captions of one picture are no negatives of it.",
         _slip(lambda texts, images, count: _total(texts, images, 1 - np.eye(len(count))))),
        ("nothing left out? The pair itself costs the margin, in both directions.",
         _slip(lambda texts, images, count: _total(texts, images, 1))),
        ("scores set to 0 in front of the hinge? What is left out then still costs something.", _masked_before),
        ("the mask the wrong way round? These are the hinges of the same picture.",
         _slip(lambda texts, images, count: _total(texts, images, ~count))),
        ("only the wrong sentences? The wrong pictures count too.",
         _slip(lambda texts, images, count: (texts * count).sum())),
        ("only the wrong pictures? The wrong sentences count too.",
         _slip(lambda texts, images, count: (images * count).sum())),
        ("the wrong sentences twice? The other direction looks along the columns.",
         _slip(lambda texts, images, count: 2 * (texts * count).sum())),
        ("the hardest negatives alone? Here all of them count.",
         _slip(lambda texts, images, count: (texts * count).max(axis=1).sum() + (images * count).max(axis=0).sum())),
        ("no hinge? A wrong partner that is far away costs nothing, not less than nothing.", _no_hinge),
        ("the own and the wrong score exchanged?", _wrong_sign),
        ("the margin subtracted? It is added to the wrong score.", _minus_margin),
        ("the mean over the batch? The authors sum.",
         _slip(lambda texts, images, count: _total(texts, images, count) / len(count))),
        ("the mean over all pairs? The authors sum.",
         _slip(lambda texts, images, count: _total(texts, images, count) / count.size)),
        ("the mean of the two directions? The authors add them.",
         _slip(lambda texts, images, count: _total(texts, images, count) / 2)),
    ),
    tell=_tell,
    gradient_to=("image_features", "text_features"),
)
