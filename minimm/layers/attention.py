"""Multi-head attention, the same layer for all models."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from .._errors import expect


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d_head)) v with several heads (Vaswani et al. 2017, section 3.2).

    width: of what queries are made from; context_width: of what keys and values are made from (default: width); inner: of
    q, k and v, over all heads (default: width); heads: must divide it; dropout: of the weights; out: width of the result
    (default: width).
    """

    def __init__(self, width, heads, context_width=None, inner=None, dropout=0.0, out=None):
        super().__init__()
        inner = inner or width
        expect(heads > 0 and inner % heads == 0, "heads", heads, f"a divisor of the width {inner}")
        self.heads, self.dropout = heads, dropout
        self.q = nn.Linear(width, inner)
        self.k = nn.Linear(context_width or width, inner)
        self.v = nn.Linear(context_width or width, inner)
        self.o = nn.Linear(inner, out or width)
        self.weights = nn.Identity()  # the weights `b h q k` pass by here, before dropout: whoever wants to see them hooks in

    def forward(self, x, context=None, mask=None):
        """x `b q d`, context `b k c` (default: x itself), mask of bool, True where a query may look, broadcast to
        `b h q k`; returns `b q d`. Every query must have a key to look at: a row without one would be 0 / 0."""
        context = x if context is None else context
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads)
                   for t in (self.q(x), self.k(context), self.v(context)))
        dropout = self.dropout if self.training else 0.0
        if x.is_cuda and not self.weights._forward_hooks:  # the fused form never holds all weights: nothing to hand over
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        else:
            # On a CPU the plain form trains faster than the fused one at the course's sizes. The queries are scaled
            # rather than the scores, of which there are many more.
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
            if mask is not None:
                scores = scores.masked_fill(~mask, float("-inf"))
            weights = self.weights(scores.softmax(-1))
            y = F.dropout(weights, dropout) @ v if dropout else weights @ v
        return self.o(rearrange(y, "b h n d -> b n (h d)"))


def causal_mask(length, device=None):
    """`q k` of bool: every position may look at itself and at what stands before it."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def key_mask(mask, name="mask"):
    """A mask of real tokens or places `b k` of bool, as attention takes it: `b 1 1 k`; None stays None.

    Raises TypeError unless it is of bool, ValueError for a row with nothing real in it, which no query could look at.
    """
    if mask is None:
        return None
    expect(mask.dtype == torch.bool, name, mask.dtype, "a tensor of bool, True where there is something", TypeError)
    expect(mask.ndim == 2 and bool(mask.any(1).all()), name, f"shape {tuple(mask.shape)}, a row all False"
           if mask.ndim == 2 else f"shape {tuple(mask.shape)}", "`b k` with something to look at in every row")
    return mask[:, None, None, :]
