"""MoCo: He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning".

Pictures alone, no sentences: two views of one picture belong together, all other pictures are wrong. The wrong ones
wait in a long queue, so that their number does not depend on the batch; what is in the queue was encoded by a slow copy
of the encoder, so that it stays comparable. ALBEF stands on both ideas.

Letters: b pictures, d width of the keys, k length of the queue.
Different on purpose: one process. The authors shuffle the keys among the GPUs, so that a batch normalisation cannot
tell from its statistics which key belongs to which query; on one GPU their shuffling changes nothing either.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import v2

from .._errors import expect
from ..objectives.contrastive import key_similarity, unit_length
from ..objectives.momentum import Queue, ema_update, momentum_copy, random_keys


@dataclass(frozen=True)
class MoCoConfig:
    """The published sizes (sections 3.2, 3.3 and 4.1). The names are the paper's.

    For the scenes take a queue well below the number of pictures, such as K=4096 of 20,000, else every picture meets
    old keys of itself as negatives; and in a run of some hundred steps a copy that follows faster, such as m=0.99 (it
    remembers about 1 / (1 - m) steps). MoCo v2 (Chen et al. 2020) takes T=0.2, `augmentation(version=2)` and an encoder
    that ends in a linear map, ReLU and another linear map.
    """

    dim: int = 128  # of what the encoder returns
    K: int = 65536  # keys in the queue, a multiple of the batch
    m: float = 0.999  # what the copy keeps of itself in a step
    T: float = 0.07  # temperature, fixed

    def __post_init__(self):
        expect(self.dim > 0, "dim", self.dim, "1 or more")
        expect(self.K > 0, "K", self.K, "1 or more")
        expect(0 <= self.m <= 1, "m", self.m, "a number from 0 to 1")
        expect(self.T > 0, "T", self.T, "a number above 0")


class MoCoOutput(NamedTuple):
    """q, k `b d`, of length 1; logits `b 1+k`, the right key first; labels `b`, all 0."""

    q: torch.Tensor
    k: torch.Tensor
    logits: torch.Tensor
    labels: torch.Tensor


class MoCo(nn.Module):
    """Algorithm 1 around any encoder `b ... -> b d`. What is worth keeping afterwards is `encoder_q`.

    The optimiser moves encoder_q; encoder_k gets no gradient and is a moving average of it, parameters only: its batch
    statistics come from its own forward passes. In the first K / B steps the queue still holds random directions, which
    are easy negatives: the loss rises before it falls.
    """

    def __init__(self, encoder, config=MoCoConfig()):
        super().__init__()
        self.config = config
        self.encoder_q = encoder
        self.encoder_k = momentum_copy(encoder)  # starts as the same
        self.queue = Queue(random_keys(config.dim, config.K))

    def forward(self, view_q, view_k):
        """Two views of the same pictures, row by row, as the encoder takes them: MoCoOutput.

        In training mode the copy moves and the keys join the queue, as in the authors' forward; in evaluation mode
        nothing changes. A batch of one will do, since the negatives are in the queue. Raises TypeError unless the views
        are floating point, ValueError for an empty batch, views of different shapes or with NaN, an encoder of another
        width or, in training, a batch that K is no multiple of.
        """
        c = self.config
        for name, view in (("view_q", view_q), ("view_k", view_k)):
            expect(isinstance(view, torch.Tensor) and view.is_floating_point(), name,
                   getattr(view, "dtype", type(view).__name__), "a floating-point tensor", TypeError)
            # One NaN in a key would stay in the queue, and in every loss, for K / B steps.
            expect(bool(view.isfinite().all()), name, "NaN or infinity", "numbers")
        expect(view_q.shape == view_k.shape and view_q.ndim > 0 and len(view_q) > 0, "view_q and view_k",
               f"shapes {tuple(view_q.shape)} and {tuple(view_k.shape)}", "the same shape, b > 0")
        expect(not self.training or c.K % len(view_q) == 0, "batch", len(view_q),
               f"a divisor of the queue's length K = {c.K}")
        q = unit_length(self.encoder_q(view_q))
        expect(q.shape == (len(view_q), c.dim), "encoder", f"one that returns shape {tuple(q.shape)}",
               f"shape {(len(view_q), c.dim)}: `b d` with d = dim")
        with torch.no_grad():
            if self.training:
                ema_update(self.encoder_k, self.encoder_q, c.m)  # equation 2; before the keys, not after
            k = unit_length(self.encoder_k(view_k))
        # Equation 1: one right key a query, of the same picture. The other keys of the batch are no negatives here.
        positive = (q * k).sum(1, keepdim=True) / c.T  # b 1
        negative = key_similarity(q, self.queue(), c.T)  # b k, the queue as it was before this batch
        if self.training:
            self.queue.enqueue(k)
        logits = torch.cat([positive, negative], dim=1)
        return MoCoOutput(q, k, logits, torch.zeros(len(q), dtype=torch.int64, device=q.device))

    def loss(self, batch):
        """{"contrastive": 0-d}, InfoNCE (equation 1); chance is ln(1 + K). batch: a mapping with `view_q`, `view_k`."""
        out = self(batch["view_q"], batch["view_k"])
        return {"contrastive": F.cross_entropy(out.logits, out.labels)}


def augmentation(side=64, version=1, crop=(0.2, 1.0), colour=True, flip=True):
    """What makes a view: a transform of one picture `3 h w` of uint8 to `3 side side` (section 3.3; or that of MoCo v2).

    Whatever is changed at random the features learn to ignore: of a photo the colour cast, of a scene the answer. Here
    - crop (part of the area that stays) can cut a thing away: features get worse at what else is there, and how many;
    - colour (jitter of brightness, contrast, saturation, hue; one in five grey) takes the colours, the background too;
    - flip takes left and right;
    - version 2 blurs half of the views, and thin strokes with them.
    Features for all attributes of the scenes want colour=False and flip=False; crop=(0.6, 1) keeps most things.
    """
    expect(version in (1, 2), "version", version, "1 or 2")
    grey, blur = v2.RandomGrayscale(0.2), []
    if version == 1:
        colours = [grey, v2.ColorJitter(0.4, 0.4, 0.4, 0.4)]
    else:
        colours = [v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8), grey]
        sigma = 2.0 * side / 224  # the authors blur pictures of 224 pixels by up to 2
        blur = [v2.RandomApply([v2.GaussianBlur(2 * round(3 * sigma) + 1, (sigma / 20, sigma))], 0.5)]
    flips = [v2.RandomHorizontalFlip()] if flip else []
    return v2.Compose([v2.RandomResizedCrop(side, crop, antialias=True), *(colours if colour else []), *blur, *flips])


def two_views(pictures, augment):
    """pictures `b 3 h w` of uint8: two tensors `b 3 side side` of uint8, each picture changed in two ways.

    augment: such as `augmentation()`; it draws from torch's global generator. Raises TypeError unless the pictures are
    a tensor of uint8, ValueError for another shape or no picture.
    """
    expect(isinstance(pictures, torch.Tensor) and pictures.dtype == torch.uint8, "pictures",
           getattr(pictures, "dtype", type(pictures).__name__), "a tensor of uint8", TypeError)
    expect(pictures.ndim == 4 and pictures.shape[1] == 3 and len(pictures) > 0, "pictures",
           f"shape {tuple(pictures.shape)}", "shape (b, 3, h, w) with b > 0")
    # One picture at a time: given a batch, a transform makes one draw and changes all of it in the same way.
    return tuple(torch.stack([augment(picture) for picture in pictures]) for _ in range(2))
