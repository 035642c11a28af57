"""The contrastive family: which of the sentences belongs to the picture, and which of the pictures to the sentence."""

import torch
import torch.nn.functional as F

from .._errors import expect


def similarity(images, texts, log_scale):
    """exp(log_scale) times the cosine of every picture with every sentence.

    images `i d`, texts `t d` (any length), log_scale 0-d: `i t` (Radford et al. 2021, figure 3).
    """
    expect(images.ndim == texts.ndim == 2 and images.shape[1] == texts.shape[1], "images and texts",
           f"shapes {tuple(images.shape)} and {tuple(texts.shape)}", "`i d` and `t d` of one width")
    # In half precision a cosine times 100 would be off by up to 0.4.
    with torch.autocast(images.device.type, enabled=False):
        images, texts = (x if x.dtype == torch.float64 else x.float() for x in (images, texts))
        return log_scale.exp() * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T


def symmetric_cross_entropy(logits):
    """CLIP's loss: the mean of the cross-entropies of the rows and of the columns; the diagonal holds the pairs.

    logits `b b`, a row a picture, a column a sentence (Radford et al. 2021, figure 3: the mean of the two directions,
    not their sum). Chance is ln b. Raises ValueError unless the matrix is square with at least two pairs.
    """
    expect(logits.ndim == 2 and logits.shape[0] == logits.shape[1], "logits", f"shape {tuple(logits.shape)}",
           "a square matrix `b b`")
    # Of a batch of one the only candidate is always right: the loss would be 0 and teach nothing.
    expect(len(logits) > 1, "logits", f"a batch of {len(logits)}", "at least two pairs, as each needs a negative")
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
