"""Lesson 09: where the slow copy of a model is, step by step."""

import numpy as np

from ._exercise import Case, Exercise


def _inputs(seed, t, d, m):
    """Weights that drift away from their start, with noise: `t d`."""
    rng = np.random.default_rng(seed)
    return {"weights": rng.normal(size=(1, d)) + np.cumsum(0.4 + rng.normal(size=(t, d)), axis=0), "m": m}


def _cases():
    return [
        Case(_inputs(0, 7, 3, 0.9)),
        Case(_inputs(1, 4, 6, 0.6)),
        Case(_inputs(2, 9, 2, 0.995), "a long memory"),
        Case(_inputs(3, 5, 4, 0.0), "no memory at all"),
        Case(_inputs(4, 6, 3, 1.0), "a copy that never moves"),
        Case(_inputs(5, 1, 5, 0.8), "before the first step"),
        Case({**_inputs(6, 8, 3, 0.7), "weights": np.full((8, 3), 2.5) * [1, -2, 0.5]}, "a student that stands still"),
    ]


def _ages(t, m):
    """How much row j counts in the copy after row i: `t t`, each row adds up to 1."""
    i, j = np.indices((t, t))
    share = np.where(j > 0, 1 - m, 1.0) * np.where(i >= j, float(m) ** np.maximum(i - j, 0), 0.0)
    return np.where(i >= j, share, 0.0)


def _expected(weights, m):
    return _ages(len(weights), m) @ weights


def _walk(weights, start, step):
    """A path: its start, then what `step` makes of the last point and of the number of the row."""
    path = [start]
    for i in range(1, len(weights)):
        path.append(step(path[-1], i))
    return np.stack(path)


def _corrected(weights, m):
    total = 1 - float(m) ** np.arange(1, len(weights) + 1)[:, None]
    return _walk(weights, (1 - m) * weights[0], lambda slow, i: m * slow + (1 - m) * weights[i]) / total


def _tell(came, expected):
    if not np.allclose(came[0], expected[0], rtol=1e-4, atol=1e-4):
        return "before the first step the copy has the weights that the student starts with; yours has others."
    row = int(np.flatnonzero(~np.isclose(came, expected, rtol=1e-4, atol=1e-4).all(axis=1))[0])
    return f"the copy is not where the update puts it; the first row that is off is {row}."


EXERCISE = Exercise(
    name="momentum_path",
    lesson="09",
    difficulty=1,
    minutes=10,
    prompt="""Write `momentum_path(weights, m)`: where is the slow copy of a model after every step?

`weights` is a float tensor of shape `t d`: row 0 holds the d weights with which the student starts, row i those after its
step i. The copy starts where the student starts. After every step it moves: $\\theta_m \\leftarrow m\\,\\theta_m +
(1 - m)\\,\\theta$, with the student's *new* weights $\\theta$; `m` is a number from 0 to 1. Return the copy's weights, `t d`,
row 0 before the first step.""",
    hints=(
        "One row after the other: keep the copy's weights in a variable, start it with `weights[0]`.",
        "In the loop over `weights[1:]` make a new tensor, `m * slow + (1 - m) * fast`. An update in place would change "
        "rows that you have kept (and the input).",
        "Collect the rows in a list and put them together with `torch.stack`.",
    ),
    solution='''
def momentum_path(weights, m):
    slow = weights[0]
    path = [slow]
    for fast in weights[1:]:
        slow = m * slow + (1 - m) * fast
        path.append(slow)
    return torch.stack(path)
''',
    fact="A student that moves on steadily is always ahead of its copy by the same distance: m / (1 - m) of its steps.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("m and 1 - m swapped? The copy is slow: it keeps the share m of itself.", lambda weights, m: _expected(weights, 1 - m)),
        ("the copy started with zeros?",
         lambda weights, m: _walk(weights, 0 * weights[0], lambda slow, i: m * slow + (1 - m) * weights[i])),
        ("the first weights counted with 1 - m, as if the copy were zero before?",
         lambda weights, m: _walk(weights, (1 - m) * weights[0], lambda slow, i: m * slow + (1 - m) * weights[i])),
        ("a correction for a start at zero, as Adam has it? The copy starts where the student starts.", _corrected),
        ("updated with the student's weights of the step before?",
         lambda weights, m: _walk(weights, weights[0], lambda slow, i: m * slow + (1 - m) * weights[i - 1])),
        ("a plain mean of all weights so far?", lambda weights, m: np.cumsum(weights, 0) / np.arange(1, len(weights) + 1)[:, None]),
        ("the factor 1 - m left out?",
         lambda weights, m: _walk(weights, weights[0], lambda slow, i: m * slow + weights[i])),
        ("the factor m left out?",
         lambda weights, m: _walk(weights, weights[0], lambda slow, i: slow + (1 - m) * weights[i])),
        ("the student's two last weights mixed? The copy remembers itself, not the student's last step.",
         lambda weights, m: _walk(weights, weights[0], lambda slow, i: m * weights[i - 1] + (1 - m) * weights[i])),
        ("always mixed with the start? The copy moves on from where it was.",
         lambda weights, m: _walk(weights, weights[0], lambda slow, i: m * weights[0] + (1 - m) * weights[i])),
    ),
    tell=_tell,
    shape="t d",
)
