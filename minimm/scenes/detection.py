"""What a detector learns from: the true boxes of scenes, and batches of them."""

import torch

from .data import Steps, normalise
from .drawing import boxes
from .world import COLOURS, ICONS, PLACES, SIZES, shuffled, stream


def targets(scenes):
    """What is to be found in scenes, a row a thing: a mapping.

    "boxes": `b t 4` of x0, y0, x1, y1 in pixels; "labels": `b t`, 1 + the number of the icon, 0 where no more things
    are; "colours", "sizes": `b t`, their numbers. t is the most things that a scene can have.
    """
    b, t = len(scenes), len(PLACES)
    result = {"boxes": torch.zeros(b, t, 4), **{name: torch.zeros(b, t, dtype=torch.int64)
                                                for name in ("labels", "colours", "sizes")}}
    number = {value: i for values in (ICONS, COLOURS, SIZES) for i, value in enumerate(values)}
    for i, scene in enumerate(scenes):
        n = len(scene.things)
        result["boxes"][i, :n] = torch.from_numpy(boxes(scene)).float()
        for name, values in (("labels", [1 + number[thing.icon] for thing in scene.things]),
                             ("colours", [number[thing.colour] for thing in scene.things]),
                             ("sizes", [number[thing.size] for thing in scene.things])):
            result[name][i, :n] = torch.tensor(values)
    return result


class DetectionBatches:
    """Batches of pictures and what is to be found in them, as a function of the step, like `Batches`.

    Raises ValueError if the size is not between 1 and the number of scenes.
    """

    def __init__(self, data, size=32, seed=0, device=None):
        self.data, self.seed, self.device = data, seed, device
        self.steps, self.targets = Steps(len(data), size, self.order), targets(data.scenes)

    def order(self, epoch):
        """The numbers of the scenes within the data, in their order in an epoch."""
        return shuffled(stream("detection", self.seed, epoch), range(len(self.data)))

    def __call__(self, step):
        """{"images": `b c h w` normalised, and what `targets` gives for them}."""
        index = torch.tensor(self.steps(step))
        batch = {"images": normalise(self.data.pictures[index]), **{name: t[index] for name, t in self.targets.items()}}
        return {name: t.to(self.device) for name, t in batch.items()} if self.device else batch
