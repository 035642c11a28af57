"""Lesson 08: how likely each picture is drawn as a hard negative."""

import numpy as np

from ._exercise import Case, Exercise
from ._formulas import softmax


def _inputs(seed, text_index, image_index, temperature, own=0.5):
    """Cosines from -1 to 1 of t sentences with i pictures; what belongs together has `own` more."""
    rng = np.random.default_rng(seed)
    same = np.equal.outer(text_index, image_index)
    return {"cosines": np.where(same, own, 0) + rng.uniform(-0.5, 0.5, size=same.shape),
            "text_index": np.array(text_index), "image_index": np.array(image_index), "temperature": temperature}


def _cases():
    lost = ("Does the own picture take all of the softmax? What is then left for the others is 0, and 0 / 0 is NaN. "
            "Leave it out before the softmax, not after it.")
    return [
        Case(_inputs(0, [3, 8, 3, 1], [3, 8, 3, 1, 8, 5], 0.3), not_finite=lost),
        Case(_inputs(1, [9, 2, 4, 2, 0], [9, 2, 4], 0.07), "fewer pictures than sentences", lost),
        Case(_inputs(2, [6, 5, 4, 3, 2, 1, 0], [6, 5, 4, 3, 2, 1, 0], 0.5), "a batch of seven pictures", lost),
        Case(_inputs(3, [5, 5, 5, 7], [5, 5, 5, 7], 1.5), "a batch with three captions of one picture", lost),
        Case({**_inputs(4, [1, 0, 2], [1, 0, 2, 1], 0.0005), "cosines": np.array(
            [[0.97, 0.101, 0.1, 0.93], [-0.2, 0.92, -0.2003, -0.2], [0.0, 0.0004, 0.98, -0.9]])},
             "a temperature of 0.0005", lost),
        Case(_inputs(5, [0, 1], [0, 1], 0.2), "a batch of two", lost),
    ]


def _expected(cosines, text_index, image_index, temperature):
    weights = np.zeros_like(cosines)
    for row in range(len(text_index)):
        others = [column for column in range(len(image_index)) if image_index[column] != text_index[row]]
        highest = max(cosines[row, column] for column in others)
        for column in others:
            weights[row, column] = np.exp((cosines[row, column] - highest) / temperature)
        weights[row] /= weights[row].sum()
    return weights


def _weights(cosines, text_index, image_index, temperature, same=np.equal.outer, power=-1, out=-np.inf, axis=1, sign=1):
    logits = np.where(same(text_index, image_index), out, sign * cosines * float(temperature)**power)
    return softmax(logits, axis)


def _slip(**changes):
    return lambda **inputs: _weights(**inputs, **changes)


def _zeroed(cosines, text_index, image_index, temperature):
    return np.where(np.equal.outer(text_index, image_index), 0, softmax(cosines / temperature))


def _flat(cosines, text_index, image_index, temperature):
    others = ~np.equal.outer(text_index, image_index)
    return others / others.sum(axis=1, keepdims=True)


def _hardest(cosines, text_index, image_index, temperature):
    rest = np.where(np.equal.outer(text_index, image_index), -np.inf, cosines)
    return (rest == rest.max(axis=1, keepdims=True)).astype(float)


def _shares(cosines, text_index, image_index, temperature):
    rest = np.where(np.equal.outer(text_index, image_index), 0, cosines - cosines.min())
    return rest / rest.sum(axis=1, keepdims=True)


def _tell(came, expected):
    if (came[expected == 0] > 1e-4).any() and (expected == 0).any():
        return f"a picture with the sentence's index has the weight 0; yours has up to {came[expected == 0].max():.3g}."
    sums = came.sum(axis=1)
    if not np.allclose(sums, 1, atol=5e-3):
        return f"every row sums to 1; yours sum to {sums.min():.3g} to {sums.max():.3g}."
    return (f"each row is a softmax of the cosines over the temperature, among the other pictures alone; the largest "
            f"difference is {np.abs(came - expected).max():.3g}.")


EXERCISE = Exercise(
    name="negative_weights",
    lesson="08",
    difficulty=2,
    minutes=15,
    prompt="""Write `negative_weights(cosines, text_index, image_index, temperature)`: for every sentence, how likely
each picture is drawn as its negative.

`cosines` is `t i`: a row a sentence, a column a picture. `text_index` (`t` of int64) says which picture a sentence is
about, `image_index` (`i`) which one a column shows; the same picture can stand there twice. Where the two are equal the
weight is 0. The other weights are a softmax of the cosines over the temperature, a float above 0, and every row sums to
1. Each row has at least one other picture. It must work for any temperature.""",
    hints=(
        "`text_index[:, None] == image_index[None, :]` is True where a picture belongs to a sentence: `t i`.",
        "Softmax first and zeros afterwards would have to be divided by what is left of the row. What if the own"
        " picture had all of it?",
        "What has the logit `float(\"-inf\")` has the weight 0, exactly, and the rest is compared without it:"
        " `masked_fill` in front of `softmax(dim=1)`.",
    ),
    solution='''
def negative_weights(cosines, text_index, image_index, temperature):
    same = text_index[:, None] == image_index[None, :]
    logits = (cosines / temperature).masked_fill(same, float("-inf"))
    return logits.softmax(dim=1)
''',
    fact="In the authors' code the own pair gets its 0 after the softmax. When the model is sure of it, single "
    "precision may leave nothing for the others, and `torch.multinomial` stops with an error, in a run that went well.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("nothing left out? The own picture is no negative.",
         _slip(same=lambda t, i: np.zeros((len(t), len(i)), bool))),
        ("only the diagonal left out? The same picture further on is no negative either.",
         _slip(same=lambda t, i: np.eye(len(t), len(i), dtype=bool))),
        ("zeros after the softmax, and the rest not divided by what is left?", _zeroed),
        ("the logit 0 instead of minus infinity? exp(0) is 1.", _slip(out=0.0)),
        ("multiplied by the temperature?", _slip(power=1)),
        ("the temperature left out?", _slip(power=0)),
        ("the softmax along the columns? Each sentence, a row, draws one picture.", _slip(axis=0)),
        ("the least similar ones the likeliest? Hard negatives are the most similar.", _slip(sign=-1)),
        ("all others alike? Hard ones are likelier.", _flat),
        ("only the hardest? They are sampled.", _hardest),
        ("shares of the cosines without a softmax?", _shares),
        ("the own pictures' weights instead of the others'?",
         _slip(same=lambda t, i: ~np.equal.outer(t, i))),
    ),
    tell=_tell,
    shape="t i",
)
