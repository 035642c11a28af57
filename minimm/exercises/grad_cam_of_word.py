"""Lesson 10: ALBEF's Grad-CAM, for one word."""

import numpy as np

from ._exercise import Case, Exercise


def _layer(seed, heads, tokens, places, start, stop, scale=1.0):
    """Attention weights of a cross-attention layer, whose rows sum to 1, and gradients of both signs."""
    rng = np.random.default_rng(seed)
    weights = np.exp(rng.normal(size=(heads, tokens, 1 + places)))
    weights[:, :, 0] *= 3  # much goes to the class token
    return {"weights": weights / weights.sum(-1, keepdims=True),
            "gradients": scale * (rng.normal(size=(heads, tokens, 1 + places)) + 0.3), "start": start, "stop": stop}


def _cases():
    return [
        Case(_layer(0, 3, 6, 8, 2, 4)),
        Case(_layer(1, 4, 9, 5, 4, 7, scale=0.1), "a word of three pieces"),
        Case(_layer(2, 2, 5, 12, 1, 3)),
        Case(_layer(3, 5, 7, 4, 3, 4, scale=20.0), "a word of one piece"),
        Case(_layer(4, 1, 4, 6, 1, 3), "one head"),
        Case({**_layer(5, 3, 5, 6, 2, 4), "gradients": -1 - np.random.default_rng(5).uniform(size=(3, 5, 7))},
             "gradients that all speak against the score"),
    ]


def _expected(weights, gradients, start, stop):
    heads, tokens, keys = weights.shape
    result = np.zeros(keys - 1)
    for place in range(1, keys):
        for head in range(heads):
            for token in range(start, stop):
                for_it = weights[head, token, place] * gradients[head, token, place]
                result[place - 1] += max(0, for_it) / heads / (stop - start)
    return result


def _rows(weights, gradients, start, stop):
    return (weights * gradients)[:, start:stop, 1:]


def _positive(x):
    return np.maximum(x, 0)


def _tell(came, expected):
    if (came < -1e-6).any():
        return f"no place may have a value below 0: what speaks against the score is cut off; yours goes down to {came.min():.3g}."
    side = "high" if came.sum() > expected.sum() else "low"
    return (
        "each place must have the mean, over the heads and the word's pieces, of the positive part of weight times gradient; "
        f"yours are too {side} on the whole."
    )


EXERCISE = Exercise(
    name="grad_cam_of_word",
    lesson="10",
    difficulty=2,
    minutes=15,
    prompt="""Write `grad_cam_of_word(weights, gradients, start, stop)`: ALBEF's Grad-CAM of one word.

`weights` and `gradients` are float tensors of shape `h l k`: the weights of a cross-attention layer with h heads, and the
gradient of a score by each of them. A row is one of l tokens, a column one of k = 1 + n keys: first the picture's class token,
then its n places. The word's pieces are the tokens from `start` up to, and without, `stop`. Multiply weights and gradients,
set to 0 what is negative, take the mean over the heads and over the word's pieces, and return the n places (not the class
token).""",
    hints=(
        "First cut out what is asked for: `[:, start:stop, 1:]` is h heads, the word's pieces, n places.",
        "Each head is cut off at 0 on its own, *before* the mean: a head that speaks against takes nothing away from one that"
        " speaks for.",
        "`(weights * gradients).clamp(min=0)`, then `.mean(dim=(0, 1))` over heads and pieces.",
    ),
    solution='''
def grad_cam_of_word(weights, gradients, start, stop):
    word = (weights * gradients)[:, start:stop, 1:]  # h pieces n
    return word.clamp(min=0).mean(dim=(0, 1))
''',
    fact="Two recipes go by this name. The first, of convolutions, gives each channel one number, the mean of its gradients, and "
    "cuts off after the sum; ALBEF's keeps a gradient for every weight and cuts off first. They rank places differently, so "
    "say which one you mean.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("cut off at 0 after the mean over the heads instead of before?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop).mean(0)).mean(0)),
        ("cut off at 0 only at the end?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop).mean((0, 1)))),
        ("nothing cut off at 0?", lambda weights, gradients, start, stop: _rows(weights, gradients, start, stop).mean((0, 1))),
        ("the absolute value instead of the positive part?",
         lambda weights, gradients, start, stop: np.abs(_rows(weights, gradients, start, stop)).mean((0, 1))),
        ("the weights without the gradients?", lambda weights, gradients, start, stop: weights[:, start:stop, 1:].mean((0, 1))),
        ("the gradients without the weights?",
         lambda weights, gradients, start, stop: _positive(gradients[:, start:stop, 1:]).mean((0, 1))),
        ("one number a head, the mean of its gradients? That is the other Grad-CAM.",
         lambda weights, gradients, start, stop: _positive(
             (gradients.mean((1, 2), keepdims=True) * weights)[:, start:stop, 1:].mean(0)).mean(0)),
        ("added over the heads instead of averaged?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop)).sum(0).mean(0)),
        ("added over the word's pieces instead of averaged?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop)).mean(0).sum(0)),
        ("the word's first piece alone?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, start + 1)).mean((0, 1))),
        ("the means of weights and of gradients multiplied? Each head is multiplied on its own.",
         lambda weights, gradients, start, stop: (weights.mean(0) * _positive(gradients.mean(0)))[start:stop, 1:].mean(0)),
        ("the mean of the weights times that of the positive gradients? Each head is multiplied on its own.",
         lambda weights, gradients, start, stop: (weights.mean(0) * _positive(gradients).mean(0))[start:stop, 1:].mean(0)),
        ("the negative part instead of the positive one?",
         lambda weights, gradients, start, stop: _positive(-_rows(weights, gradients, start, stop)).mean((0, 1))),
        ("the largest of the heads instead of their mean?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop)).max(0).mean(0)),
        ("the largest of the word's pieces instead of their mean?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop)).mean(0).max(0)),
        ("the first head alone?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop))[0].mean(0)),
        ("added over heads and pieces instead of averaged?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop)).sum((0, 1))),
        ("the mean over what is positive alone? What was cut off counts as 0.",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop)).sum((0, 1))
         / np.maximum(1, (_rows(weights, gradients, start, stop) > 0).sum((0, 1)))),
        ("the word's last piece alone?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, stop - 1, stop)).mean((0, 1))),
        ("the word's last piece left out? The token in front of `stop` still is one.",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, max(start + 1, stop - 1))).mean((0, 1))),
        ("one piece too early? The word begins at `start`.",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start - 1, stop - 1)).mean((0, 1))),
        ("one piece too many? The token at `stop` is no longer the word's.",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, start, stop + 1)).mean((0, 1))),
        ("all tokens instead of the word's?",
         lambda weights, gradients, start, stop: _positive(_rows(weights, gradients, 0, None)).mean((0, 1))),
        ("the last place left out instead of the class token, which comes first?",
         lambda weights, gradients, start, stop: _positive((weights * gradients)[:, start:stop, :-1]).mean((0, 1))),
    ),
    tell=_tell,
    shape="n",
)
