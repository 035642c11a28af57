"""Lesson 03: contrastive multiview coding, the sum over all pairs of views."""

from itertools import combinations

import numpy as np

from ._exercise import Case, Exercise, number_in_words
from ._formulas import both_ways, one_way, unit


def _views(seed, v, b, d, log_scale, shared=0.7):
    """v views of b things that agree a little, each in lengths of its own."""
    rng = np.random.default_rng(seed)
    views = shared * rng.normal(size=(b, d)) + rng.normal(size=(v, b, d))
    return {"views": views * rng.uniform(0.5, 4, size=(v, b, 1)), "log_scale": np.array(log_scale)}


def _cases():
    return [
        Case(_views(7, 4, 5, 7, 1.2)),
        Case(_views(1, 3, 6, 4, np.log(1 / 0.07)), "CLIP's first temperature, 0.07"),
        Case(_views(2, 5, 3, 8, -0.4), "a scale below 1"),
        Case(_views(3, 2, 4, 9, 0.9), "two views: CLIP's loss"),
        Case(_views(4, 4, 6, 5, np.log(100), shared=1.5), "a scale of 100",  # logits up to 97: exp(89) is no float32
             "Has exp left the range of float32? cross_entropy and log_softmax subtract the largest logit first."),
    ]


def _expected(views, log_scale):
    total = 0.0
    for i in range(len(views)):
        for j in range(i + 1, len(views)):
            first, second = unit(views[i]), unit(views[j])
            logits = np.exp(log_scale) * first @ second.T
            match = np.diag(logits)
            for axis in (0, 1):
                total += np.mean(np.log(np.exp(logits - logits.max()).sum(axis=axis)) + logits.max() - match) / 2
    return np.array(total)


def _sum(views, log_scale, pairs, loss=both_ways, ready=unit, scale=np.exp):
    return np.sum([loss(scale(log_scale) * ready(views[i]) @ ready(views[j]).T) for i, j in pairs])


def _all(v):
    return list(combinations(range(v), 2))


def _over(pairs, **options):
    return lambda views, log_scale: _sum(views, log_scale, pairs(len(views)), **options)


_tell = number_in_words("the loss must be the sum, over all pairs of two different views, of the mean of both directions")


EXERCISE = Exercise(
    name="all_views_loss",
    lesson="03",
    difficulty=2,
    minutes=15,
    prompt="""Write `all_views_loss(views, log_scale)`: the contrastive loss of any number of views (Tian et al. 2020).

`views` is a float tensor of shape `v b d`: v views (a picture, its caption, a second caption, a sound, ...) of the same b
things, as features that are **not** normalised. `log_scale` is a 0-d tensor. Every pair of two different views has CLIP's
loss: the mean of both directions' cross-entropies of $\\exp(\\text{log\\_scale})$ times the cosines. Return the **sum** over all
v (v - 1) / 2 pairs as a 0-d tensor. Gradients must flow back to both inputs.""",
    hints=(
        "First one pair: normalise, one matrix product, two cross-entropies with `torch.arange(b)` as targets.",
        "Then each pair once: i < j. `itertools.combinations(views, 2)` gives just these.",
    ),
    solution='''
def all_views_loss(views, log_scale):
    views = views / views.norm(dim=-1, keepdim=True)
    pairs = torch.arange(views.shape[1])
    cross_entropy = torch.nn.functional.cross_entropy
    total = 0
    for i in range(len(views)):
        for j in range(i + 1, len(views)):
            logits = log_scale.exp() * views[i] @ views[j].T
            total = total + (cross_entropy(logits, pairs) + cross_entropy(logits.T, pairs)) / 2
    return total
''',
    fact="The number of pairs grows with the square of the number of views, that of the encoders only with the number of "
    "views. Features that all views share are what every pair asks for; what two of them share alone, one pair asks for.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("only the pairs with the first view? That is the core view, not the full graph.", _over(lambda v: [(0, j) for j in range(1, v)])),
        ("only neighbours in the list? Every view meets every other one.", _over(lambda v: [(i, i + 1) for i in range(v - 1)])),
        ("every pair counted twice, as ij and as ji?", _over(lambda v: 2 * _all(v))),
        ("views paired with themselves too?", _over(lambda v: _all(v) + [(i, i) for i in range(v)])),
        ("all ordered pairs, a view with itself included?", _over(lambda v: 2 * _all(v) + [(i, i) for i in range(v)])),
        ("the mean over the pairs instead of their sum?",
         lambda views, log_scale: _sum(views, log_scale, _all(len(views))) / len(_all(len(views)))),
        ("only one direction of every pair, from the earlier view to the later?", _over(_all, loss=one_way)),
        ("only one direction of every pair, from the later view to the earlier?", _over(_all, loss=lambda l: one_way(l.T))),
        ("views not normalised to length 1?", _over(_all, ready=lambda view: view)),
        ("normalised over the wrong axis (over the batch)?", _over(_all, ready=lambda view: unit(view, 0))),
        ("log_scale used as it is, without exp?", _over(_all, scale=lambda log_scale: log_scale)),
        ("log_scale left out?", _over(_all, scale=lambda log_scale: 1.0)),
        ("summed over the batch instead of averaged?",
         lambda views, log_scale: views.shape[1] * _sum(views, log_scale, _all(len(views)))),
        ("divided by the number of views? The sum over the pairs is asked for.",
         lambda views, log_scale: _sum(views, log_scale, _all(len(views))) / len(views)),
        ("halved once too often? Each pair is there once.",
         lambda views, log_scale: _sum(views, log_scale, _all(len(views))) / 2),
        ("only the pairs with the last view? Every view meets every other one.", _over(lambda v: [(i, v - 1) for i in range(v - 1)])),
        ("the views in a ring? Every view meets every other one.", _over(lambda v: [(i, (i + 1) % v) for i in range(v)])),
        ("the cosines divided by the scale?", _over(_all, scale=lambda log_scale: np.exp(-log_scale))),
        ("wrong sign?", lambda views, log_scale: -_sum(views, log_scale, _all(len(views)))),
    ),
    tell=_tell,
    gradient_to=("views", "log_scale"),
)
