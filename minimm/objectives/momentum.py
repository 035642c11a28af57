"""Momentum: a slow copy of a model, and a queue of what it said before (He et al. 2020; Li et al. 2021)."""

import copy

import torch
from torch import nn

from .._errors import expect


def momentum_copy(module):
    """A copy with the same weights that no gradient reaches."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def ema_update(momentum, online, m):
    """theta_m <- m theta_m + (1 - m) theta (He et al. 2020, equation 2), in place, for modules of the same make.

    Parameters only: running statistics of a normalisation come from the copy's own forward passes.
    Raises ValueError unless 0 <= m <= 1.
    """
    expect(0 <= m <= 1, "m", m, "a number from 0 to 1")
    for slow, fast in zip(momentum.parameters(), online.parameters(), strict=True):
        slow.mul_(m).add_(fast, alpha=1 - m)


class Queue(nn.Module):
    """The last k keys, `d k`, a column a key; the oldest are overwritten first (He et al. 2020, section 3.2).

    start: `d k`, what stands in it before the first key comes, such as `random_keys(d, k)`.
    """

    def __init__(self, start):
        super().__init__()
        expect(start.ndim == 2 and start.numel() > 0, "start", f"shape {tuple(start.shape)}", "`d k`, not empty")
        self.register_buffer("keys", start.clone())
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.int64))

    def forward(self):
        """The keys as they are now: a copy, because the queue is overwritten in place while the graph still needs it."""
        return self.keys.clone()

    @torch.no_grad()
    def enqueue(self, keys):
        """keys `b d` go where the oldest are. Raises ValueError unless k is a multiple of b."""
        d, k = self.keys.shape
        expect(keys.ndim == 2 and keys.shape[1] == d, "keys", f"shape {tuple(keys.shape)}", f"shape (b, {d})")
        expect(len(keys) > 0 and k % len(keys) == 0, "keys", f"a batch of {len(keys)}",
               f"a divisor of the queue's length {k}: otherwise a batch would be cut at its end")
        at = int(self.pointer)
        self.keys[:, at:at + len(keys)] = keys.T
        self.pointer[0] = (at + len(keys)) % k


def random_keys(d, k):
    """`d k`: columns of length 1 in random directions, easy negatives until the queue has been filled once."""
    return nn.functional.normalize(torch.randn(d, k), dim=0)


class Distilling(nn.Module):
    """A model, `online`, with its momentum copy, `momentum`, whose word counts alpha (Li et al. 2021, section 3.3).

    m: of the average; alpha grows from 0 over the first alpha_steps steps, as the copy knows nothing at the start.
    """

    def __init__(self, online, m=0.995, alpha=0.4, alpha_steps=200):
        super().__init__()
        expect(0 <= alpha <= 1, "alpha", alpha, "a number from 0 to 1")
        self.online, self.momentum = online, momentum_copy(online)
        self._m, self._alpha, self._alpha_steps = m, alpha, alpha_steps
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def alpha(self):
        """What the momentum model's word counts now."""
        return self._alpha * min(1.0, self.steps.item() / self._alpha_steps) if self._alpha_steps else self._alpha

    def update_momentum(self):
        """One step of the average, in training mode only."""
        if self.training:
            ema_update(self.momentum, self.online, self._m)

    def after_step(self):
        self.steps += 1
