"""Lesson 03: the exact gradient of a large batch, with the graph of a small one (gradient caching)."""

import numpy as np

from ._exercise import Case, Exercise
from ._formulas import columns_gradient, gradient_in_words, rows_gradient, unit


def _batch(seed, b, d, e, size):
    rng = np.random.default_rng(seed)
    inputs, weight = rng.normal(size=(b, d)), rng.normal(size=(d, e)) / np.sqrt(d)
    text = 1.5 * np.tanh(inputs @ weight) + rng.normal(size=(b, e))
    return {"inputs": inputs, "weight": weight, "text_features": text, "size": size}


def _cases():
    first = _batch(0, 8, 5, 3, 3)
    return [
        Case(first, "the last part is a small one"),
        Case(_batch(1, 6, 4, 7, 2)),
        Case(_batch(2, 9, 3, 5, 4), "the last part holds one row"),
        Case({**first, "size": 8}, "case 1 in one part"),
        Case({**first, "size": 1}, "case 1, row by row"),
        Case(_batch(3, 5, 6, 4, 7), "size is larger than the batch"),
    ]


def _both(logits):
    return (rows_gradient(logits) + columns_gradient(logits)) / 2


def _through_tower(inputs, weight, upstream):
    """From the gradient at the features to that at the weights."""
    return inputs.T @ (upstream * (1 - np.tanh(inputs @ weight) ** 2))


def _whole(inputs, weight, text_features, slope=_both):
    return _through_tower(inputs, weight, slope(np.tanh(inputs @ weight) @ text_features.T) @ text_features)


def _expected(inputs, weight, text_features, size):
    """The batch in one go, entry by entry of the weights' Jacobian."""
    features = np.tanh(inputs @ weight)
    logits = features @ text_features.T
    b = len(inputs)
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    columns = np.exp(logits) / np.exp(logits).sum(axis=0)
    at_features = (rows + columns - 2 * np.eye(b)) / (2 * b) @ text_features
    return np.einsum("b d, b e, b e -> d e", inputs, 1 - features**2, at_features)


def _of_normalised(text):
    """Features of length 1 before they meet the sentences, which `text` makes ready."""
    def formula(inputs, weight, text_features, size):
        features, texts = np.tanh(inputs @ weight), text(text_features)
        images, lengths = unit(features), np.sqrt((features**2).sum(axis=1, keepdims=True))
        pull = _both(images @ texts.T) @ texts
        return _through_tower(inputs, weight, (pull - images * (images * pull).sum(axis=1, keepdims=True)) / lengths)
    return formula


def _parts(inputs, text_features, size):
    return [(inputs[a:a + size], text_features[a:a + size]) for a in range(0, len(inputs), size)]


def _accumulated(inputs, weight, text_features, size):
    return sum(_whole(x, weight, t) for x, t in _parts(inputs, text_features, size))


def _number(inputs, size):
    return -(-len(inputs) // size)


def _some_rows(rows):
    """Only some rows' features send their gradient on."""
    def formula(inputs, weight, text_features, size):
        at_features = _both(np.tanh(inputs @ weight) @ text_features.T) @ text_features
        chosen = rows(len(inputs), size)
        return _through_tower(inputs[chosen], weight, at_features[chosen])
    return formula


def _rows_among(arrays, rows):
    """Which of the rows (`b k`) stand in one of the arrays, as rows or as columns: `b`."""
    found = np.zeros(len(rows), bool)
    for array in arrays:
        for one in (array, array.T):
            if one.ndim == 2 and one.shape[1] == rows.shape[1]:
                found |= np.isclose(one, rows[:, None], atol=1e-5).all(axis=2).any(axis=1)
    return found


def _kept(moments, inputs, weight, text_features, size):
    """Of a row in the tower's graph the product with the weight saves the inputs, and tanh what came of them."""
    for saved in moments:
        count = np.sum(_rows_among(saved, inputs) & _rows_among(saved, np.tanh(inputs @ weight)))
        if count > size:
            return (
                f"the gradient is right, but {count} rows stood in the tower's graph at a time, and size is {size}. The whole "
                "batch goes through it without a graph; then a part at a time, whose graph is gone before the next one."
            )
    return None


EXERCISE = Exercise(
    name="cached_gradient",
    lesson="03",
    difficulty=3,
    minutes=25,
    prompt="""Write `cached_gradient(inputs, weight, text_features, size)`: gradient caching by hand.

The picture tower is `torch.tanh(inputs @ weight)`, with `inputs` of shape `b d` and `weight` of shape `d e`. Its features
(`b e`, not normalised, no scale) and `text_features` (`b e`) give the logits, and the loss is the mean of the row and
the column cross-entropy of the **whole** batch. Return the gradient of that loss with respect to `weight` (`d e`). `size` is
how many rows may go through the tower *with a graph* at a time; the last part may be smaller, and `size` larger than b.""",
    hints=(
        "Three steps: all features without a graph; the loss's gradient at the features, which is what is cached; then each"
        " part through the tower again, this time with a graph.",
        "Step 2: `features.requires_grad_()`, the loss, then `torch.autograd.grad(loss, features)`. Nothing of the tower is in"
        " that graph.",
        "Step 3: for each part `torch.autograd.grad(tower(part), weight, grad_outputs=its rows of the cache)`, summed over the"
        " parts. Summed, not averaged: the mean over the batch is in the cache already.",
    ),
    solution='''
def cached_gradient(inputs, weight, text_features, size):
    with torch.no_grad():
        features = torch.tanh(inputs @ weight)
    features.requires_grad_()
    logits = features @ text_features.T
    pairs = torch.arange(len(logits))
    cross_entropy = torch.nn.functional.cross_entropy
    loss = (cross_entropy(logits, pairs) + cross_entropy(logits.T, pairs)) / 2
    cache, = torch.autograd.grad(loss, features)
    weight = weight.clone().requires_grad_()
    total = torch.zeros_like(weight)
    for part, upstream in zip(inputs.split(size), cache.split(size)):
        total += torch.autograd.grad(torch.tanh(part @ weight), weight, upstream)[0]
    return total.detach()
''',
    fact="The price is one more forward pass of each tower: a third more computation where a backward pass costs two "
    "forward ones. The memory of the towers is that of one part, however large the batch.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("each part's own loss, summed? A part's rows must meet the sentences of the whole batch.", _accumulated),
        ("each part's own loss, averaged over the parts? That is gradient accumulation, with fewer negatives.",
         lambda inputs, weight, text_features, size: _accumulated(inputs, weight, text_features, size) / _number(inputs, size)),
        ("divided by the number of parts? The mean over the batch is in the loss already.",
         lambda inputs, weight, text_features, size: _whole(inputs, weight, text_features) / _number(inputs, size)),
        ("only the last part's gradient kept?", _some_rows(lambda b, size: np.arange((b - 1) // size * size, b))),
        ("only the first part's gradient kept?", _some_rows(lambda b, size: np.arange(min(size, b)))),
        ("the last, smaller part left out?", _some_rows(lambda b, size: np.arange(b // size * size if size <= b else b))),
        ("only the rows' cross-entropy?",
         lambda inputs, weight, text_features, size: _whole(inputs, weight, text_features, rows_gradient)),
        ("only the columns' cross-entropy?",
         lambda inputs, weight, text_features, size: _whole(inputs, weight, text_features, columns_gradient)),
        ("the two directions added instead of averaged?",
         lambda inputs, weight, text_features, size: 2 * _whole(inputs, weight, text_features)),
        ("the slope of tanh left out?", lambda inputs, weight, text_features, size: inputs.T @ (
            _both(np.tanh(inputs @ weight) @ text_features.T) @ text_features)),
        ("wrong sign?", lambda inputs, weight, text_features, size: -_whole(inputs, weight, text_features)),
        ("divided by the size of the batch? That is in the mean of the cross-entropy already.",
         lambda inputs, weight, text_features, size: _whole(inputs, weight, text_features) / len(inputs)),
        ("summed over the batch instead of averaged?",
         lambda inputs, weight, text_features, size: _whole(inputs, weight, text_features) * len(inputs)),
        ("features normalised to length 1? Here they go into the logits as they are.", _of_normalised(lambda texts: texts)),
        ("features and sentences normalised to length 1? Here they go into the logits as they are.", _of_normalised(unit)),
        ("only the sentences normalised to length 1? Here they go into the logits as they are.",
         lambda inputs, weight, text_features, size: _whole(inputs, weight, unit(text_features))),
    ),
    tell=gradient_in_words,
    shape="d e",
    kept=_kept,
)
