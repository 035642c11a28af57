"""How well regions are found: recall, precision, mean average precision, and what a probe reads off their features."""

from typing import NamedTuple

import torch
from torchvision.ops import box_iou

from .._errors import expect
from ..scenes import Scene
from ..scenes.detection import targets

#: A region has found a thing if their boxes overlap by so much, intersection over union (Everingham et al. 2010).
OVERLAP = 0.5


class Detection(NamedTuple):
    """In percent: recall, the true boxes that a region has found; named, those that a region of the right class has
    found; precision, the regions that have found a box of their class first; mean_average_precision, over classes."""

    recall: float
    named: float
    precision: float
    mean_average_precision: float


def overlaps(found, truth):
    """Intersection over union of regions and true boxes of each picture, `b r t`, 0 for padding."""
    expect(len(found["boxes"]) == len(truth["boxes"]) > 0, "found", f"regions of {len(found['boxes'])} pictures",
           f"{len(truth['boxes'])} of them, at least one")
    iou = torch.stack([box_iou(a.float(), b) for a, b in zip(found["boxes"], truth["boxes"])])
    return iou.where(found["region_mask"][:, :, None] & (truth["labels"] > 0)[:, None], 0)


def average_precision(hits, count):
    """The area under precision over recall, where precision never rises with recall (as in PASCAL VOC since 2010).

    hits `n` of bool: which regions are right, from the best scored to the worst; count: of true boxes.
    """
    precision = hits.double().cumsum(0) / torch.arange(1, len(hits) + 1)
    best_from_here = precision.flip(0).cummax(0).values.flip(0)
    return best_from_here[hits].sum().item() / count


def detection(found, truth):
    """Detection of what a detector has found in pictures.

    found: what `Detector.regions` returns; truth: what `scenes.detection.targets` returns for the same scenes.
    """
    real, mask = truth["labels"] > 0, found["region_mask"]  # b t, b r
    score, best = found["region_classes"][..., 1:].max(-1)  # b r
    iou = overlaps(found, truth)
    of_class = iou.where((1 + best)[:, :, None] == truth["labels"][:, None], 0)
    closest, box = of_class.max(-1)  # b r
    # From the best scored to the worst: a thing that is found a second time counts as a mistake.
    taken, hits, classes = set(), [], []
    for flat in score.masked_fill(~mask, -1).flatten().argsort(descending=True, stable=True)[:mask.sum()].tolist():
        i, j = divmod(flat, mask.shape[1])
        thing = i, int(box[i, j])
        hits.append(bool(closest[i, j] >= OVERLAP) and thing not in taken)
        taken |= {thing} if hits[-1] else set()
        classes.append(1 + int(best[i, j]))
    hits, classes = torch.tensor(hits), torch.tensor(classes)
    of_classes = [average_precision(hits[classes == c], (truth["labels"] == c).sum().item())
                  for c in truth["labels"][real].unique()]
    share = [(x.amax(1) >= OVERLAP)[real].double().mean().item() for x in (iou, of_class)]
    return Detection(*(100 * v for v in (*share, hits.double().mean().item(), sum(of_classes) / len(of_classes))))


def things(found, data):
    """Every thing that was found: (features `n f` of its region, a scene of this thing alone), for `probes.probe`.

    found: what `Detector.regions` returns for the scenes of `data`.
    """
    closest, region = overlaps(found, targets(data.scenes)).max(1)  # b t
    at = (closest >= OVERLAP).nonzero()
    scenes = [Scene(data.scenes[i].background, (data.scenes[i].things[j],)) for i, j in at.tolist()]
    return found["regions"][at[:, 0], region[at[:, 0], at[:, 1]]].float(), scenes
