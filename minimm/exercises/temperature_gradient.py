"""Lesson 03: what the contrastive loss tells the temperature."""

import numpy as np

from ._exercise import Case, Exercise
from ._formulas import log_softmax, softmax


def _cosines(seed, b, k, log_scale, right=0.3, level=0.0):
    """Cosines of b queries with k candidates; the first ones are a little higher."""
    rng = np.random.default_rng(seed)
    cosines = np.tanh(0.5 * rng.normal(size=(b, k)) + right * (np.arange(k) == 0) + level)
    return {"cosines": cosines, "log_scale": np.array(log_scale)}


def _cases():
    first = _cosines(0, 4, 7, 1.4)
    return [
        Case(first),
        Case(_cosines(1, 6, 3, np.log(1 / 0.07)), "CLIP's first temperature, 0.07"),
        Case(_cosines(2, 3, 9, -0.5), "a scale below 1"),
        Case(_cosines(3, 1, 5, 0.8), "a single query"),
        Case({**first, "cosines": first["cosines"] - 0.2}, "case 1 with all cosines 0.2 lower"),
        Case(_cosines(4, 5, 4, np.log(100), level=1.0), "a scale of 100",  # logits up to 95: exp(89) is no float32
             "Has exp left the range of float32? softmax subtracts the largest logit first."),
    ]


def _expected(cosines, log_scale):
    """The mean logit that the model expects, minus that of the right candidate."""
    scale = np.exp(log_scale)
    slopes = []
    for row in cosines:
        weights = np.exp(scale * (row - row.max()))
        slopes.append(scale * (weights @ row / weights.sum() - row[0]))
    return np.mean(slopes)


def _slope(cosines, log_scale):
    """The gradient with respect to the scale itself, for every query."""
    return (softmax(np.exp(log_scale) * cosines) * cosines).sum(axis=1) - cosines[:, 0]


def _own_column(cosines, log_scale):
    rows = np.arange(len(cosines))
    return np.exp(log_scale) * (_slope(cosines, log_scale) + cosines[:, 0] - cosines[rows, rows % cosines.shape[1]]).mean()


def _tell(came, expected):
    if came * expected < 0:
        return "the sign is wrong: with this gradient the scale would move the other way."
    side = "large" if abs(came) > abs(expected) else "small"
    return f"the result is not the slope of the loss; yours is {came:.4g}, in size too {side}."


EXERCISE = Exercise(
    name="temperature_gradient",
    lesson="03",
    difficulty=2,
    minutes=15,
    prompt="""Write `temperature_gradient(cosines, log_scale)`: the gradient of the contrastive loss with respect to
`log_scale`, by hand.

`cosines` is a float tensor of shape `b k`: row n says how similar query n is to each of its k candidates. The right one is
column 0 in every row (as in MoCo). `log_scale` is a 0-d tensor t; the logits are $e^t$ times the cosines, and the loss is
the mean over the queries of the cross-entropy with column 0 as the target. Return $d\\mathcal{L}/dt$, a float or a 0-d
tensor.""",
    hints=(
        "The chain rule over all logits: each of them depends on t. The slope of the loss at logit nj is"
        " (p_nj - [j = 0]) / b.",
        "A logit is e^t times a cosine, so its slope along t is the logit itself.",
        "For each query: the probabilities' mean of its logits, minus the logit of column 0. Then the mean over the queries.",
    ),
    solution='''
def temperature_gradient(cosines, log_scale):
    logits = log_scale.exp() * cosines
    expected = (logits.softmax(dim=1) * logits).sum(dim=1)  # the mean logit that the model expects
    return (expected - logits[:, 0]).mean()
''',
    fact="The slope is zero where the right candidate's logit is just what the model expects on average. Once every right "
    "candidate is the most similar one, the slope is negative at every scale, and only a cap ends the growth.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("that is the gradient with respect to the scale; its factor e^t is missing.", lambda cosines, log_scale: _slope(cosines, log_scale).mean()),
        ("that is the gradient with respect to the temperature 1 / scale.",
         lambda cosines, log_scale: -np.exp(2 * log_scale) * _slope(cosines, log_scale).mean()),
        ("wrong sign?", lambda cosines, log_scale: -np.exp(log_scale) * _slope(cosines, log_scale).mean()),
        ("summed over the queries instead of averaged?",
         lambda cosines, log_scale: np.exp(log_scale) * _slope(cosines, log_scale).sum()),
        ("divided by the number of all cosines instead of the number of queries?",
         lambda cosines, log_scale: np.exp(log_scale) * _slope(cosines, log_scale).mean() / cosines.shape[1]),
        ("the right candidate's own share forgotten? It is the 1 in p - [j = 0].",
         lambda cosines, log_scale: np.exp(log_scale) * (softmax(np.exp(log_scale) * cosines) * cosines).sum(axis=1).mean()),
        ("probabilities of the bare cosines, without the scale?",
         lambda cosines, log_scale: np.exp(log_scale) * ((softmax(cosines) * cosines).sum(axis=1) - cosines[:, 0]).mean()),
        ("log_scale used as it is, without exp?", lambda cosines, log_scale: log_scale * (
            (softmax(log_scale * cosines) * cosines).sum(axis=1) - cosines[:, 0]).mean()),
        ("the plain mean of the row in place of the mean by its probabilities?",
         lambda cosines, log_scale: np.exp(log_scale) * (cosines.mean(axis=1) - cosines[:, 0]).mean()),
        ("column n taken for the right one of row n? Here it is column 0.", _own_column),
        ("only the right candidate's own term, (p - 1) times its logit? The logits of the others depend on t as well.",
         lambda cosines, log_scale: np.exp(log_scale) * (
             (softmax(np.exp(log_scale) * cosines)[:, 0] - 1) * cosines[:, 0]).mean()),
        ("only the wrong candidates' terms? The right one's logit depends on t as well.",
         lambda cosines, log_scale: np.exp(log_scale) * (
             (softmax(np.exp(log_scale) * cosines) * cosines)[:, 1:].sum(axis=1)).mean()),
        ("the loss itself instead of its gradient?",
         lambda cosines, log_scale: -log_softmax(np.exp(log_scale) * cosines)[:, 0].mean()),
        ("cosines divided by the scale instead of multiplied?", lambda cosines, log_scale: -np.exp(-log_scale) * (
            (softmax(np.exp(-log_scale) * cosines) * cosines).sum(axis=1) - cosines[:, 0]).mean()),
        ("softmax over the columns instead of the rows?", lambda cosines, log_scale: np.exp(log_scale) * (
            (softmax(np.exp(log_scale) * cosines, 0) * cosines).sum(axis=1) - cosines[:, 0]).mean()),
    ),
    tell=_tell,
    plain_number=True,
)
