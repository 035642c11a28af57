"""Features of much data, in batches, from a model in evaluation mode."""

from contextlib import contextmanager

import torch

from .._errors import expect


@torch.no_grad()
def embed(function, inputs, size=250):
    """`function` of the rows of `inputs`, `size` at a time, joined: a tensor with one row an input.

    inputs: a tensor, or anything that slices into tensors. Run a model's functions in evaluation mode.
    """
    expect(len(inputs) > 0, "inputs", "none", "at least one")
    return torch.cat([function(inputs[i:i + size]) for i in range(0, len(inputs), size)])


@contextmanager
def evaluating(model):
    """`with evaluating(model) as device:` the model is in evaluation mode, and behind it in its own again.

    device: where its weights are.
    """
    training = model.training
    model.eval()
    try:
        yield next(model.parameters()).device
    finally:
        model.train(training)
