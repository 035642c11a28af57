"""Lesson 08: the contrastive loss with a queue."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words
from ._formulas import log_softmax, unit


def _inputs(seed, b, d, k, temperature):
    """Features that agree a little with their own keys, and a queue of others; all of length 1."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(b, d))
    features, keys = (unit(0.8 * shared + rng.normal(size=(b, d))) for _ in range(2))
    return {"features": features, "keys": keys,
            "queue": unit(rng.normal(size=(d, k)), axis=0), "temperature": np.array(temperature)}


def _cases():
    return [
        Case(_inputs(0, 5, 7, 9, 0.3)),
        Case(_inputs(1, 6, 4, 3, 0.07), "a queue shorter than the batch, ALBEF's first temperature"),
        Case(_inputs(2, 1, 6, 8, 0.5), "a batch of one: its negatives are in the queue"),
        Case(_inputs(3, 4, 9, 13, 1.7)),
        Case(_inputs(4, 3, 5, 11, 0.005), "a temperature of 0.005",
             "Has exp left the range of float32? cross_entropy and log_softmax subtract the largest logit first."),
    ]


def _expected(features, keys, queue, temperature):
    total = 0.0
    for n, feature in enumerate(features):
        logits = np.array([*(key @ feature for key in keys), *(key @ feature for key in queue.T)]) / temperature
        top = logits.max()
        total += np.log(np.exp(logits - top).sum()) + top - logits[n]
    return np.array(total / len(features))


def _loss(features, candidates, temperature, targets=None, power=-1, axis=1):
    logits = features @ candidates * temperature**power
    n = np.arange(len(features))
    return -log_softmax(logits, axis)[n, n if targets is None else targets].mean()


def _slip(candidates, **changes):
    return lambda features, keys, queue, temperature: _loss(features, candidates(keys.T, queue), temperature, **changes)


def _both(keys, queue):
    return np.concatenate([keys, queue], axis=1)


def _own_and_queue(features, keys, queue, temperature):
    """MoCo's: the other keys of the batch are no negatives."""
    own = (features * keys).sum(axis=1, keepdims=True)
    return -log_softmax(np.concatenate([own, features @ queue], axis=1) / temperature)[:, 0].mean()


def _queue_without_own(features, keys, queue, temperature):
    """The own key is missing below the fraction line."""
    logits = features @ _both(keys.T, queue) / temperature
    n = np.arange(len(features))
    rest = logits.copy()
    rest[n, n] = -np.inf
    return (np.log(np.exp(rest - logits.max()).sum(axis=1)) + logits.max() - logits[n, n]).mean()


EXERCISE = Exercise(
    name="queue_loss",
    lesson="08",
    difficulty=2,
    minutes=15,
    prompt="""Write `queue_loss(features, keys, queue, temperature)`: one direction of ALBEF's contrastive loss, without
distillation.

`features` (`b d`) are those of the batch's pictures, `keys` (`b d`) what the momentum model makes of their sentences:
key n belongs to feature n. `queue` (`d k`) holds keys of earlier batches, a column each. All have length 1.
`temperature` is a 0-d tensor. Each feature looks for its own key among all b + k keys: logits are inner products over
the temperature. Return the mean cross-entropy, a 0-d tensor. Gradients must flow back to `features` and
`temperature`.""",
    hints=(
        "Put all keys side by side first, `d b+k`: those of the batch, then the queue. `keys` has a key a row, `queue`"
        " a key a column.",
        "One matrix product gives `b b+k` logits. In which column does the right key of feature n stand, if the batch's"
        " keys come first?",
        "`torch.nn.functional.cross_entropy(logits, torch.arange(b))` takes the mean over the rows.",
    ),
    solution='''
def queue_loss(features, keys, queue, temperature):
    candidates = torch.cat([keys.T, queue], dim=1)  # d b+k
    logits = features @ candidates / temperature
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(features)))
''',
    fact="With a queue even a batch of one learns something, and chance is ln(b + k), not ln b. In the first steps the "
    "loss can lie below it all the same: a queue of random directions is easy to tell from real keys.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the queue left out? Its keys are negatives too.", _slip(lambda keys, queue: keys)),
        ("the other keys of the batch left out? That is MoCo; in ALBEF they are negatives too.", _own_and_queue),
        ("the queue in front, but the targets as if the batch came first?",
         _slip(lambda keys, queue: _both(queue, keys))),
        ("the batch's keys among the candidates twice? They join the queue after the loss.",
         _slip(lambda keys, queue: _both(_both(keys, queue), keys))),
        ("the own key missing in the sum of the softmax?", _queue_without_own),
        ("multiplied by the temperature? It is divided by.", _slip(_both, power=1)),
        ("the temperature left out?", _slip(_both, power=0)),
        ("divided by the exponential of the temperature, as if its logarithm were learnt?",
         lambda features, keys, queue, temperature: _loss(features, _both(keys.T, queue), np.exp(temperature))),
        ("the first key taken as the right one for all?", _slip(_both, targets=0)),
        ("the softmax over the batch instead of the keys?", _slip(_both, axis=0)),
        ("the sum over the batch instead of the mean?", lambda features, keys, queue, temperature: (
            len(features) * _expected(features, keys, queue, temperature))),
        ("wrong sign?", lambda features, keys, queue, temperature: -_expected(features, keys, queue, temperature)),
    ),
    tell=number_in_words("the loss must be the mean of -log p(own key) among the keys of the batch and of the queue"),
    gradient_to=("features", "temperature"),
)
