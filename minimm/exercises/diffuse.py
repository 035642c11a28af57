"""Lesson 12: many small steps of noise in a single one."""

import numpy as np

from ._exercise import Case, Exercise


def _inputs(seed, b, c, h, w, steps, t, low=0.01, high=0.3):
    rng = np.random.default_rng(seed)
    return {"pictures": rng.normal(size=(b, c, h, w)), "noise": rng.normal(size=(b, c, h, w)),
            "betas": np.linspace(low, high, steps), "t": np.array(t)}


def _cases():
    return [
        Case(_inputs(0, 5, 3, 2, 4, 9, [3, 9, 1, 6, 4])),
        Case(_inputs(1, 2, 3, 5, 4, 30, [17, 2], 0.002, 0.1)),
        Case(_inputs(2, 3, 1, 4, 2, 6, [6, 5, 3]), "one channel"),
        Case(_inputs(3, 4, 2, 3, 3, 7, [1, 1, 1, 1]), "a single step of noise"),
        Case(_inputs(4, 3, 3, 3, 3, 1, [1, 1, 1], 0.2, 0.2), "a schedule of one step"),
        Case(_inputs(5, 2, 3, 3, 5, 8, [5, 8], 0.4, 0.05), "a schedule that falls"),
    ]


def _with(signal, spread):
    """Pictures and noise weighted by functions of the betas of the steps that are taken, one array a picture."""

    def formula(pictures, noise, betas, t):
        return np.stack([signal(betas[:n]) * x + spread(betas[:n]) * e for x, e, n in zip(pictures, noise, t)])

    return formula


def _kept(betas):
    return np.prod(1 - betas)


_expected = _with(lambda b: np.sqrt(_kept(b)), lambda b: np.sqrt(1 - _kept(b)))


def _shifted(by):
    def formula(pictures, noise, betas, t):
        return _expected(pictures, noise, betas, np.clip(t + by, 0, len(betas)))

    return formula


def _first_for_all(pictures, noise, betas, t):
    return _expected(pictures, noise, betas, np.full_like(t, t[0]))


def _all_steps(pictures, noise, betas, t):
    return _expected(pictures, noise, betas, np.full_like(t, len(betas)))


def _tell(came, expected):
    far = np.abs(came - expected).reshape(len(came), -1).max(axis=1)
    return ("each picture is its signal and its noise, weighted so that the squares of the weights add up to 1; the largest "
            f"difference is in picture {int(far.argmax())}.")


EXERCISE = Exercise(
    name="diffuse",
    lesson="12",
    difficulty=2,
    minutes=15,
    prompt="""Write `diffuse(pictures, noise, betas, t)`: add the noise of many steps at once.

`pictures` and `noise` are float tensors of shape `b c h w`. `betas`, of shape `s`, holds the variances of the steps 1, 2, ..., s:
step k makes $x_k = \\sqrt{1 - \\beta_k}\\, x_{k-1} + \\sqrt{\\beta_k}\\, \\varepsilon_k$, and $\\beta_k$ is `betas[k - 1]`. `t`, int64 of
shape `b`, says for each picture how many steps are taken, from 1 to s. Return a tensor of shape `b c h w`: each picture
after its steps, in closed form, with the given noise as the one $\\varepsilon$.""",
    hints=(
        "What is kept of the signal is a product over the steps: `torch.cumprod` gives it for all numbers of steps at"
        " once.",
        "`kept[t - 1]` holds one number a picture, `b`. It has to stand against `b c h w`: give it three more axes.",
        "kept is the share of the *variance*: the signal is multiplied by its root, the noise by the root of 1 - kept.",
    ),
    solution='''
def diffuse(pictures, noise, betas, t):
    kept = torch.cumprod(1 - betas, dim=0)[t - 1]  # b: what is left of the signal's variance
    kept = kept[:, None, None, None]
    return kept.sqrt() * pictures + (1 - kept).sqrt() * noise
''',
    fact="That is why a diffusion model can be trained at all: a batch needs one draw of t for each picture, not a thousand "
    "steps.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("only the last step's beta, instead of the product over all steps so far?",
         _with(lambda b: np.sqrt(1 - b[-1]), lambda b: np.sqrt(b[-1]))),
        ("the roots left out? kept is a share of the variance.", _with(_kept, lambda b: 1 - _kept(b))),
        ("no root over the signal's weight?", _with(_kept, lambda b: np.sqrt(1 - _kept(b)))),
        ("no root over the noise's weight?", _with(lambda b: np.sqrt(_kept(b)), lambda b: 1 - _kept(b))),
        ("weights that add up to 1? It is their squares that do.",
         _with(lambda b: np.sqrt(_kept(b)), lambda b: 1 - np.sqrt(_kept(b)))),
        ("signal and noise swapped?", _with(lambda b: np.sqrt(1 - _kept(b)), lambda b: np.sqrt(_kept(b)))),
        ("the signal not made smaller?", _with(lambda b: 1.0, lambda b: np.sqrt(1 - _kept(b)))),
        ("noise of variance 1 at every step?", _with(lambda b: np.sqrt(_kept(b)), lambda b: 1.0)),
        ("the signal alone, without noise?", _with(lambda b: np.sqrt(_kept(b)), lambda b: 0.0)),
        ("betas added up instead of (1 - beta) multiplied?",
         _with(lambda b: np.sqrt(np.maximum(1 - b.sum(), 0)), lambda b: np.sqrt(np.minimum(b.sum(), 1)))),
        ("the product of the betas instead of that of (1 - beta)?",
         _with(lambda b: np.sqrt(np.prod(b)), lambda b: np.sqrt(1 - np.prod(b)))),
        ("one step too many? betas[0] belongs to step 1.", _shifted(1)),
        ("one step too few?", _shifted(-1)),
        ("the t of the first picture used for all?", _first_for_all),
        ("all steps of the schedule for every picture, whatever t says?", _all_steps),
    ),
    tell=_tell,
    shape="b c h w",
)
