"""Multi-head attention, the same layer for all models."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from .._errors import expect


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d_head)) v with several heads (Vaswani et al. 2017, section 3.2).

    width: of the queries and of the result; context_width: of what keys and values are made from (default: width);
    heads: must divide the width.
    """

    def __init__(self, width, heads, context_width=None):
        super().__init__()
        expect(heads > 0 and width % heads == 0, "heads", heads, f"a divisor of the width {width}")
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(context_width or width, width)
        self.v = nn.Linear(context_width or width, width)
        self.o = nn.Linear(width, width)

    def forward(self, x, context=None, mask=None):
        """x `b q d`, context `b k c` (default: x itself), mask of bool, True where a query may look, broadcast to
        `b h q k`; returns `b q d`."""
        context = x if context is None else context
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads)
                   for t in (self.q(x), self.k(context), self.v(context)))
        if x.is_cuda:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            # On a CPU the plain form trains faster than the fused one at the course's sizes.
            scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            if mask is not None:
                scores = scores.masked_fill(~mask, float("-inf"))
            y = scores.softmax(-1) @ v
        return self.o(rearrange(y, "b h n d -> b n (h d)"))


def causal_mask(length, device=None):
    """`q k` of bool: every position may look at itself and at what stands before it."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
