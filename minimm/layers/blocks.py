"""Transformer blocks."""

import torch.nn.functional as F
from torch import nn

from .attention import Attention


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x): the approximation of GELU that CLIP was trained with. It is not GELU."""

    def forward(self, x):
        # As SiLU it is one operation that keeps one tensor for the backward pass; written out it is two that keep two.
        return F.silu(1.702 * x) * (1 / 1.702)


class MLP(nn.Module):
    """Two linear maps with an activation between them: `... d -> ... d` by way of `hidden`."""

    def __init__(self, width, hidden, activation=nn.GELU):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.activation = activation()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(self.activation(self.fc1(x)))


class PreNormBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): the norm stands inside the branch (CLIP, ViT, ViLT)."""

    def __init__(self, width, heads, hidden=None, activation=nn.GELU, eps=1e-5, dropout=0.0):
        super().__init__()
        self.ln1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads)
        self.ln2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, hidden or 4 * width, activation)
        self.drop = nn.Dropout(dropout)

    def forward(self, x, mask=None):
        """x `b n d`, mask as in Attention; returns `b n d`."""
        x = x + self.drop(self.attn(self.ln1(x), mask=mask))
        return x + self.drop(self.mlp(self.ln2(x)))


class PostNormBlock(nn.Module):
    """norm(x + attention(x)), then norm(x + mlp(x)): BERT's block (Devlin et al. 2019), the norm behind the sum.

    With `context_width` a cross-attention to a context of that width stands between the two (ALBEF's fusion).
    """

    def __init__(self, width, heads, hidden=None, context_width=None, eps=1e-12, dropout=0.0):
        super().__init__()
        self.attn = Attention(width, heads, dropout=dropout)
        self.ln1 = nn.LayerNorm(width, eps=eps)
        if context_width is not None:
            self.xattn = Attention(width, heads, context_width, dropout=dropout)
            self.lnx = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, hidden or 4 * width)
        self.ln2 = nn.LayerNorm(width, eps=eps)
        self.drop = nn.Dropout(dropout)

    def forward(self, x, mask=None, context=None, context_mask=None):
        """x `b n d`, context `b k c`, masks as in Attention; without a context the cross-attention is left out."""
        x = self.ln1(x + self.drop(self.attn(x, mask=mask)))
        if context is not None:
            x = self.lnx(x + self.drop(self.xattn(x, context, context_mask)))
        return self.ln2(x + self.drop(self.mlp(x)))
