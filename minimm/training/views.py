"""Two views of each picture, for MoCo (He et al. 2020, section 3.3)."""

import torch

from ..models.moco import augmentation, two_views
from ..scenes import normalise
from ..scenes.world import stream

#: What stays as it is in a view is what the features keep: of a scene all that is asked for.
SCENES = {"crop": (0.6, 1), "colour": False, "flip": False}


class Views:
    """Batches of {"view_q", "view_k": `b c h w`, normalised}, as a function of the step. batches: a `scenes.Batches`."""

    def __init__(self, batches):
        self.batches, self.augment = batches, augmentation(batches.data.pictures.shape[-1], **SCENES)

    def __call__(self, step):
        batch = self.batches(step)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(2**31 * stream("views", self.batches.seed, step)()))
            views = two_views(self.batches.data.pictures[batch["index"].cpu()], self.augment)
        return {name: normalise(view).to(batch["index"].device) for name, view in zip(("view_q", "view_k"), views)}
