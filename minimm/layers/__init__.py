"""The one vocabulary of all models: attention, transformer blocks, embeddings, what inputs must be."""

from .attention import Attention, causal_mask, key_mask
from .blocks import MLP, PostNormBlock, PreNormBlock, QuickGELU
from .embeddings import ConvStem, PatchEmbedding
from .inputs import check_ids, check_images, check_numbers, check_sizes, take_weights
from .language import MaskedLanguageHead, TextEmbedding, init_normal
from .vit import Projected, VisionTransformer

__all__ = ["Attention", "ConvStem", "MLP", "MaskedLanguageHead", "PatchEmbedding", "PostNormBlock", "PreNormBlock",
           "Projected", "QuickGELU", "TextEmbedding", "VisionTransformer", "causal_mask", "check_ids", "check_images",
           "check_numbers", "check_sizes", "init_normal", "key_mask", "take_weights"]
