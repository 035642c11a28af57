"""Lesson 10: attention followed through the layers."""

import numpy as np

from ._exercise import Case, Exercise, furthest_row


def _weights(seed, layers, heads, tokens, sharp=1.0):
    """Attention weights: rows of softmaxes."""
    logits = sharp * np.random.default_rng(seed).normal(size=(layers, heads, tokens, tokens))
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _cases():
    return [
        Case({"weights": _weights(0, 3, 2, 5)}),
        Case({"weights": _weights(1, 2, 4, 7, sharp=2.0)}),
        Case({"weights": _weights(2, 4, 3, 6, sharp=3.0)}, "heads that look at little else than one token"),
        Case({"weights": _weights(3, 6, 1, 4)}, "one head"),
        Case({"weights": _weights(4, 1, 3, 8)}, "one layer"),
        Case({"weights": _weights(5, 5, 5, 3)}),
    ]


def _expected(weights):
    """Followed token by token: the share with which token i of the last layer consists of token j of the first."""
    n, h, q, _ = weights.shape
    result = np.eye(q)
    for layer in range(n):
        deeper = np.zeros((q, q))
        for i in range(q):
            deeper[i] = result[i] / 2
            for j in range(q):
                deeper[i] += weights[layer, :, i, j].sum() / h * result[j] / 2
        result = deeper
    return result


def _steps(weights, heads=np.mean, identity=1.0, normalise=1):
    for layer in weights:
        step = heads(layer, axis=0) + identity * np.eye(layer.shape[-1])
        yield step if normalise is None else step / step.sum(axis=normalise, keepdims=True)


def _product(steps, from_left=True, times=np.matmul):
    result = None
    for step in steps:
        result = step if result is None else times(step, result) if from_left else times(result, step)
    return result


def _tell(came, expected):
    sums = came.sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-4):
        return f"every row of the result must sum to 1, as the rows of each layer do; yours sum to {sums.min():.3g} up to {sums.max():.3g}."
    return f"the shares of token {furthest_row(came, expected)} are not those that come through the layers."


EXERCISE = Exercise(
    name="rollout",
    lesson="10",
    difficulty=2,
    minutes=15,
    prompt="""Write `rollout(weights)`: attention followed through all layers.

`weights` is a float tensor of shape `n h q q`: for each of n layers, the first layer first, and each of its h heads a row for
every token that looks and a column for every token that is looked at; every row sums to 1. A layer gives on the mean of what its
heads see and, by the skip connection, as much of what was there before: take the mean over the heads, add the identity, and
scale each row so that it sums to 1 again. The first layer's result is what the second one looks at, and so on. Return `q q`:
row i says of which tokens of the input token i of the last layer consists, in what shares.""",
    hints=(
        "One layer: `weights[0].mean(dim=0)` is `q q`. With `torch.eye(q)` added every row sums to 2.",
        "Two layers: token i of layer 2 looks at tokens j of layer 1, which consist of tokens k: a sum over j of (i, j) times"
        " (j, k). That is a matrix product. Which of the two stands on the left?",
        "`result = step @ result`, beginning with the first layer, ending with the last.",
    ),
    solution='''
def rollout(weights):
    result = torch.eye(weights.shape[-1], dtype=weights.dtype)
    for layer in weights:  # h q q
        step = layer.mean(dim=0) + torch.eye(len(result), dtype=weights.dtype)
        result = (step / step.sum(dim=-1, keepdim=True)) @ result
    return result
''',
    fact="The more layers, the more alike the rows become: everything has seen everything. The way through the skip connections "
    "alone, on which a word stays itself, keeps (1 / 2)^12 = 1 / 4096 after 12 layers, and the maps of different words look alike.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the identity left out? Then the skip connections carry nothing.", lambda weights: _product(_steps(weights, identity=0))),
        ("rows not scaled to 1 again after the identity was added?", lambda weights: _product(_steps(weights, normalise=None))),
        ("columns scaled to 1 instead of rows?", lambda weights: _product(_steps(weights, normalise=0))),
        ("the wrong order? Later layers are multiplied from the left.", lambda weights: _product(_steps(weights), from_left=False)),
        ("transposed?", lambda weights: _product(_steps(weights)).T),
        ("the heads added instead of averaged? They then outweigh the skip connection.",
         lambda weights: _product(_steps(weights, heads=np.sum))),
        ("the largest of the heads instead of their mean?", lambda weights: _product(_steps(weights, heads=np.max))),
        ("the first head alone?", lambda weights: _product(_steps(weights[:, :1]))),
        ("multiplied entry by entry instead of as matrices?", lambda weights: _product(_steps(weights), times=np.multiply)),
        ("the last layer alone?", lambda weights: _product(_steps(weights[-1:]))),
        ("the last layer left out?", lambda weights: _product(_steps(weights[:-1])) if len(weights) > 1 else np.eye(weights.shape[-1])),
        ("the first layer left out?", lambda weights: _product(_steps(weights[1:])) if len(weights) > 1 else np.eye(weights.shape[-1])),
        ("the identity not added in the first layer? It has a skip connection too.", lambda weights: _product(
            [weights[0].mean(axis=0), *_steps(weights[1:])])),
        ("the identity not added in the last layer? It has a skip connection too.", lambda weights: _product(
            [*_steps(weights[:-1]), weights[-1].mean(axis=0)])),
        ("the identity added once, at the end? Every layer has its skip connection.", lambda weights: (
            _product(_steps(weights, identity=0)) + np.eye(weights.shape[-1])) / 2),
        ("each head followed on its own, and the mean at the end? The heads of a layer are read together.",
         lambda weights: np.mean([_product(_steps(weights[:, [h]])) for h in range(weights.shape[1])], axis=0)),
        ("each head as a layer of its own? The heads of a layer stand side by side.",
         lambda weights: _product(_steps(weights.reshape(-1, 1, *weights.shape[2:])))),
        ("heads and layers exchanged? The layers come first.", lambda weights: _product(_steps(weights.swapaxes(0, 1)))),
        ("the smallest of the heads instead of their mean?", lambda weights: _product(_steps(weights, heads=np.min))),
        ("rows and columns of the layers exchanged? A row is a token that looks.",
         lambda weights: _product(_steps(weights.swapaxes(-1, -2), normalise=None)) / 2 ** len(weights)),
        ("the mean of the layers instead of their product?", lambda weights: np.mean(list(_steps(weights)), axis=0)),
    ),
    tell=_tell,
    shape="q q",
)
