"""Gradient caching: the gradient of the whole batch, the memory of a part."""

import pytest
import torch
from torch import nn

from minimm.objectives.contrastive import similarity, symmetric_cross_entropy
from minimm.training.caching import in_parts


def make(*between):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), *between, nn.Linear(16, 5)).double()


def gradient(encode, weights, inputs, texts):
    torch.manual_seed(1)  # of dropout
    loss = symmetric_cross_entropy(similarity(encode(inputs), texts, torch.tensor(1.5, dtype=torch.float64)))
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def batch(b=10):
    generator = torch.Generator().manual_seed(2)
    return (torch.randn(b, n, generator=generator, dtype=torch.float64) for n in (6, 5))


@pytest.mark.parametrize("size", [1, 3, 5, 10, 99])
def test_the_gradient_is_that_of_the_whole_batch(size):
    model, (inputs, texts) = make(), batch()
    expected = gradient(model, list(model.parameters()), inputs, texts)
    came = gradient(in_parts(model, size), list(model.parameters()), inputs, texts)
    torch.testing.assert_close(came, expected, rtol=1e-12, atol=1e-14)


def test_accumulation_is_something_else():
    model, (inputs, texts) = make(), batch()
    weights = list(model.parameters())
    expected = gradient(model, weights, inputs, texts)
    parts = [gradient(model, weights, x, t) for x, t in zip(inputs.split(5), texts.split(5))]
    assert (sum(parts) / 2 - expected).norm() > 0.1 * expected.norm()


def test_dropout_takes_the_same_numbers_in_both_passes():
    model, (inputs, texts) = make(nn.Dropout(0.5)), batch()
    weights = list(model.parameters())
    # Part by part from the same random numbers, with all graphs kept: what the caching must come to.
    expected = gradient(lambda x: torch.cat([model(part) for part in x.split(4)]), weights, inputs, texts)
    torch.testing.assert_close(gradient(in_parts(model, 4), weights, inputs, texts), expected, rtol=1e-12, atol=1e-14)


def test_nothing_waits_for_the_backward_pass_but_the_inputs():
    model, (inputs, _) = make(), batch(12)
    passes, kept = [], []

    def encode(part):
        passes.append(len(part))
        return model(part)

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        features = in_parts(encode, 3)(inputs)
        assert sum(tensor.numel() for tensor in kept) <= inputs.numel()
        model(inputs)
        assert sum(tensor.numel() for tensor in kept) > 2 * inputs.numel()  # what a graph keeps
    features.sum().backward()
    assert passes == [3] * 8  # every part twice, never more than a part


def test_wrong_size():
    with pytest.raises(ValueError, match="size: expected at least 1"):
        in_parts(nn.Linear(2, 2), 0)
