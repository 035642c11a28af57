"""Captions of pictures that look alike: the hard negatives of ViLBERT's fine-tuning (Lu et al. 2019, section 3.2)."""

import torch
import torch.nn.functional as F

from ..scenes import tokenizer
from ..scenes.world import stream

NEIGHBOURS = 20  # of each picture, from which one is drawn; the authors have 100 of 29,000


def neighbours(features, k=NEIGHBOURS, size=1000):
    """The k most similar other rows of each row of `features` `b d`, by the cosine: their numbers, `b k`."""
    unit, best = F.normalize(features.float(), dim=-1), []
    for start in range(0, len(unit), size):
        scores = unit[start:start + size] @ unit.T
        scores[torch.arange(len(scores)), torch.arange(start, start + len(scores))] = -2
        best.append(scores.topk(k, dim=1).indices)
    return torch.cat(best)


class HardCaptions:
    """Batches of captions that also hold "hard_ids" `b l`: for each picture a caption of one that looks alike.

    batches: a `scenes.Batches`; regions: the pictures' regions, `b r f` with their mask `b r`. How much two pictures
    look alike is the cosine of the means of their regions.
    """

    def __init__(self, batches, regions, mask):
        self.batches = batches
        counted = mask[..., None]
        self.alike = neighbours((regions.float() * counted).sum(1) / counted.sum(1))

    def __call__(self, step):
        batch, data, random = self.batches(step), self.batches.data, stream("hard", self.batches.seed, step)
        rows = []
        for i in batch["index"].tolist():
            captions = data.ids[self.alike[i, int(random() * self.alike.shape[1])].item()]
            rows.append(captions[int(random() * len(captions))])
        together = tokenizer.pad([row.tolist() for row in batch["ids"]] + rows).to(batch["ids"].device)
        return {**batch, "ids": together[:len(rows)], "hard_ids": together[len(rows):]}
