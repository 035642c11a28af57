"""Lesson 06: what was in the masked regions, by the detector's word."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words
from ._formulas import log_softmax, softmax


def _inputs(seed, b, r, c, p=0.5, sharp=1.5, zeros=False):
    """Logits, the detector's distributions, which regions are asked for; zeros: some probabilities are exactly 0."""
    rng = np.random.default_rng(seed)
    scores = sharp * rng.normal(size=(b, r, c))
    if zeros:
        scores[rng.random(size=scores.shape) < 0.4] = -np.inf
        scores[..., 0] = np.where(np.isinf(scores).all(-1), 0, scores[..., 0])
    classes = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    return {"logits": rng.normal(size=(b, r, c)), "classes": classes, "selected": rng.random(size=(b, r)) < p}


def _cases():
    none, agreeing = _inputs(6, 2, 3, 4), _inputs(5, 2, 5, 6)
    nothing = "A mean over no region is 0 / 0."
    return [
        Case(_inputs(1, 2, 4, 5)),
        Case(_inputs(2, 3, 5, 7, p=0.3)),
        Case(_inputs(3, 4, 2, 6, zeros=True), "some classes have a probability of exactly 0",
             "Where the detector's probability is 0, 0 times log 0 has to count as 0."),
        Case({**agreeing, "logits": np.log(agreeing["classes"]) + 2.5}, "the prediction agrees with the detector"),
        Case({**none, "selected": np.arange(6).reshape(2, 3) == 4}, "a single region is asked for"),
        Case({**none, "selected": np.zeros_like(none["selected"])}, "nothing is asked for", nothing),
        Case({**_inputs(7, 1, 3, 4), "logits": 90 * _inputs(7, 1, 3, 4)["logits"]}, "a very sure prediction",
             "Is the softmax taken before its log? Then a small probability becomes 0."),
    ]


def _expected(logits, classes, selected):
    total, count = 0.0, 0
    rows = (x.reshape(-1, logits.shape[-1]) for x in (logits, classes))
    for row, told, asked in zip(*rows, selected.ravel()):
        if asked:
            predicted = row - row.max() - np.log(np.exp(row - row.max()).sum())
            total += sum(p * (np.log(p) - q) for p, q in zip(told, predicted) if p > 0)
            count += 1
    return np.array(total / max(count, 1))


def _parts(logits, classes):
    """(p log p with 0 for 0, log q), `b r c` each."""
    return classes * np.log(np.where(classes > 0, classes, 1)), log_softmax(logits, axis=-1)


def _mean(values, selected):
    """Over the regions that are asked for; values `b r`."""
    return (values * selected).sum() / max(selected.sum(), 1)


def _slip(value):
    """A slip in what one region costs, `b r`: a function of the logits and of the detector's distributions."""
    return lambda logits, classes, selected: np.asarray(_mean(value(logits, classes), selected))


def _over(count):
    """A slip in what the sum is divided by: a function of the mask and the number of classes."""
    def slip(logits, classes, selected):
        return _expected(logits, classes, selected) * max(selected.sum(), 1) / count(selected, logits.shape[-1])

    return slip


def _reverse(logits, classes):
    q = softmax(logits, axis=-1)
    return (q * (np.log(q) - np.log(classes))).sum(-1)


def _per_picture(logits, classes, selected):
    rows = [_expected(a[None], p[None], m[None]) for a, p, m in zip(logits, classes, selected) if m.any()]
    return np.mean(rows) if rows else np.array(0.0)


def _hard(logits, classes):
    return -np.take_along_axis(log_softmax(logits, axis=-1), classes.argmax(-1)[..., None], axis=-1)[..., 0]


_tell = number_in_words(
    "the loss must be the divergence of the prediction from the detector's word, summed over the classes and averaged "
    "over the selected regions")


EXERCISE = Exercise(
    name="masked_region_loss",
    lesson="06",
    difficulty=2,
    minutes=15,
    prompt="""Write `masked_region_loss(logits, classes, selected)`: how far is the prediction from what the detector
said?

`logits` is a float tensor of shape `b r c`: for each region a score for each of c classes, not normalised. `classes`,
of the same shape, holds the detector's probabilities, which add up to 1 and may be exactly 0. `selected` is a mask of
shape `b r`, True for the regions that are asked for. With q the softmax of the logits, a region costs
$\\sum_k p_k (\\log p_k - \\log q_k)$. Return the mean over the selected regions, a 0-d tensor; 0 if none is
selected. Gradients must flow back to the logits (in the last case too: a gradient of 0).""",
    hints=(
        "`logits.log_softmax(dim=-1)` is log q, safe for large logits. Keep the selected regions with `[selected]`: "
        "`n c`.",
        "0 log 0 counts as 0, but a computer makes NaN of it. `torch.xlogy(p, p)` does it right; `p.clamp(min=...)` "
        "inside of the log does as well.",
        "Sum over the classes, then over the regions, and divide by their number, at least 1. A sum over nothing is 0 "
        "and still has a gradient; `mean()` of nothing is NaN.",
    ),
    solution='''
def masked_region_loss(logits, classes, selected):
    log_q, p = logits[selected].log_softmax(dim=-1), classes[selected]  # n c
    return (torch.xlogy(p, p) - p * log_q).sum() / max(len(p), 1)
''',
    fact="A cross-entropy with the same soft targets has the same gradient: the two differ by the entropy of the "
    "detector's word, which the model cannot change. Only the divergence says how far there is to go, since it can "
    "reach 0.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("a cross-entropy? The detector's own entropy is to be taken off.",
         _slip(lambda a, p: -(p * log_softmax(a, axis=-1)).sum(-1))),
        ("the divergence the other way round, of the detector's word from the prediction?", _slip(_reverse)),
        ("averaged over the classes as well? They are summed.", _over(lambda selected, c: max(selected.sum(), 1) * c)),
        ("averaged over all regions? Only the selected ones count.", _over(lambda selected, c: selected.size)),
        ("divided by the number of pictures?", _over(lambda selected, c: len(selected))),
        ("summed over the regions? The loss is their mean.", _over(lambda selected, c: 1)),
        ("a mean of each picture, and then the mean of these? Every selected region counts the same.", _per_picture),
        ("the mask ignored?", lambda logits, classes, selected: _expected(logits, classes, np.ones_like(selected))),
        ("the mask the wrong way round?", lambda logits, classes, selected: _expected(logits, classes, ~selected)),
        ("no softmax: logits taken for log-probabilities?", _slip(lambda a, p: (_parts(a, p)[0] - p * a).sum(-1))),
        ("no log of the prediction?", _slip(lambda a, p: (_parts(a, p)[0] - p * softmax(a, axis=-1)).sum(-1))),
        ("the softmax over the regions instead of the classes?",
         _slip(lambda a, p: (_parts(a, p)[0] - p * log_softmax(a, axis=1)).sum(-1))),
        ("the likeliest class alone? The detector's word is a distribution.", _slip(_hard)),
        ("the wrong sign?", lambda logits, classes, selected: -_expected(logits, classes, selected)),
        ("in bits? The natural logarithm is meant.", _over(lambda selected, c: max(selected.sum(), 1) * np.log(2))),
        ("a softmax of the detector's probabilities? They are probabilities already.",
         lambda logits, classes, selected: _expected(logits, softmax(classes, axis=-1), selected)),
        ("two softmaxes of the logits, one behind the other?",
         lambda logits, classes, selected: _expected(softmax(logits, axis=-1), classes, selected)),
        ("logits multiplied by the mask? A region that is not asked for must not count at all.",
         lambda logits, classes, selected: _expected(
             logits * selected[..., None], classes, np.ones_like(selected)) * selected.size / max(selected.sum(), 1)),
        ("divided by the number of all logits?", _over(lambda selected, c: selected.size * c)),
        ("a small number added to q inside of the log? log_softmax needs none.",
         _slip(lambda a, p: (_parts(a, p)[0] - p * np.log(softmax(a, axis=-1) + 1e-8)).sum(-1))),
        ("the squared difference of the probabilities?", _slip(lambda a, p: ((softmax(a, axis=-1) - p) ** 2).sum(-1))),
    ),
    tell=_tell,
    gradient_to=("logits",),
    without=("kl_div",),
)
