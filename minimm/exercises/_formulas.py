"""Formulas in numpy that several exercises measure answers by."""

import numpy as np

from ._exercise import furthest_row


def unit(features, axis=-1):
    """Every vector along `axis` divided by its length."""
    return features / np.sqrt((features**2).sum(axis=axis, keepdims=True))


def log_softmax(logits, axis=1):
    shifted = logits - logits.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def softmax(logits, axis=1):
    return np.exp(log_softmax(logits, axis))


def one_way(logits):
    """Cross-entropy of every row with its diagonal entry as the target."""
    return -np.diag(log_softmax(logits)).mean()


def both_ways(logits):
    return (one_way(logits) + one_way(logits.T)) / 2


def rows_gradient(logits):
    """Gradient of `one_way`, `b b`."""
    return (softmax(logits) - np.eye(len(logits))) / len(logits)


def columns_gradient(logits):
    """Gradient of `one_way` of the transposed logits, `b b`."""
    return rows_gradient(logits.T).T


def gradient_in_words(came, expected):
    """What a gradient (`n d`) must be, and what came."""
    factor = (came * expected).sum() / (expected**2).sum()
    if factor > 0 and np.allclose(came, factor * expected, rtol=1e-3, atol=1e-6):
        side = "long" if factor > 1 else "short"
        return f"every row of the gradient points the right way, but all of them are too {side}, by one and the same factor."
    row = furthest_row(came, expected)
    return f"the gradient is not the slope of the loss; the largest difference is in row {row}."
