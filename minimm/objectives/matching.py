"""Matching: does this sentence belong to this picture? Where the sentences come from that do not."""

import torch
import torch.nn.functional as F

from .._errors import expect


def hard_negative_weights(similarity, index=None):
    """How likely each candidate is taken as a negative: softmax of every row, 0 for what belongs to it: `b b`.

    similarity `b b`, scaled by the temperature; index `b`: number of the picture of each pair, so that other captions of
    the same picture are no negatives either (default: only the pair itself). Not normalised again after the zeros, as in
    the authors' code; the draw does that. No gradient flows through the weights (Li et al. 2021, section 3.2).
    """
    index = torch.arange(len(similarity), device=similarity.device) if index is None else index
    own = index[:, None] == index[None]
    return similarity.detach().softmax(1).masked_fill(own, 0)


def draw_negatives(weights):
    """One negative for every row of the weights `b b`: indices `b`. They are sampled, the hardest is only the likeliest.

    Raises ValueError for a row without any candidate: a batch of one, or of one picture only.
    """
    empty = (weights.sum(1) == 0).nonzero().flatten().tolist()
    expect(not empty, "batch", f"no negative for row {empty[0] if empty else ''} of {len(weights)}",
           "for every pair another picture with another sentence in the batch")
    return torch.multinomial(weights, 1)[:, 0]


def matching_loss(logits, matched):
    """Cross-entropy of two classes: logits `b 2`, matched `b` of bool; class 1 is "they belong together"."""
    return F.cross_entropy(logits, matched.long())


def ranking_loss(scores):
    """Which of several captions is the true one: scores `b c`, that of the true one first; chance is ln c: 0-d."""
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=scores.device))
