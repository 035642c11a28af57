"""The one vocabulary of all models: attention, transformer blocks, embeddings."""

from .attention import Attention
from .blocks import MLP, PreNormBlock, QuickGELU
from .embeddings import ConvStem, PatchEmbedding

__all__ = ["Attention", "MLP", "PreNormBlock", "QuickGELU", "ConvStem", "PatchEmbedding"]
