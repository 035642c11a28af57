"""Optimal transport: which word goes with which place of the picture, and how far apart they are (Kim et al. 2021,
ViLT, section 3.2, "word patch alignment"; IPOT after Xie et al. 2018, in the form that UNITER's authors gave it).

Letters: m words, n places, d width. Every word has the same mass to give away, 1 / m of it, every place takes 1 / n.
The plan says how much goes from where to where; its cost is the distance of the sentence from the picture.
"""

from typing import NamedTuple

import torch

from .._errors import expect
from .contrastive import single, unit_length


class Transport(NamedTuple):
    """distance `b`; plan `b m n`: how much of all mass goes from a word to a place; cost `b m n`. 0 for padding."""

    distance: torch.Tensor
    plan: torch.Tensor
    cost: torch.Tensor


def cosine_cost(texts, images):
    """1 - cosine of every word with every place, never in half precision: `b m d`, `b n d -> b m n`."""
    with torch.autocast(texts.device.type, enabled=False):
        return 1 - unit_length(texts) @ unit_length(images).transpose(1, 2)


@torch.no_grad()
def ipot(cost, both, beta=0.5, iterations=50):
    """The plan that carries all mass at (almost) the least cost, by proximal point iterations: `b m n -> b m n`.

    cost `b m n`, from 0 to 2; both `b m n` of bool: a real word and a real place; beta: the smaller, the sharper the
    plan after as many steps. One scaling an iteration, as in the authors' code, which works with no other number: rows
    sum to 1 / m exactly, columns to 1 / n about. A pair with no word or no place gets a plan of zeros. No gradient
    flows. Raises ValueError for a beta below 0.05, for which exp(-cost / beta) falls out of float32's range.
    """
    expect(beta >= 0.05, "beta", beta, "at least 0.05")
    expect(iterations > 0, "iterations", iterations, "at least 1")
    words, places = both.any(2, keepdim=True), both.any(1, keepdim=True)  # b m 1, b 1 n
    m, n = words.sum(1, keepdim=True), places.sum(2, keepdim=True)  # b 1 1
    with torch.autocast(cost.device.type, enabled=False):
        kernel = torch.exp(-single(cost) / beta) * both  # A of the paper
        plan = both.to(kernel.dtype)
        sigma = words / m.clamp(min=1)
        for _ in range(iterations):
            q = kernel * plan
            # Padding adds 1 to a sum of zeros: it divides by 1, not by 0, and its q is 0 in any case.
            delta = 1 / (n * (q * sigma).sum(1, keepdim=True) + ~places)
            sigma = 1 / (m * (q * delta).sum(2, keepdim=True) + ~words)
            plan = sigma * q * delta
    return plan


def transport(texts, images, text_mask, image_mask, beta=0.5, iterations=50):
    """How far sentences are from pictures: Transport.

    texts `b m d`, images `b n d`; text_mask `b m`, image_mask `b n` of bool, True for what takes part. The plan is
    taken as given: the gradient flows through the cost alone. Where no word or no place takes part the distance is 0.
    """
    expect(text_mask.dtype == image_mask.dtype == torch.bool, "text_mask, image_mask",
           f"{text_mask.dtype}, {image_mask.dtype}", "tensors of bool, True for what takes part", TypeError)
    expect(text_mask.shape == texts.shape[:2] and image_mask.shape == images.shape[:2], "text_mask, image_mask",
           f"shapes {tuple(text_mask.shape)}, {tuple(image_mask.shape)}",
           f"{tuple(texts.shape[:2])} and {tuple(images.shape[:2])}")
    both = text_mask[:, :, None] & image_mask[:, None]
    cost = cosine_cost(texts, images).masked_fill(~both, 0)
    plan = ipot(cost, both, beta, iterations)
    return Transport((cost * plan).sum((1, 2)), plan, cost)


def between_ends(mask):
    """The real tokens without the first ([CLS]) and the last ([SEP], in front of the padding): `b l -> b l` of bool."""
    behind = mask.flip(1).cumsum(1).flip(1) - mask.long()  # how many real tokens stand behind
    inner = mask & (behind > 0)
    inner[:, 0] = False
    return inner


def alignment_loss(distance, matched, weight=0.1):
    """Matched pairs are pulled together AND mismatched ones pushed apart: 0-d.

    distance `b`, matched `b` of bool. weight * (sum of matched - sum of mismatched) / b, all pairs of the batch in the
    denominator; below 0 where mismatched pairs are further apart, so that it has no least value of 0. The paper only
    speaks of a distance that is added to the matching loss.
    """
    return weight * torch.where(matched, distance, -distance).mean()
