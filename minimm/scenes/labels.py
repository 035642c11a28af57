"""What stands where, as numbers: the labels that a picture encoder can learn from before it meets language."""

import torch

from .._errors import expect
from .data import normalise
from .world import BACKGROUNDS, COLOURS, ICONS, PLACES, SIZES, shuffled, stream

#: Label -> its classes; the last icon means that the place is empty.
LABELS = {"icon": (*ICONS, None), "colour": tuple(COLOURS), "size": tuple(SIZES)}
NOTHING = -100  # an empty place has no colour and no size; PyTorch's losses leave this number out


def labels(scenes):
    """(`b 4 3`: icon, colour and size at every place of PLACES, numbers in LABELS; `b`: background)."""
    places, number = tuple(PLACES), [{c: i for i, c in enumerate(classes)} for classes in LABELS.values()]
    empty = [len(ICONS), NOTHING, NOTHING]
    at = torch.tensor(empty).expand(len(scenes), len(places), len(empty)).clone()
    for row, scene in zip(at, scenes):
        for thing in scene.things:
            told = thing.icon, thing.colour, thing.size
            row[places.index(thing.place)] = torch.tensor([n[value] for n, value in zip(number, told)])
    return at, torch.tensor([tuple(BACKGROUNDS).index(s.background) for s in scenes])


class LabelBatches:
    """Batches of pictures with their labels, as a function of the step: {"images", "places" `b 4 3`, "background" `b`}.

    Every epoch goes through all scenes in a new order; what does not fill a batch is left out.
    Raises ValueError if the size is not between 1 and the number of scenes.
    """

    def __init__(self, data, size=128, seed=0, device=None):
        expect(0 < size <= len(data), "size", size, f"1 to {len(data)}, the number of scenes")
        self.data, self.size, self.seed, self.device = data, size, seed, device
        self.places, self.background = labels(data.scenes)
        self._epoch, self._order = None, None

    def __call__(self, step):
        epoch, at = divmod(step, len(self.data) // self.size)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.tensor(shuffled(stream("labels", self.seed, epoch), range(len(self.data))))
        index = self._order[at * self.size:(at + 1) * self.size]
        batch = {"images": normalise(self.data.pictures[index]), "places": self.places[index],
                 "background": self.background[index]}
        return {name: t.to(self.device) for name, t in batch.items()} if self.device else batch
