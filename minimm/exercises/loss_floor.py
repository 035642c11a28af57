"""Lesson 09: how low a loss with soft targets can fall."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words
from ._formulas import log_softmax, softmax


def _inputs(seed, n, v, alpha=0.4, sharp=1.5):
    rng = np.random.default_rng(seed)
    return {"teacher_logits": sharp * rng.normal(size=(n, v)), "truth": rng.integers(0, v, size=n), "alpha": alpha}


def _cases():
    zero = "Where a target is 0, 0 times log 0 has to count as 0."
    sure = _inputs(3, 3, 5)
    return [
        Case(_inputs(0, 3, 5)),
        Case(_inputs(1, 6, 4, 0.7)),
        Case({**_inputs(2, 4, 7), "teacher_logits": np.zeros((4, 7))}, "a teacher that knows nothing"),
        Case({**sure, "teacher_logits": 300 * sure["teacher_logits"]}, "a teacher that is quite sure, of what may be wrong", zero),
        Case({**_inputs(4, 5, 3), "alpha": 0.0}, "alpha is 0: the truth alone", zero),
        Case({**_inputs(5, 2, 6), "alpha": 1.0}, "alpha is 1: the teacher alone"),
        Case(_inputs(6, 1, 8, 0.2), "a single word"),
    ]


def _entropy(target, axis=-1):
    return -(target * np.log(np.where(target > 0, target, 1))).sum(axis)


def _target(teacher_logits, truth, alpha):
    return (1 - alpha) * np.eye(teacher_logits.shape[1])[truth] + alpha * softmax(teacher_logits)


def _expected(teacher_logits, truth, alpha):
    total = 0.0
    for told, word in zip(teacher_logits, truth):
        q = np.exp(told - told.max()) / np.exp(told - told.max()).sum()
        for k, share in enumerate(q):
            y = alpha * share + (1 - alpha) * (k == word)
            total -= y * np.log(y) if y > 0 else 0.0
    return np.array(total / len(truth))


def _of_teacher(teacher_logits):
    return _entropy(softmax(teacher_logits)).mean()


def _against_teacher(teacher_logits, truth, alpha):
    log_q = np.maximum(log_softmax(teacher_logits), -1e6)
    return -(_target(teacher_logits, truth, alpha) * log_q).sum(-1).mean()


_tell = number_in_words("the floor is the mean entropy of the targets", within=(0, np.inf, "an entropy cannot be negative"))

EXERCISE = Exercise(
    name="loss_floor",
    lesson="09",
    difficulty=2,
    minutes=10,
    prompt="""Write `loss_floor(teacher_logits, truth, alpha)`: the least value that the distilled loss of masked words can
take, whatever the student says.

`teacher_logits` is a float tensor of shape `n v`, `truth` are the n words that stood there (whole numbers), `alpha` is a
number from 0 to 1. The target of a word is $(1 - \\alpha)\\,y + \\alpha\\,q$ with the truth y as 0 and 1 and the teacher's
softmax q; the loss is the mean cross-entropy over the n words, in nats. Return its floor, a float or a 0-d tensor.""",
    hints=(
        "A cross-entropy is least when the prediction is the target itself. What is left then?",
        "The entropy of a target, $-\\sum_k y_k \\log y_k$, of each word; then the mean over the words.",
        "With alpha = 0 targets are 0 and 1, and `0 * log(0)` is NaN. `torch.xlogy(y, y)` counts it as 0.",
    ),
    solution='''
def loss_floor(teacher_logits, truth, alpha):
    y = torch.nn.functional.one_hot(truth, teacher_logits.shape[1])
    target = (1 - alpha) * y + alpha * teacher_logits.softmax(dim=1)
    return -torch.xlogy(target, target).sum(dim=1).mean()
''',
    fact="The floor moves while the model trains: it is high where the teacher is unsure or disagrees with what was written, "
    "so a distilled loss can fall although the student gets no nearer to its target.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the entropy of the teacher alone? The target is the mixture.", lambda teacher_logits, truth, alpha: _of_teacher(teacher_logits)),
        ("alpha times the teacher's entropy? Entropies of mixtures do not add up like that.",
         lambda teacher_logits, truth, alpha: alpha * _of_teacher(teacher_logits)),
        ("the cross-entropy with the teacher in place of the entropy of the target?", _against_teacher),
        ("alpha and 1 - alpha swapped?", lambda alpha, **given: _expected(alpha=1 - alpha, **given)),
        ("summed over the words? The loss is their mean.", lambda **given: _expected(**given) * len(given["truth"])),
        ("averaged over the vocabulary as well? There it is a sum.",
         lambda **given: _expected(**given) / given["teacher_logits"].shape[1]),
        ("in bits? The natural logarithm is meant.", lambda **given: _expected(**given) / np.log(2)),
        ("the wrong sign? An entropy is not negative.", lambda **given: -_expected(**given)),
        ("the entropy of the mean target? Each word has one of its own.",
         lambda **given: _entropy(_target(**given).mean(0))),
        ("the softmax over the words that are hidden (columns)?", lambda teacher_logits, truth, alpha: _entropy(
            (1 - alpha) * np.eye(teacher_logits.shape[1])[truth] + alpha * softmax(teacher_logits, 0)).mean()),
        ("zero? Only targets of 0 and 1 let a loss fall that far.", lambda **given: np.array(0.0)),
        ("the largest entropy there is, that of a uniform target?", lambda **given: np.log(given["teacher_logits"].shape[1])),
        ("the likeliest word of the teacher alone? Its whole distribution counts.",
         lambda teacher_logits, truth, alpha: _entropy((1 - alpha) * np.eye(teacher_logits.shape[1])[truth]
                                                       + alpha * np.eye(teacher_logits.shape[1])[teacher_logits.argmax(1)]).mean()),
    ),
    tell=_tell,
    plain_number=True,
)
