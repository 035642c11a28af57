"""Lesson 09: the targets of the contrastive loss, partly the truth, partly what the momentum model believes."""

import numpy as np

from ._exercise import Case, Exercise, furthest_row
from ._formulas import softmax, unit


def _inputs(seed, b, d, k, temperature=0.3, alpha=0.4):
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(b, d))
    return {"momentum_images": unit(texts + rng.normal(size=(b, d))), "momentum_texts": unit(texts),
            "queue": unit(rng.normal(size=(d, k)), axis=0), "temperature": np.array(temperature), "alpha": alpha}


def _cases():
    one = _inputs(3, 1, 4, 6)
    return [
        Case(_inputs(0, 4, 5, 7)),
        Case(_inputs(1, 3, 6, 2, 0.7, 0.25)),
        Case(_inputs(2, 5, 3, 8, 0.07, 0.8), "ALBEF's first temperature"),
        Case(one, "a single pair, with the queue's keys as its only rivals"),
        Case({**_inputs(4, 4, 3, 5), "alpha": 0.0}, "alpha is 0: the truth alone"),
        Case({**_inputs(5, 3, 4, 5), "alpha": 1.0}, "alpha is 1: the momentum model alone"),
        Case(_inputs(6, 4, 6, 5, 0.005), "a temperature of 0.005",
             "Has exp left the range of float32? softmax subtracts the largest first."),
    ]


def _mixed(believed, alpha, hard=None):
    b, k = believed.shape
    return alpha * believed + (1 - alpha) * (np.eye(b, k) if hard is None else hard)


def _expected(momentum_images, momentum_texts, queue, temperature, alpha):
    similarity = np.concatenate([momentum_images @ momentum_texts.T, momentum_images @ queue], axis=1)
    weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / temperature)
    target = alpha * weights / weights.sum(axis=1, keepdims=True)
    target[np.arange(len(target)), np.arange(len(target))] += 1 - alpha
    return target


def _scores(images, texts, queue):
    return images @ np.concatenate([texts.T, queue], axis=1)


def _slip(change):
    """A slip in what the momentum model believes: a function of its scores and of the temperature."""
    def slip(momentum_images, momentum_texts, queue, temperature, alpha):
        return _mixed(change(_scores(momentum_images, momentum_texts, queue), temperature), alpha)

    return slip


def _apart(scores, temperature):
    b = len(scores)
    return np.concatenate([softmax(scores[:, :b] / temperature), softmax(scores[:, b:] / temperature)], axis=1) / 2


def _queue_first(momentum_images, momentum_texts, queue, temperature, alpha):
    scores = momentum_images @ np.concatenate([queue, momentum_texts.T], axis=1)
    b, k = scores.shape
    return _mixed(softmax(scores / temperature), alpha, np.eye(b, k, k - b))


def _half_queue_first(momentum_images, momentum_texts, queue, temperature, alpha):
    scores = momentum_images @ np.concatenate([queue, momentum_texts.T], axis=1)
    return _mixed(softmax(scores / temperature), alpha)


def _logits_mixed(momentum_images, momentum_texts, queue, temperature, alpha):
    return softmax(_mixed(_scores(momentum_images, momentum_texts, queue) / temperature, alpha))


def _tell(came, expected):
    off = np.abs(came.sum(axis=1) - 1)
    if off.max() > 1e-3:
        return f"every row is a distribution and adds up to 1; yours has a sum of {came.sum(axis=1)[off.argmax()]:.4g}."
    row = furthest_row(came, expected)
    return f"the rows add up to 1, but the shares are wrong; the largest difference is in row {row}."


EXERCISE = Exercise(
    name="pseudo_targets",
    lesson="09",
    difficulty=2,
    minutes=15,
    prompt="""Write `pseudo_targets(momentum_images, momentum_texts, queue, temperature, alpha)`: the targets of the
contrastive loss from picture to text (equation 6).

`momentum_images` and `momentum_texts` are float tensors of shape `b d`, the momentum model's features of the b pairs of
the batch; `queue` is `d k`, a column a text of earlier batches. All have length 1. The keys are the texts of the batch and,
behind them, those of the queue. What the momentum model believes is a softmax over its cosines of a picture with all keys, divided
by the 0-d tensor `temperature`. Return `b b+k`: (1 - alpha) times the truth plus `alpha` (a number) times that belief.""",
    hints=(
        "The keys as columns: `torch.cat([momentum_texts.T, queue], dim=1)` is `d b+k`. One matrix product gives all cosines.",
        "Each picture has a row, so the softmax runs over `dim=1`, batch and queue together.",
        "The truth of picture n is key n, and nothing else: `torch.eye(b, b + k)`. Mix the two distributions, each with its share.",
    ),
    solution='''
def pseudo_targets(momentum_images, momentum_texts, queue, temperature, alpha):
    keys = torch.cat([momentum_texts.T, queue], dim=1)  # d b+k
    believed = (momentum_images @ keys / temperature).softmax(dim=1)
    truth = torch.eye(*believed.shape)
    return (1 - alpha) * truth + alpha * believed
''',
    fact="The student's features are nowhere in it: its pictures meet the same keys, and that is all the two have in common. "
    "So no gradient flows into a target, and the authors detach it all the same.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("alpha and 1 - alpha swapped? alpha is what the momentum model's word counts.",
         lambda alpha, **given: _expected(alpha=1 - alpha, **given)),
        ("multiplied by the temperature instead of divided?", _slip(lambda scores, t: softmax(scores * t))),
        ("temperature left out?", _slip(lambda scores, t: softmax(scores))),
        ("no softmax: cosines are no probabilities.", _slip(lambda scores, t: scores / t)),
        ("the softmax over the pictures (columns) instead of the keys?", _slip(lambda scores, t: softmax(scores / t, 0))),
        ("a softmax over the batch and one over the queue? All keys compete in one.", _slip(_apart)),
        ("the truth mixed in before the softmax? Distributions are mixed, not logits.", _logits_mixed),
        ("the queue in front of the batch?", _queue_first),
        ("the queue in front of the batch, but the truth still in the first columns?", _half_queue_first),
        ("the texts compared with the keys? The question is a picture's.",
         lambda momentum_images, **given: _expected(momentum_images=given["momentum_texts"], **given)),
        ("the pictures' own features among the keys, in place of the texts?",
         lambda momentum_texts, **given: _expected(momentum_texts=given["momentum_images"], **given)),
        ("that is the belief alone; the truth is missing.", lambda **given: _expected(**{**given, "alpha": 1.0})),
        ("that is the truth alone; what does the momentum model believe?", lambda **given: _expected(**{**given, "alpha": 0.0})),
        ("only the likeliest key of the momentum model? Its whole distribution counts.",
         _slip(lambda scores, t: np.eye(scores.shape[1])[scores.argmax(1)])),
        ("the truth added whole, without 1 - alpha?", lambda **given: _expected(**given) + given["alpha"] * np.eye(
            len(given["momentum_images"]), len(given["momentum_images"]) + given["queue"].shape[1])),
        ("the belief added whole, without alpha?", lambda **given: _expected(**given) + (1 - given["alpha"]) * _expected(
            **{**given, "alpha": 1.0})),
    ),
    tell=_tell,
    shape="b b+k",
)
