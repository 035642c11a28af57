"""Splits of scenes with their pictures and language, and batches of them."""

import gc
from contextlib import contextmanager
from functools import cached_property, lru_cache

import torch

from .._errors import expect
from .captions import captions
from .drawing import draw_all
from .questions import questions
from .reasoning import referring, why
from .statements import descriptions, hypotheses, statements
from .tokenizer import tokenizer
from .world import SPLITS, make, shuffled, stream

#: Scenes in each split, unless another number is asked for.
NUMBERS = {"train": 20_000, "val": 2_000, "test": 4_000, "novel": 2_000}
#: What `normalise` takes off and divides by: roughly the mean and the spread of the pixels of this world.
MEAN, STD = 0.25, 0.2


def normalise(pictures, dtype=torch.float32):
    """Pixels from 0 to 255 as the numbers that models take: `b c h w` of uint8 to floating point, about -1 to 4.

    Raises TypeError unless the pictures are a tensor of uint8.
    """
    expect(isinstance(pictures, torch.Tensor) and pictures.dtype == torch.uint8, "pictures",
           getattr(pictures, "dtype", type(pictures).__name__), "a tensor of uint8", TypeError)
    return (pictures.to(dtype) / 255 - MEAN) / STD


class Scenes:
    """Scenes of a split with their pictures and all their language; `data[i:j]` is a part of it.

    scenes: tuple of Scene; pictures: `b c h w` of uint8; captions, descriptions, questions, hypotheses, referring,
    statements: a tuple a scene, statements about that scene (left) and the next one of the split (right); why: a Why a
    scene, or None where the scene allows none. What is asked for is told once, for all scenes together, and kept.
    """

    def __init__(self, split, seed, numbers, scenes, pictures, told=None):
        self.split, self.seed, self.numbers = split, seed, numbers
        self.scenes, self.pictures, self._told = scenes, pictures, told or {}

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, part):
        expect(isinstance(part, slice), "part", repr(part), "a slice such as [:100]", TypeError)
        told = {name: rows[part] for name, rows in self._told.items()}
        return Scenes(self.split, self.seed, self.numbers[part], self.scenes[part], self.pictures[part], told)

    def _tell(self, name):
        if name not in self._told:
            keys = [(self.split, self.seed, number) for number in self.numbers]
            with _no_garbage():
                self._told[name] = tuple([LANGUAGE[name](scene, key) for scene, key in zip(self.scenes, keys)])
        return self._told[name]

    captions = property(lambda self: self._tell("captions"))
    questions = property(lambda self: self._tell("questions"))
    hypotheses = property(lambda self: self._tell("hypotheses"))
    statements = property(lambda self: self._tell("statements"))
    why = property(lambda self: self._tell("why"))
    descriptions = property(lambda self: self._tell("descriptions"))
    referring = property(lambda self: self._tell("referring"))

    @cached_property
    def ids(self):
        """The captions as lists of token ids, a tuple of lists a scene."""
        return self._encoded("captions")

    @cached_property
    def all_ids(self):
        """The captions and behind them the descriptions, as `ids`."""
        return tuple([a + b for a, b in zip(self.ids, self._encoded("descriptions"))])

    def _encoded(self, name):
        return tuple([tuple([tokenizer.encode(c.text) for c in of_scene]) for of_scene in self._tell(name)])

    def images(self, dtype=torch.float32):
        """All pictures, normalised: `b c h w`."""
        return normalise(self.pictures, dtype)

    def see(self, index):
        """What a model sees of some scenes, by their numbers within the data: {"images": `b c h w`, normalised}."""
        return {"images": normalise(self.pictures[index])}

    def tokens(self, caption=0):
        """The ids of one caption a scene: tensor `b l`."""
        return tokenizer.pad([tokenizer.encode(of_scene[caption].text) for of_scene in self.captions])


def _statements(scene, key):
    split, seed, number = key
    return statements(scene, make(split, number + 1, seed), key)


#: Name -> function of a scene and its key, (split, seed, number).
LANGUAGE = {"captions": captions, "questions": questions, "hypotheses": hypotheses, "statements": _statements,
            "why": why, "referring": referring, "descriptions": descriptions}


@contextmanager
def _no_garbage():
    # Millions of small objects that all stay: to look for garbage among them would take as long as to make them.
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@lru_cache(maxsize=8)
def load(split="train", number=None, seed=0):
    """The first scenes of a split, drawn; in one process they are made once and then shared.

    split: "train", "val", "test" or "novel" (pairs of colour and icon that the others never show); number: default
    20,000 for train, 4,000 for test, 2,000 for the others.
    Raises ValueError for an unknown split or a number below 1.
    """
    expect(split in SPLITS, "split", repr(split), f"one of {', '.join(SPLITS)}")
    number = NUMBERS[split] if number is None else number
    expect(isinstance(number, int) and number > 0, "number", number, "a whole number from 1 on")
    with _no_garbage():
        scenes = tuple([make(split, i, seed) for i in range(number)])
    pictures = torch.from_numpy(draw_all(scenes)).permute(0, 3, 1, 2)
    return Scenes(split, seed, range(number), scenes, pictures)


class Steps:
    """Which items are in the batch of a step: every epoch goes through all of them in a new order. The last ones of an
    epoch that do not fill a batch are left out.

    number: of items; order: function of the epoch, all items in their order. Raises ValueError if the size is not
    between 1 and that number.
    """

    def __init__(self, number, size, order):
        expect(0 < size <= number, "size", size, f"1 to {number}, as many as there are")
        self.size, self.an_epoch, self.order = size, number // size, order
        self._epoch, self._items = None, None

    def __call__(self, step):
        epoch, at = divmod(step, self.an_epoch)
        if epoch != self._epoch:
            self._epoch, self._items = epoch, self.order(epoch)
        return self._items[at * self.size:(at + 1) * self.size]


class Batches:
    """Batches of pairs, as a function of the number of the step: `batches(0)`, `batches(1)`, ...

    Every epoch goes through all scenes in a new order and takes one of their captions by chance. A batch depends on
    the seed and the step alone, so that a run can go on where it stopped. The last scenes of an epoch that do not
    fill a batch are left out. Raises ValueError if the size is not between 1 and the number of scenes.

    see: function of numbers of scenes within the data, `b` of int64: a mapping of tensors, what the model sees of them;
    default: their pictures. descriptions: choose from the captions and the descriptions of a scene.
    """

    def __init__(self, data, size=128, seed=0, device=None, see=None, descriptions=False):
        self.data, self.seed, self.device, self.see = data, seed, device, see or data.see
        self.ids = data.all_ids if descriptions else data.ids
        self.steps = Steps(len(data), size, self.order)

    def order(self, epoch):
        """(scene, which of its captions) of an epoch, in their order."""
        random = stream("batches", self.seed, epoch)
        order = shuffled(random, range(len(self.data)))
        return [(i, int(random() * len(self.ids[i]))) for i in order]

    def __call__(self, step):
        """{"images": `b c h w` normalised, or what `see` gives; "ids": `b l`; "index": `b` numbers of the scenes within
        the data}."""
        chosen = self.steps(step)
        index = torch.tensor([i for i, _ in chosen])
        ids = tokenizer.pad([self.ids[i][k] for i, k in chosen])
        batch = {**self.see(index), "ids": ids, "index": index}
        return {name: t.to(self.device) for name, t in batch.items()} if self.device else batch
