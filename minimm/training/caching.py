"""Batches larger than the memory: gradient caching (Gao et al. 2021, section 3)."""

import torch
from torch.utils.checkpoint import checkpoint

from .._errors import expect


def in_parts(encode, size):
    """An `encode` that takes its rows `size` at a time and keeps their features alone; same features, same gradient.

    encode: `b ... -> b d`. The loss sees the features of the whole batch. When its gradient comes back, each part is
    encoded once more, this time with a graph, passes the gradient on to the weights, and is forgotten: the memory is
    that of a batch of `size`, for one more forward pass. Raises ValueError for a size below 1.

    Exact as long as the features of a row do not depend on the other rows: a batch normalisation in training mode sees
    a part only, and its running statistics move twice.
    """
    expect(size > 0, "size", size, "at least 1")

    def encode_in_parts(inputs):
        return torch.cat([checkpoint(encode, part, use_reentrant=False) for part in inputs.split(size)])

    return encode_in_parts
