"""What lesson 10 says of the weights that come with the course."""

import pytest
import torch
import torch.nn.functional as F

import minimm
from minimm.exercises._registry import EXERCISES
from minimm.exercises.quizzes.lesson10 import BINDING_HEAD, COLOUR_HEAD
from minimm.explain import record, scores
from minimm.scenes import load
from minimm.training.weights import path_of


@pytest.mark.skipif(not path_of("vilt").exists(), reason="no weights of ViLT")
def test_the_head_that_binds():
    data, model = load("test", 1000), minimm.load("vilt")
    pairs = scores.bound(data)
    index, at = (torch.tensor([getattr(pair, name) for pair in pairs]) for name in ("scene", "at"))
    own, other = (F.avg_pool2d(torch.stack([getattr(pair, name) for pair in pairs]).float(), 8).flatten(1)
                  for name in ("own", "other"))
    with record(model) as found, torch.no_grad():
        model(data.see(index)["images"], data.tokens()[index])
    binding = EXERCISES["binding"].expected
    shares = torch.stack([torch.from_numpy(binding(A[torch.arange(len(pairs)), :, at][..., -64:].numpy(), own.numpy(),
                                                   other.numpy())) for A in found.values()])
    assert divmod(int(shares.argmax()), shares.shape[1]) == BINDING_HEAD
    assert shares[BINDING_HEAD] > shares.flatten().sort().values[-2] + 5  # by far
    assert abs(shares[COLOUR_HEAD] - 50) < 10
