"""Lesson 09: which way a soft target pulls."""

import numpy as np

from ._exercise import Case, Exercise, furthest_row
from ._formulas import softmax


def _inputs(seed, n, v, alpha=0.4, sharp=1.5):
    rng = np.random.default_rng(seed)
    return {"logits": rng.normal(size=(n, v)), "teacher_logits": sharp * rng.normal(size=(n, v)),
            "truth": rng.integers(0, v, size=n), "alpha": alpha}


def _cases():
    same = _inputs(3, 4, 6, 0.3)
    return [
        Case(_inputs(0, 3, 5)),
        Case(_inputs(1, 6, 4, 0.7)),
        Case(_inputs(2, 2, 9, 0.15, sharp=4.0), "a teacher that is sure"),
        Case({**same, "teacher_logits": same["logits"]}, "a teacher that says what the student says"),
        Case({**_inputs(4, 5, 3), "alpha": 0.0}, "alpha is 0: the truth alone"),
        Case({**_inputs(5, 3, 4), "alpha": 1.0}, "alpha is 1: the teacher alone"),
        Case({**_inputs(6, 1, 7), "logits": 120 * _inputs(6, 1, 7)["logits"]}, "a student that is very sure",
             "Has exp left the range of float32? softmax subtracts the largest first."),
    ]


def _rows(logits, teacher_logits, truth, alpha):
    """(p, q, the truth as 0 and 1), `n v` each."""
    return softmax(logits), softmax(teacher_logits), np.eye(logits.shape[1])[truth]


def _expected(logits, teacher_logits, truth, alpha):
    result = np.zeros_like(logits)
    for i, (row, told, word) in enumerate(zip(logits, teacher_logits, truth)):
        p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (row, told))
        result[i] = p - alpha * q
        result[i, word] -= 1 - alpha
    return result / len(logits)


def _slip(change):
    """A slip as a function of p, q, the truth, alpha; divided by n unless it says otherwise."""
    def slip(logits, teacher_logits, truth, alpha):
        return change(*_rows(logits, teacher_logits, truth, alpha), alpha) / len(logits)

    return slip


def _bare_teacher(logits, teacher_logits, truth, alpha):
    p, _, y = _rows(logits, teacher_logits, truth, alpha)
    return (p - (1 - alpha) * y - alpha * teacher_logits) / len(logits)


def _bare_student(logits, teacher_logits, truth, alpha):
    _, q, y = _rows(logits, teacher_logits, truth, alpha)
    return (logits - (1 - alpha) * y - alpha * q) / len(logits)


def _tell(came, expected):
    factor = (came * expected).sum() / max((expected ** 2).sum(), 1e-12)
    if factor < 0 and np.allclose(came, factor * expected, rtol=1e-3, atol=1e-6):
        return "every entry has the wrong sign: a step against this gradient would raise the loss."
    if factor > 0 and np.allclose(came, factor * expected, rtol=1e-3, atol=1e-6):
        side = "large" if factor > 1 else "small"
        return f"the direction is right, but all entries are too {side}, by one and the same factor."
    return f"the gradient is not the slope of the loss; the largest difference is in row {furthest_row(came, expected)}."


EXERCISE = Exercise(
    name="distillation_gradient",
    lesson="09",
    difficulty=2,
    minutes=10,
    prompt="""Write `distillation_gradient(logits, teacher_logits, truth, alpha)`: the gradient of the distilled loss of
masked words with respect to the student's logits, by hand (equation 7).

`logits` and `teacher_logits` are float tensors of shape `n v`: for each of n hidden words, what student and teacher say of
the v words of the vocabulary. `truth` (`n`, of whole numbers) are the words that stood there, `alpha` is a number from 0 to
1. The loss is the mean over the n words of the cross-entropy with the target $(1 - \\alpha)\\,y + \\alpha\\,q$. No
gradient flows into the teacher. Return `n v`.""",
    hints=(
        "A cross-entropy whose target adds up to 1 has the slope: what is predicted minus the target.",
        "Predicted is `logits.softmax(dim=1)`; the target is the mixture of the truth, as 0 and 1, and of the teacher's softmax.",
        "The mean over n words divides every slope by n. `torch.nn.functional.one_hot(truth, v)` gives the truth as 0 and 1.",
    ),
    solution='''
def distillation_gradient(logits, teacher_logits, truth, alpha):
    n, v = logits.shape
    y = torch.nn.functional.one_hot(truth, v)
    target = (1 - alpha) * y + alpha * teacher_logits.softmax(dim=1)
    return (logits.softmax(dim=1) - target) / n
''',
    fact="Where the teacher says just what the student says, the gradient is 1 - alpha times the one without a teacher. "
    "Distillation teaches only by what the two do not agree on.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the division by n forgotten? The loss is a mean.", lambda **given: _expected(**given) * len(given["logits"])),
        ("divided by the size of the vocabulary?",
         lambda **given: _expected(**given) * len(given["logits"]) / given["logits"].shape[1]),
        ("divided by n v? The mean is over the hidden words alone.",
         lambda **given: _expected(**given) / given["logits"].shape[1]),
        ("the wrong sign?", lambda **given: -_expected(**given)),
        ("alpha and 1 - alpha swapped?", lambda alpha, **given: _expected(alpha=1 - alpha, **given)),
        ("that is the gradient without a teacher.", lambda **given: _expected(**{**given, "alpha": 0.0})),
        ("that is the gradient without the truth.", lambda **given: _expected(**{**given, "alpha": 1.0})),
        ("only the truth's part? The teacher's part has a slope as well.", _slip(lambda p, q, y, a: (1 - a) * (p - y))),
        ("only the teacher's part? The truth's part has a slope as well.", _slip(lambda p, q, y, a: a * (p - q))),
        ("both parts whole, without their shares?", _slip(lambda p, q, y, a: 2 * p - y - q)),
        ("the target alone? What the student predicts is missing.", _slip(lambda p, q, y, a: -(1 - a) * y - a * q)),
        ("the teacher's logits taken for probabilities?", _bare_teacher),
        ("the student's logits taken for probabilities?", _bare_student),
        ("only the teacher's likeliest word? Its whole distribution counts.",
         _slip(lambda p, q, y, a: p - (1 - a) * y - a * np.eye(q.shape[1])[q.argmax(1)])),
        ("teacher and student swapped?", lambda logits, teacher_logits, **given: _expected(
            logits=teacher_logits, teacher_logits=logits, **given)),
        ("the softmax over the words that are hidden (columns) instead of the vocabulary?",
         lambda logits, teacher_logits, truth, alpha: (softmax(logits, 0) - (1 - alpha) * np.eye(logits.shape[1])[truth]
                                                       - alpha * softmax(teacher_logits, 0)) / len(logits)),
    ),
    tell=_tell,
    shape="n v",
    without=("cross_entropy",),
)
