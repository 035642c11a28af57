"""Lesson 07: IPOT, the inexact proximal point method for optimal transport."""

import numpy as np

from ._exercise import Case, Exercise
from ._formulas import softmax


def _cost(seed, m, n):
    """Cosine distances: from 0 to 2."""
    return 1 + np.random.default_rng(seed).uniform(-1, 1, size=(m, n))


def _cases():
    return [
        Case({"cost": _cost(0, 3, 5), "beta": 0.5, "iterations": 4}),
        Case({"cost": _cost(1, 6, 4), "beta": 0.8, "iterations": 7}),
        Case({"cost": _cost(2, 2, 7), "beta": 0.3, "iterations": 3}),
        Case({"cost": _cost(3, 4, 9), "beta": 0.5, "iterations": 50}, "as many iterations as ViLT takes"),
        Case({"cost": _cost(4, 5, 3), "beta": 1.0, "iterations": 1}, "a single iteration"),
        Case({"cost": _cost(5, 1, 4), "beta": 0.5, "iterations": 3}, "a single word"),
        Case({"cost": _cost(6, 7, 2), "beta": 0.4, "iterations": 6}),
    ]


def _run(cost, beta, iterations, kernel=None, feed=True, word_mass=None, place_mass=None, reset=False,
         rows_first=False):
    """IPOT written out, with a switch for every slip."""
    m, n = cost.shape
    kernel = np.exp(-cost / beta) if kernel is None else kernel
    # the rows come last: a factor on the places cancels
    word_mass, place_mass = word_mass or 1 / m, place_mass or 1 / n
    plan, sigma, delta = np.ones((m, n)), np.full(m, 1 / m), np.full(n, 1 / n)
    for _ in range(iterations):
        q = kernel * plan if feed else kernel
        if reset:
            sigma = np.full(m, 1 / m)
        if rows_first:
            sigma = word_mass / (q @ delta)
            delta = place_mass / (sigma @ q)
        else:
            delta = place_mass / (sigma @ q)
            sigma = word_mass / (q @ delta)
        plan = sigma[:, None] * q * delta
    return plan


def _slip(**changes):
    return lambda cost, beta, iterations: _run(cost, beta, iterations, **{
        name: value(cost, beta) if callable(value) else value for name, value in changes.items()})


def _expected(cost, beta, iterations):
    return _run(cost, beta, iterations)


def _tell(came, expected):
    if (came < 0).any():
        return "no entry of a plan is below 0; yours has some."
    wrong = np.abs(came.sum(axis=1) * len(came) - 1).max() > 1e-4
    if wrong:
        return "each row of the plan must sum to 1 / m, all that a word has to give; yours do not."
    return "each row sums to 1 / m, as it must, but the mass goes to other places than it should."


EXERCISE = Exercise(
    name="transport_plan",
    lesson="07",
    difficulty=3,
    minutes=25,
    prompt="""Write `transport_plan(cost, beta, iterations)`: the plan that IPOT finds with one scaling a step.

`cost` is a float tensor of shape `m n`: m words, n places, no padding. `beta` is a positive float, `iterations` an
int. The kernel is A = exp(-cost / beta). Begin with a plan of ones (`m n`) and with sigma = 1 / m (`m`). In each
iteration take

    Q     = A times the plan of the iteration before, entry by entry
    delta = 1 / (n (Q^T sigma))          (`n`)
    sigma = 1 / (m (Q delta))            (`m`)
    plan  = diag(sigma) Q diag(delta)

and return the last plan (`m n`), of the dtype of `cost`.""",
    hints=(
        "Follow the four lines in their order: delta uses the old sigma, sigma the new delta, the plan both new ones.",
        "`q.T @ sigma` sums over the words and has n entries; `q @ delta` sums over the places and has m.",
        "diag(sigma) Q diag(delta) needs no diagonal matrices: `sigma[:, None] * q * delta` scales rows and columns."
        " Sigma lives on from iteration to iteration; only the kernel A stays the same.",
    ),
    solution='''
def transport_plan(cost, beta, iterations):
    m, n = cost.shape
    kernel = torch.exp(-cost / beta)
    plan, sigma = torch.ones_like(cost), cost.new_full((m,), 1 / m)
    for _ in range(iterations):
        q = kernel * plan
        delta = 1 / (n * (q.T @ sigma))
        sigma = 1 / (m * (q @ delta))
        plan = sigma[:, None] * q * delta
    return plan
''',
    fact="No gradient has to flow through these iterations. The derivative of the least cost by the cost matrix is the "
    "best plan itself, so the authors take the plan as a constant.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("a minus lost? The kernel is exp(-cost / beta): what costs little carries much.",
         _slip(kernel=lambda cost, beta: np.exp(cost / beta))),
        ("multiplied by beta instead of divided?", _slip(kernel=lambda cost, beta: np.exp(-cost * beta))),
        ("beta left out of the kernel?", _slip(kernel=lambda cost, beta: np.exp(-cost))),
        ("the old plan left out of Q? That is Sinkhorn's iteration, which keeps a soft plan.", _slip(feed=False)),
        ("m and n swapped?", _slip(word_mass=lambda cost, beta: 1 / cost.shape[1],
                                   place_mass=lambda cost, beta: 1 / cost.shape[0])),
        ("the 1 / m of the words left out?", _slip(word_mass=1.0)),
        ("sigma and delta in the other order?", _slip(rows_first=True)),
        ("sigma set back to 1 / m in every iteration?", _slip(reset=True)),
        ("one iteration too many?", lambda cost, beta, iterations: _run(cost, beta, iterations + 1)),
        ("one iteration too few?", lambda cost, beta, iterations: _run(cost, beta, max(iterations - 1, 1))),
        ("the plan of the first iteration, whatever the number?", lambda cost, beta, iterations: _run(cost, beta, 1)),
        ("the kernel scaled to sum to 1? A plan must fit both margins.",
         lambda cost, beta, iterations: np.exp(-cost / beta) / np.exp(-cost / beta).sum()),
        ("a softmax of every row? A plan must fit the columns too.",
         lambda cost, beta, iterations: softmax(-cost / beta) / len(cost)),
        ("is that the cost carried by the plan, entry by entry? Asked for is the plan.",
         lambda cost, beta, iterations: cost * _run(cost, beta, iterations)),
    ),
    tell=_tell,
    shape="m n",
)
