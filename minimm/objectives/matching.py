"""Matching: does this sentence belong to this picture? Where the sentences come from that do not."""

import torch
import torch.nn.functional as F

from .._errors import expect


def hard_negative_weights(similarity, index=None):
    """How likely each candidate is taken as a negative: softmax of every row, 0 for what belongs to it: `b b`.

    similarity `b b`, scaled by the temperature; index `b`: number of the picture of each pair, so that other captions
    of the same picture are no negatives either. Without it only the pair itself is none: a caption that stands in the
    batch twice can be drawn for its double, and is then called wrong; so the authors in pre-training. Not normalised
    again after the zeros, as in the authors' code; the draw does that. No gradient flows through the weights (Li et al.
    2021, section 3.2). Raises ValueError for a matrix that is not square and an index of another length.
    """
    expect(similarity.ndim == 2 and similarity.shape[0] == similarity.shape[1], "similarity",
           f"shape {tuple(similarity.shape)}", "a square matrix `b b`")
    index = torch.arange(len(similarity), device=similarity.device) if index is None else index
    expect(index.shape == similarity.shape[:1], "index", f"shape {tuple(index.shape)}", f"({len(similarity)},)")
    own, similarity = index[:, None] == index[None], similarity.detach()
    weights = similarity.softmax(1).masked_fill(own, 0)
    # At a low temperature the own pair can take all of a row, and all others are 0 in single precision, where the
    # authors' draw fails. Then the others are compared without it, which gives the same shares.
    lost = (weights.sum(1, keepdim=True) == 0) & ~own.all(1, keepdim=True)
    return torch.where(lost, similarity.masked_fill(own, float("-inf")).softmax(1), weights)


def draw_negatives(weights):
    """One negative for every row of the weights `b b`: indices `b`. They are sampled, the hardest is only the likeliest.

    Raises ValueError for a row without any candidate, in a batch of one, or of one picture only; and for NaN.
    """
    expect(bool(weights.isfinite().all()), "weights", "NaN", "finite numbers (what are they made from?)")
    empty = (weights.sum(1) == 0).nonzero().flatten().tolist()
    expect(not empty, "batch", f"no negative for row {empty[0] if empty else ''} of {len(weights)}",
           "for every pair another picture with another sentence in the batch")
    return torch.multinomial(weights, 1)[:, 0]


def matching_loss(logits, matched):
    """Cross-entropy of two classes: logits `b 2`, matched `b` of bool; class 1 is "they belong together"."""
    expect(matched.dtype == torch.bool, "matched", matched.dtype, "a tensor of bool", TypeError)
    expect(logits.shape == (*matched.shape, 2) and matched.ndim == 1 and len(matched) > 0, "matched",
           f"shape {tuple(matched.shape)} for logits {tuple(logits.shape)}", "`b` for logits `b 2`, b > 0")
    return F.cross_entropy(logits, matched.long())


def ranking_loss(scores):
    """Which of several captions is the true one: scores `b c`, that of the true one first; chance is ln c: 0-d."""
    expect(scores.ndim == 2 and len(scores) > 0 and scores.shape[1] > 1, "scores", f"shape {tuple(scores.shape)}",
           "`b c` with at least one wrong caption for each")
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=scores.device))
