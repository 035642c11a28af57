"""Transformer blocks."""

import torch
from torch import nn

from .attention import Attention


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x): the approximation of GELU that CLIP was trained with. It is not GELU."""

    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


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

    def __init__(self, width, heads, hidden=None, activation=nn.GELU, eps=1e-5):
        super().__init__()
        self.ln1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads)
        self.ln2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, hidden or 4 * width, activation)

    def forward(self, x, mask=None):
        """x `b n d`, mask as in Attention; returns `b n d`."""
        x = x + self.attn(self.ln1(x), mask=mask)
        return x + self.mlp(self.ln2(x))
