"""Lesson 10: which heads look at the thing that is meant."""

import numpy as np

from ._exercise import Case, Exercise


def _pairs(seed, pairs, heads, places):
    """Attention of one word a pair, not all of it on the places; two things that cover places in part."""
    rng = np.random.default_rng(seed)
    weights = np.exp(1.5 * rng.normal(size=(pairs, heads, places)))
    cover = rng.uniform(size=(2, pairs, places)) * (rng.uniform(size=(2, pairs, places)) < 0.4)
    cover[:, :, 0] += 0.01  # each covers something
    return {"weights": weights / weights.sum(-1, keepdims=True) * rng.uniform(0.2, 0.9, size=(pairs, heads, 1)),
            "own": cover[0], "other": cover[1]}


def _cases():
    larger = _pairs(4, 9, 3, 7)
    larger["other"] = np.minimum(1, larger["other"] + 0.5)
    return [
        Case(_pairs(0, 8, 3, 12)),
        Case(_pairs(1, 11, 5, 6)),
        Case(_pairs(2, 7, 2, 16)),
        Case(larger, "the other things are larger than the own one"),
        Case(_pairs(5, 13, 4, 9)),
    ]


def _expected(weights, own, other):
    pairs, heads, places = weights.shape
    result = np.zeros(heads)
    for head in range(heads):
        for b in range(pairs):
            at_own = sum(weights[b, head, n] * own[b, n] for n in range(places)) / sum(own[b])
            at_other = sum(weights[b, head, n] * other[b, n] for n in range(places)) / sum(other[b])
            result[head] += 100 * (at_own > at_other) / pairs
    return result


def _on(weights, cover, mean=True):
    total = np.einsum("bhn,bn->bh", weights, cover)
    return total / cover.sum(1)[:, None] if mean else total


def _tell(came, expected):
    if (came < 0).any() or (came > 100 + 1e-6).any():
        return "each head's number is a percentage of the pairs, between 0 and 100."
    head = int(np.abs(came - expected).argmax())
    return (
        f"for each head the percentage of the pairs in which the own thing gets more weight on average than the other; head {head} "
        f"has too {'high a number' if came[head] > expected[head] else 'low a number'}."
    )


EXERCISE = Exercise(
    name="binding",
    lesson="10",
    difficulty=2,
    minutes=15,
    prompt="""Write `binding(weights, own, other)`: how often does each head look at the thing that a colour word is bound to?

`weights` is a float tensor of shape `b h n`: of one colour word in each of b pairs, what each of h heads gives to each of the
picture's n places. `own` (`b n`) says which part of each place the thing covers that is meant, from 0 to 1, and `other` the
same of the other things of that colour. The average weight on a thing is the sum over the places of weight times covered part,
divided by the sum of the covered parts. Return `h`: for each head the percentage (0 to 100) of the pairs in which the average
weight on the own thing is higher than that on the other.""",
    hints=(
        "The sum over the places of weight times covered part: `(weights * own[:, None]).sum(dim=-1)` is `b h`.",
        "Things differ in size: divide by `own.sum(dim=1)`, with an axis for the heads, before you compare.",
        "Compare two tensors `b h`, then take the mean over the pairs (`dim=0`) of what is true, times 100.",
    ),
    solution='''
def binding(weights, own, other):
    at_own = (weights * own[:, None]).sum(dim=-1) / own.sum(dim=1, keepdim=True)  # b h
    at_other = (weights * other[:, None]).sum(dim=-1) / other.sum(dim=1, keepdim=True)
    return 100 * (at_own > at_other).to(weights.dtype).mean(dim=0)
''',
    fact="Binding is what a bag of words lacks: “a red cup and a blue star” and “a blue cup and a red star” hold the same words. "
    "Models with two towers often cannot tell them apart (Yuksekgonul et al. 2023).",
    cases=_cases,
    expected=_expected,
    slips=(
        ("sums instead of averages? A larger thing then gets more by its size alone.",
         lambda weights, own, other: 100 * (_on(weights, own, False) > _on(weights, other, False)).mean(0)),
        ("the wrong way round?", lambda weights, own, other: 100 * (_on(weights, own) < _on(weights, other)).mean(0)),
        ("a fraction; was it to be percent?", lambda weights, own, other: (_on(weights, own) > _on(weights, other)).mean(0)),
        ("a count of pairs; was it to be percent?",
         lambda weights, own, other: (_on(weights, own) > _on(weights, other)).sum(0)),
        ("the pairs averaged before they were compared? Each pair counts on its own.",
         lambda weights, own, other: 100.0 * (_on(weights, own).mean(0) > _on(weights, other).mean(0))),
        ("the average weights' difference instead of how often it is positive?",
         lambda weights, own, other: 100 * (_on(weights, own) - _on(weights, other)).mean(0)),
        ("the share of the weight on the own thing instead of how often it is more?",
         lambda weights, own, other: 100 * (_on(weights, own) / (_on(weights, own) + _on(weights, other))).mean(0)),
        ("the highest place instead of the average of all?",
         lambda weights, own, other: 100 * ((weights * (own > 0)[:, None]).max(-1) > (weights * (other > 0)[:, None]).max(-1)).mean(0)),
        ("a tie counted as higher?", lambda weights, own, other: 100 * (_on(weights, own) >= _on(weights, other)).mean(0)),
        ("compared with all places that are not the own thing's? The other thing is asked for.",
         lambda weights, own, other: 100 * (_on(weights, own) > _on(weights, 1 - own)).mean(0)),
        ("divided by what is covered in all pairs together? Each pair has sizes of its own.",
         lambda weights, own, other: 100 * (_on(weights, own, False) / own.sum() > _on(weights, other, False) / other.sum()).mean(0)),
        ("each divided by the other thing's size?", lambda weights, own, other: 100 * (
            _on(weights, own, False) / other.sum(1)[:, None] > _on(weights, other, False) / own.sum(1)[:, None]).mean(0)),
        ("only the highest place of each head looked at?", lambda weights, own, other: 100 * np.mean(
            [a[w.argmax(-1)] > b[w.argmax(-1)] for w, a, b in zip(weights, own, other)], axis=0)),
        ("the mean over all heads for each of them?",
         lambda weights, own, other: np.full(weights.shape[1], 100 * (_on(weights, own) > _on(weights, other)).mean())),
        ("cut to whole numbers?", lambda weights, own, other: np.floor(
            100 * (_on(weights, own) > _on(weights, other)).mean(0) + 1e-9)),
        ("places counted as wholly covered? They are covered in part.",
         lambda weights, own, other: 100 * (_on(weights, own > 0) > _on(weights, other > 0)).mean(0)),
    ),
    tell=_tell,
    shape="h",
)
