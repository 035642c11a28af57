"""Answers to questions about a picture."""

import torch.nn.functional as F

from .._errors import expect


def soft_scores(counts, people=10):
    """How right an answer is that `counts` of the people gave, 0 to 1: float64 of the same shape.

    An answer is compared with all the people but one, min(n / 3, 1) for n of them who said the same; the score is the mean
    over who is left out (Antol et al. 2015, VQA). Of ten people 1, 2, 3, 4 give 0.3, 0.6, 0.9, 1: the soft targets
    of ViLT and ViLBERT. Raises TypeError unless counts are whole numbers, ValueError outside 0 to `people` and for fewer
    than two people.
    """
    expect(not counts.is_floating_point() and not counts.is_complex(), "counts", counts.dtype, "whole numbers", TypeError)
    expect(people > 1, "people", people, "at least 2: one is left out")
    expect(bool(((counts >= 0) & (counts <= people)).all()), "counts", f"values from {counts.min()} to {counts.max()}",
           f"0 to {people}")
    n = counts.double()
    return (n * ((n - 1) / 3).clamp(0, 1) + (people - n) * (n / 3).clamp(max=1)) / people


def answer_loss(logits, soft_targets):
    """Every answer is a yes or no of its own; the SUM over the answers, the mean over the questions: 0-d.

    logits, soft_targets `b a`; a target is from 0 (nobody said so) to 1: several answers may be right in part (VQA v2).
    The authors of ViLT and ViLBERT write it as the mean times the number of answers; without that factor the gradient
    would be 3129 times smaller. Raises TypeError for whole numbers, ValueError for targets of another shape or outside
    0 to 1.
    """
    expect(soft_targets.is_floating_point(), "soft_targets", soft_targets.dtype, "a floating-point tensor", TypeError)
    expect(logits.shape == soft_targets.shape and logits.ndim == 2 and len(logits) > 0, "soft_targets",
           f"shape {tuple(soft_targets.shape)}", f"that of the logits, {tuple(logits.shape)}, `b a` with b > 0")
    low, high = (float(v) for v in soft_targets.detach().aminmax())
    expect(0 <= low and high <= 1, "soft_targets", f"values from {low:.3g} to {high:.3g}", "values from 0 to 1")
    return F.binary_cross_entropy_with_logits(logits, soft_targets) * logits.shape[1]


def weighted_answers(losses, weights, questions):
    """What `n` answers cost, each times its weight, summed, over the number of questions: 0-d (Li et al. 2021, ALBEF).

    losses, weights `n`: a question can have several answers, each with its share. Raises ValueError for weights of
    another shape, NaN or negative ones.
    """
    expect(weights.shape == losses.shape, "weights", f"shape {tuple(weights.shape)}", f"shape {tuple(losses.shape)}")
    low, high = (float(v) for v in weights.aminmax())
    expect(0 <= low and high < float("inf"), "weights", f"values from {low:.3g} to {high:.3g}", "numbers from 0 on")
    return (weights * losses).sum() / questions
