"""Regions of a picture, as a detector finds them: where they lie, hiding some, asking for what was there.

Masked regions of ViLBERT (Lu et al. 2019, section 2.2). What to hide is drawn first and applied then, so that a lesson
can show the draw and a test can bring its own.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .._errors import expect

#: A region that overlaps another by more than this (intersection over union) shows much of what the other shows.
OVERLAP = 0.4


class Regions(NamedTuple):
    """The regions of b pictures: features `b r f`; boxes `b r 4`, x1 y1 x2 y2 in pixels; mask `b r` of bool, True for
    real ones, the rest is padding; sizes `b 2`, width and height of the pictures in pixels."""

    features: torch.Tensor
    boxes: torch.Tensor
    mask: torch.Tensor
    sizes: torch.Tensor


def check_regions(features, boxes, mask, sizes, width, image):
    """Regions, checked and made whole: padding is 0; mask may be None (all are real) and sizes too (all are `image`).

    Raises TypeError or ValueError, naming the argument, unless features are floating point and finite, `b r width`,
    with a real region in every picture, and real boxes lie within the picture. Padding may hold anything.
    """
    expect(isinstance(features, torch.Tensor) and features.is_floating_point(), "regions",
           getattr(features, "dtype", type(features).__name__), "a tensor of floating-point features", TypeError)
    expect(features.ndim == 3 and features.numel() > 0 and features.shape[2] == width, "regions",
           f"shape {tuple(features.shape)}", f"shape (b, r, {width}) with at least one region")
    b, r = features.shape[:2]
    mask = torch.ones(b, r, dtype=torch.bool, device=features.device) if mask is None else mask
    sizes = torch.full((b, 2), image, device=features.device) if sizes is None else sizes
    for name, tensor, shape in (("boxes", boxes, (b, r, 4)), ("region_mask", mask, (b, r)), ("sizes", sizes, (b, 2))):
        came = f"shape {tuple(tensor.shape)}" if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        expect(came == f"shape {shape}", name, came, f"a tensor of shape {shape}")
    expect(bool((sizes > 0).all() and sizes.isfinite().all()), "sizes", sizes.tolist(), "width and height above 0")
    expect(mask.dtype == torch.bool, "region_mask", mask.dtype, "a tensor of bool, True for real regions", TypeError)
    expect(bool(mask.any(1).all()), "region_mask", "a picture without a region", "at least one in every picture")
    expect(bool(features[mask].isfinite().all()), "regions", "NaN or infinite features", "finite numbers")
    low, high = boxes[..., :2], boxes[..., 2:]
    outside = ~((0 <= low) & (low <= high) & (high <= sizes[:, None])).all(-1) & mask
    if outside.any():
        i, j = outside.nonzero()[0].tolist()
        expect(False, "boxes", f"{boxes[i, j].tolist()} in a picture of {sizes[i].tolist()}",
               "x1 y1 x2 y2 in pixels, 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height")
    pad = ~mask[..., None]
    return Regions(features.masked_fill(pad, 0), boxes.masked_fill(pad, 0), mask, sizes)


def check_classes(classes, mask, count):
    """Raise ValueError unless classes are `b r count`, a distribution for every real region, by the mask `b r`."""
    shape = (*mask.shape, count)
    came = f"shape {tuple(classes.shape)}" if isinstance(classes, torch.Tensor) else type(classes).__name__
    expect(came == f"shape {shape}", "region_classes", came, f"a tensor of shape {shape}")
    low, high = (float(v) for v in torch.aminmax(classes[mask].sum(-1)))
    expect(0.99 < low and high < 1.01 and bool((classes[mask] >= 0).all()), "region_classes",
           f"sums from {low:.3g} to {high:.3g}, or negative numbers", "distributions, which sum to 1")


def location(boxes, sizes):
    """Where a box lies: `... r 4 -> ... r 5`, (x1 / W, y1 / H, x2 / W, y2 / H, area / (W H)).

    boxes: x1 y1 x2 y2 in pixels, two corners, not a centre with a width; sizes `... 2`: W, H.
    """
    x1, y1, x2, y2 = (boxes / torch.cat([sizes, sizes], dim=-1)[..., None, :]).unbind(-1)
    # The area comes from the corners as they are, while `overlap` counts pixels: so the authors.
    return torch.stack([x1, y1, x2, y2, (x2 - x1) * (y2 - y1)], dim=-1)


def overlap(boxes):
    """Intersection over union of all pairs, `... r 4 -> ... r r`. A box from pixel 3 to pixel 5 is 3 pixels wide."""
    low, high = boxes[..., :2], boxes[..., 2:]
    area = (high - low + 1).prod(-1)
    start = torch.maximum(low[..., :, None, :], low[..., None, :, :])
    end = torch.minimum(high[..., :, None, :], high[..., None, :, :])
    both = (end - start + 1).clamp(min=0).prod(-1)
    return both / (area[..., :, None] + area[..., None, :] - both)


class MaskedRegions(NamedTuple):
    """features `b r f`, 0 where hidden; selected `b r`: asked for; hidden `b r`; overlapping `b r`: asked for, or over
    something that is."""

    features: torch.Tensor
    selected: torch.Tensor
    hidden: torch.Tensor
    overlapping: torch.Tensor


def mask_regions(regions, p=0.15, drawn=None, hide_overlaps=False):
    """Ask for every region with probability p; nine of ten of these are hidden: MaskedRegions.

    regions: Regions; drawn `b r`: numbers from 0 to 1, by lot unless given. A hidden region has features of 0 and keeps
    its place; none is replaced by another one, as words are.
    Regions that overlap one that is asked for show what is asked. The authors' code only marks them and leaves them in;
    hide_overlaps hides them too, as the paper that followed says (Lu et al. 2020, "12-in-1").
    """
    expect(0 < p <= 1, "p", p, "a probability above 0")
    drawn = torch.rand(regions.mask.shape, device=regions.mask.device) if drawn is None else drawn
    selected = regions.mask & (drawn < p)
    overlapping = regions.mask & (selected[..., :, None] & (overlap(regions.boxes) > OVERLAP)).any(-2)
    hidden = overlapping if hide_overlaps else selected & (drawn < 0.9 * p)
    return MaskedRegions(regions.features.masked_fill(hidden[..., None], 0), selected, hidden, overlapping)


def global_feature(features, counted):
    """What stands for the whole picture: the sum of the features `... r f` over the number of counted regions, `... r`
    of bool: `... f`. It is their mean if all are counted; padding must be 0."""
    return features.sum(-2) / counted.sum(-1, keepdim=True).clamp(min=1)


def region_divergence(logits, classes, selected):
    """Kullback-Leibler divergence of the prediction from the detector's word: 0-d.

    logits `b r c`; classes `b r c`: the detector's distribution; selected `b r` of bool. Summed over the classes,
    averaged over what is selected; 0 if nothing is, where the authors get 0 / 0. It can go down to 0, as the entropy of
    the detector's word is taken off; a cross-entropy with soft targets stops at that entropy.
    """
    logits, classes = logits[selected].log_softmax(-1), classes[selected]  # n c
    return F.kl_div(logits, classes.to(logits.dtype), reduction="sum") / max(len(logits), 1)


def region_error(predicted, features, selected):
    """Mean squared error of predicted features `b r f`, over all numbers of the selected regions: 0-d, 0 for none."""
    predicted, features = predicted[selected], features[selected]
    return F.mse_loss(predicted, features.to(predicted.dtype), reduction="sum") / max(predicted.numel(), 1)


def draw_region_negatives(mask, selected, number=128, inside=0.3):
    """For every selected region other ones to tell it from: `n number`, counted over `(b r)`.

    mask, selected `b r` of bool. A share `inside` of them (on average; the authors fix the numbers) comes from the same
    picture, the rest from others. Raises ValueError if there is no other region at all.
    """
    at = selected.flatten().nonzero()  # n 1
    picture = torch.arange(mask.numel(), device=mask.device) // mask.shape[1]
    here, real = picture == picture[at], mask.flatten().expand(len(at), -1).scatter(1, at, False)  # n (b r)
    weights = sum(share * kind / kind.sum(1, keepdim=True).clamp(min=1)
                  for share, kind in ((inside, real & here), (1 - inside, real & ~here)))
    expect(bool((weights.sum(1) > 0).all()), "regions", "one region in all", "a second one to tell it from")
    return torch.multinomial(weights, number, replacement=True) if len(at) else at.new_zeros(0, number)


def region_contrast(predicted, features, selected, negatives):
    """Which of 1 + k regions is it? Noise-contrastive estimation, a score is a dot product: 0-d, 0 for none.

    predicted, features `b r f`; selected `b r` of bool; negatives `n k` from `draw_region_negatives`.
    """
    at = selected.flatten().nonzero()  # n 1
    candidates = features.flatten(0, 1)[torch.cat([at, negatives], dim=1)]  # n 1+k f, the right one first
    scores = torch.einsum("nkf,nf->nk", candidates.to(predicted.dtype), predicted[selected])
    return F.cross_entropy(scores, torch.zeros_like(at[:, 0]), reduction="sum") / max(len(at), 1)
