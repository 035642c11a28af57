"""The contrastive family: which of the sentences belongs to the picture, and which of the pictures to the sentence."""

from itertools import combinations

import torch
import torch.nn.functional as F

from .._errors import expect


def single(features):
    """In float32 if they came in half precision, where a cosine would be off by up to 0.004."""
    return features if features.dtype == torch.float64 else features.float()


def unit_length(features):
    """`... d`, every vector divided by its length, never in half precision. A vector of zeros stays as it is."""
    return F.normalize(single(features), dim=-1)


def inner_product(images, texts):
    """Of every picture with every sentence (or key), never in half precision: `i d`, `t d -> i t`."""
    expect(images.ndim == texts.ndim == 2 and images.shape[1] == texts.shape[1], "images and texts",
           f"shapes {tuple(images.shape)} and {tuple(texts.shape)}", "`i d` and `t d` of one width")
    with torch.autocast(images.device.type, enabled=False):
        return single(images) @ single(texts).T


def similarity(images, texts, log_scale):
    """exp(log_scale) times the cosine of every picture with every sentence.

    images `i d`, texts `t d` (any length), log_scale 0-d: `i t` (Radford et al. 2021, figure 3).
    """
    # Both have length 1: a long vector is not a good match for everything. In half precision a cosine times 100 would
    # be off by up to 0.4.
    return inner_product(log_scale.exp() * unit_length(images), unit_length(texts))


def symmetric_cross_entropy(logits):
    """CLIP's loss: the mean of the cross-entropies of the rows and of the columns; the diagonal holds the pairs.

    logits `b b`, a row a picture, a column a sentence (Radford et al. 2021, figure 3: the mean of the two directions,
    not their sum). Chance is ln b. A caption or a picture that stands in the batch twice is a wrong partner for its
    double, although it fits: where all pairs stand in it n times the loss cannot fall below ln n. Raises ValueError
    unless the matrix is square with at least two pairs.
    """
    expect(logits.ndim == 2 and logits.shape[0] == logits.shape[1], "logits", f"shape {tuple(logits.shape)}",
           "a square matrix `b b`")
    # Of a batch of one the only candidate is always right: the loss would be 0 and teach nothing.
    expect(len(logits) > 1, "logits", f"a batch of {len(logits)}", "at least two pairs, as each needs a negative")
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def many_views(views, log_scale):
    """Contrastive multiview coding: the sum of the symmetric losses of all pairs of views (Tian et al. 2020, section 3,
    the full graph; for their core view call it with every pair of the core and another one).

    views: features `b d` a view (any length), row n of all of them of the same thing. Two views: CLIP's loss. Chance is
    v (v - 1) / 2 times ln b. Different on purpose: the negatives are those of the batch, not of a memory bank.
    Raises ValueError for fewer than two views.
    """
    expect(len(views) > 1, "views", f"{len(views)}", "at least two")
    return sum(symmetric_cross_entropy(similarity(a, b, log_scale)) for a, b in combinations(views, 2))


def key_similarity(features, keys, temperature):
    """Features `b d` times keys `d k`, both of length 1, over the temperature: `b k`.

    The temperature itself is divided by, not its logarithm learnt as in CLIP (He et al. 2020, equation 1).
    """
    return inner_product(features, keys.T) / temperature


def soft_cross_entropy(logits, targets):
    """-sum_k y_k log softmax(s)_k, the mean over the rows: logits and targets `b k`, targets a distribution a row.

    With targets that are no longer 0 and 1 the least possible value is their entropy, not 0.
    """
    expect(logits.shape == targets.shape and len(logits) > 0, "targets", f"shape {tuple(targets.shape)}",
           f"that of the logits, {tuple(logits.shape)}, with b > 0")
    return -(targets * F.log_softmax(logits, dim=-1)).sum(-1).mean()


def distilled_targets(hard, teacher_logits, alpha):
    """(1 - alpha) times the truth and alpha times what the momentum model believes (Li et al. 2021, equation 6).

    hard, teacher_logits `b k`; alpha from 0 to 1. No gradient flows into the targets, not even into a temperature.
    """
    expect(0 <= alpha <= 1, "alpha", alpha, "a number from 0 to 1")
    expect(hard.shape == teacher_logits.shape, "teacher_logits", f"shape {tuple(teacher_logits.shape)}",
           f"that of the targets, {tuple(hard.shape)}")
    return (alpha * teacher_logits.softmax(-1) + (1 - alpha) * hard).detach()


def shared_targets(index, key_index, dtype=torch.float32):
    """Which keys belong to a query, in equal shares: 1 / #positives where the index is the same, else 0: `b k`.

    index `b`, key_index `k`: numbers of the pictures (ALBEF's fine-tuning, where several captions share a picture).
    Raises ValueError for a query without a positive.
    """
    same = (index[:, None] == key_index[None]).to(dtype)  # b k
    number = same.sum(1, keepdim=True)
    expect(bool((number > 0).all()), "key_index", "a query without a positive", "the query's own index among the keys")
    return same / number
