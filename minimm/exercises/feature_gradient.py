"""Lesson 03: the gradient of the contrastive loss with respect to features that are not normalised yet."""

import numpy as np

from ._exercise import Case, Exercise
from ._formulas import columns_gradient, gradient_in_words, rows_gradient, unit


def _pairs(seed, b, d, log_scale):
    """Features of b pairs that agree a little, in lengths that differ from row to row."""
    rng = np.random.default_rng(seed)
    shared = 0.7 * rng.normal(size=(b, d))
    image, text = ((shared + rng.normal(size=(b, d))) * rng.uniform(0.5, 4, size=(b, 1)) for _ in range(2))
    return {"image_features": image, "text_features": text, "log_scale": np.array(log_scale)}


def _cases():
    first = _pairs(0, 5, 8, 1.3)
    same = np.ones((4, 6)) / 2
    return [
        Case(first),
        Case(_pairs(1, 3, 7, np.log(1 / 0.07)), "CLIP's first temperature, 0.07"),
        Case(_pairs(2, 6, 4, 0.0), "a scale of 1"),
        Case(_pairs(3, 2, 9, -0.6), "a scale below 1"),
        Case({**first, "image_features": 3 * first["image_features"]}, "case 1 with longer image features"),
        Case({"image_features": _pairs(4, 4, 6, 0.0)["image_features"], "text_features": same, "log_scale": np.array(2.0)},
             "all texts the same, so that nothing pulls anywhere"),
    ]


def _expected(image_features, text_features, log_scale):
    """By the quotient rule, row by row."""
    texts, scale = unit(text_features), np.exp(log_scale)
    logits = scale * unit(image_features) @ texts.T
    slope = (rows_gradient(logits) + columns_gradient(logits)) / 2
    rows = []
    for x, weights in zip(image_features, slope):
        length = np.sqrt(x @ x)
        jacobian = np.eye(len(x)) / length - np.outer(x, x) / length**3
        rows.append(jacobian @ (scale * weights @ texts))
    return np.array(rows)


def _like(slope=lambda logits: (rows_gradient(logits) + columns_gradient(logits)) / 2, scale=np.exp, texts=unit,
          project=True, divide=True, of_logits=np.exp):
    """The gradient with one part of it replaced."""
    def formula(image_features, text_features, log_scale):
        images = unit(image_features)
        logits = of_logits(log_scale) * images @ unit(text_features).T
        pull = scale(log_scale) * slope(logits) @ texts(text_features)
        if project:
            pull = pull - images * (images * pull).sum(axis=1, keepdims=True)
        return pull / np.sqrt((image_features**2).sum(axis=1, keepdims=True)) if divide else pull
    return formula


def _part(pull):
    """What is wrong in the last step alone: a function of the features as they came and the gradient at length 1."""
    def formula(image_features, text_features, log_scale):
        return pull(image_features, _like(project=False, divide=False)(image_features, text_features, log_scale))
    return formula


def _along(x, pull):
    return x * (x * pull).sum(axis=1, keepdims=True)


def _lengths(x):
    return np.sqrt((x**2).sum(axis=1, keepdims=True))


def _bare(image_features, text_features, log_scale):
    """Nothing is normalised, neither in the logits nor behind them."""
    logits = np.exp(log_scale) * image_features @ text_features.T
    return np.exp(log_scale) * (rows_gradient(logits) + columns_gradient(logits)) / 2 @ text_features


EXERCISE = Exercise(
    name="feature_gradient",
    lesson="03",
    difficulty=3,
    minutes=25,
    prompt="""Write `feature_gradient(image_features, text_features, log_scale)`: the gradient of CLIP's loss (the mean of
both directions) with respect to the picture features, by hand.

`image_features` and `text_features` are float tensors of shape `b d`, **not** normalised; `log_scale` is a 0-d tensor. The
loss takes $\\exp(\\text{log\\_scale})$ times the cosines as logits. Return its gradient with respect to `image_features`, a
tensor of shape `b d`. (Autograd would do as well, but then you would have learnt nothing.)""",
    hints=(
        "Three steps back: from the loss to the logits (`b b`), from the logits to the normalised features (`b d`), and"
        " from these to the features as they came.",
        "To the logits: (row softmax + column softmax - 2 eye) / (2 b). A logit is scale times the inner product of two"
        " vectors of length 1, so the second step is a matrix product with the normalised texts, times the scale.",
        r"With $\hat x = x / \lVert x \rVert$ and $g$ the gradient at $\hat x$, the gradient at $x$ is"
        r" $(g - \hat x \langle \hat x, g\rangle) / \lVert x \rVert$: what would only change the length is taken out.",
    ),
    solution='''
def feature_gradient(image_features, text_features, log_scale):
    lengths = image_features.norm(dim=1, keepdim=True)
    images = image_features / lengths
    texts = text_features / text_features.norm(dim=1, keepdim=True)
    scale, b = log_scale.exp(), len(images)
    logits = scale * images @ texts.T
    slope = (logits.softmax(1) + logits.softmax(0) - 2 * torch.eye(b, dtype=logits.dtype)) / (2 * b)
    pull = scale * slope @ texts  # at the normalised features
    along = (images * pull).sum(dim=1, keepdim=True)  # the part that would only make them longer or shorter
    return (pull - along * images) / lengths
''',
    fact="The gradient stands at a right angle to the feature, so a step of plain gradient descent makes every feature "
    "longer, and the longer it is the less it turns by the next step.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the normalisation left out? The part along the feature itself must go, and the length divides.",
         _like(project=False, divide=False)),
        ("the part along the feature itself not taken out?", _like(project=False)),
        ("not divided by the features' lengths?", _like(divide=False)),
        ("only the direction image to text (the rows)?", _like(rows_gradient)),
        ("only the direction text to image (the columns)?", _like(columns_gradient)),
        ("the two directions added instead of averaged?", _like(lambda logits: rows_gradient(logits) + columns_gradient(logits))),
        ("the scale forgotten? It stands between the logits and the features.", _like(scale=lambda log_scale: 1.0)),
        ("log_scale used without exp where the logits meet the features?", _like(scale=lambda log_scale: log_scale)),
        ("texts not normalised?", _like(texts=lambda texts: texts)),
        ("wrong sign? That is where a step of descent goes, not the gradient.",
         _like(lambda logits: -(rows_gradient(logits) + columns_gradient(logits)) / 2)),
        ("the slope transposed? Row n of it belongs to image n.",
         _like(lambda logits: (rows_gradient(logits) + columns_gradient(logits)).T / 2)),
        ("summed over the batch instead of averaged?",
         _like(lambda logits: len(logits) * (rows_gradient(logits) + columns_gradient(logits)) / 2)),
        ("the part along the feature taken from the feature as it came? It has to have length 1 there.",
         _part(lambda x, pull: (pull - _along(x, pull)) / _lengths(x))),
        ("the part along the feature added instead of taken out?",
         _part(lambda x, pull: (pull + _along(unit(x), pull)) / _lengths(x))),
        ("divided by the squared lengths? Once is enough.",
         _part(lambda x, pull: (pull - _along(unit(x), pull)) / _lengths(x) ** 2)),
        ("divided by one length, that of the whole matrix? Each row has its own.",
         _part(lambda x, pull: (pull - _along(unit(x), pull)) / np.sqrt((x**2).sum()))),
        ("multiplied by the lengths instead of divided?",
         _part(lambda x, pull: (pull - _along(unit(x), pull)) * _lengths(x))),
        ("the gradient with respect to the texts?",
         lambda image_features, text_features, log_scale: _like()(text_features, image_features, log_scale)),
        ("nothing normalised, not even in the logits? They are the scale times the cosines.", _bare),
        ("log_scale used as it is, without exp?", _like(scale=lambda log_scale: log_scale, of_logits=lambda log_scale: log_scale)),
        ("the scale multiplied in twice?", _like(scale=lambda log_scale: np.exp(2 * log_scale))),
        ("1 taken off the diagonal once for both softmaxes? Each of the two has a 1 of its own.",
         _like(lambda logits: (rows_gradient(logits) + columns_gradient(logits)) / 2 + np.eye(len(logits)) / (2 * len(logits)))),
        ("the right pairs' own pull (the 1 on the diagonal) forgotten?",
         _like(lambda logits: (rows_gradient(logits) + columns_gradient(logits)) / 2 + np.eye(len(logits)) / len(logits))),
    ),
    tell=gradient_in_words,
    shape="b d",
)
