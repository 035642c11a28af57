"""Answers to questions about a picture."""

import torch.nn.functional as F

from .._errors import expect


def answer_loss(logits, soft_targets):
    """Every answer is a yes or no of its own; the SUM over the answers, the mean over the questions: 0-d.

    logits, soft_targets `b a`; a target is from 0 (nobody said so) to 1: several answers may be right in part (VQA v2).
    The authors of ViLT and ViLBERT write it as the mean times the number of answers; without that factor the gradient
    would be 3129 times smaller. Raises ValueError for targets of another shape or outside 0 to 1.
    """
    expect(logits.shape == soft_targets.shape and logits.ndim == 2 and len(logits) > 0, "soft_targets",
           f"shape {tuple(soft_targets.shape)}", f"that of the logits, {tuple(logits.shape)}, `b a` with b > 0")
    low, high = (float(v) for v in soft_targets.detach().aminmax())
    expect(0 <= low and high <= 1, "soft_targets", f"values from {low:.3g} to {high:.3g}", "values from 0 to 1")
    return F.binary_cross_entropy_with_logits(logits, soft_targets) * logits.shape[1]
