"""Splits of scenes with their pictures and language, and batches of them."""

import gc
import hashlib
import pickle
from functools import cache, cached_property, lru_cache
from pathlib import Path

import torch

from .._errors import expect
from .._paths import cache_dir, write_whole
from .captions import captions
from .drawing import draw_all
from .questions import questions
from .reasoning import referring, why
from .statements import hypotheses, statement
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

    scenes: tuple of Scene; pictures: `b c h w` of uint8; captions, questions, hypotheses, referring: a tuple a scene;
    why: a Why a scene, or None where the scene allows none; statements: a Statement a scene, about that scene (left)
    and the next one of the split (right; after the last comes the first).
    """

    def __init__(self, split, seed, numbers, scenes, pictures, language):
        self.split, self.seed, self.numbers = split, seed, numbers
        self.scenes, self.pictures, self._language = scenes, pictures, language

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, part):
        expect(isinstance(part, slice), "part", repr(part), "a slice such as [:100]", TypeError)
        return Scenes(self.split, self.seed, self.numbers[part], self.scenes[part], self.pictures[part],
                      {name: rows[part] for name, rows in self._language.items()})

    def __getattr__(self, name):
        try:
            return self.__dict__["_language"][name]
        except KeyError:
            raise AttributeError(f"scenes have no {name!r}") from None

    @cached_property
    def ids(self):
        """The captions as lists of token ids, a tuple of lists a scene."""
        return tuple(tuple(tokenizer.encode(c.text) for c in of_scene) for of_scene in self.captions)

    def images(self, dtype=torch.float32):
        """All pictures, normalised: `b c h w`."""
        return normalise(self.pictures, dtype)

    def tokens(self, caption=0):
        """The ids of one caption a scene: tensor `b l`."""
        return tokenizer.pad([rows[caption] for rows in self.ids])


#: Name -> function of a scene and its key.
LANGUAGE = {"captions": captions, "questions": questions, "hypotheses": hypotheses, "why": why, "referring": referring}


@cache
def _version():
    # A cache made by other code is another cache.
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


class _Reader(pickle.Unpickler):
    """Reads the records of this package and nothing else."""

    def find_class(self, module, name):
        if module.startswith("minimm.scenes."):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a cache of scenes")


def _tell(split, number, seed):
    # the scenes of a split and all their language, from the cache or anew
    path = cache_dir() / "scenes" / f"{split}-{number}-{seed}-{_version()}.pickle"
    collecting = gc.isenabled()
    gc.disable()  # millions of small objects that all stay: looking for garbage among them takes seconds
    try:
        try:
            with open(path, "rb") as file:
                return _Reader(file).load()
        except (OSError, EOFError, pickle.UnpicklingError):
            pass
        scenes = tuple(make(split, i, seed) for i in range(number))
        language = {name: tuple(tell(scene, (split, seed, i)) for i, scene in enumerate(scenes))
                    for name, tell in LANGUAGE.items()}
        language["statements"] = tuple(statement(scenes[i], scenes[(i + 1) % number], (split, seed, i))
                                       for i in range(number))
    finally:
        if collecting:
            gc.enable()
    try:
        for old in path.parent.glob("*.pickle"):
            if not old.stem.endswith(_version()):
                old.unlink()
        write_whole(path, lambda file: pickle.dump((scenes, language), file, protocol=5))
    except OSError:  # a full or a read-only disk: the next run tells the same scenes again
        pass
    return scenes, language


@lru_cache(maxsize=8)
def load(split="train", number=None, seed=0):
    """The first scenes of a split with their pictures and language, told once and then cached in `data/cache`.

    split: "train", "val", "test" or "novel" (pairs of colour and icon that the others never show); number: default
    20,000 for train, 4,000 for test, 2,000 for the others.
    Raises ValueError for an unknown split or a number below 1.
    """
    expect(split in SPLITS, "split", repr(split), f"one of {', '.join(SPLITS)}")
    number = NUMBERS[split] if number is None else number
    expect(isinstance(number, int) and number > 0, "number", number, "a whole number from 1 on")
    scenes, language = _tell(split, number, seed)
    pictures = torch.from_numpy(draw_all(scenes)).permute(0, 3, 1, 2)
    return Scenes(split, seed, range(number), scenes, pictures, language)


class Batches:
    """Batches of pairs, as a function of the number of the step: `batches(0)`, `batches(1)`, ...

    Every epoch goes through all scenes in a new order and takes one of their captions by chance. A batch depends on
    the seed and the step alone, so that a run can go on where it stopped. The last scenes of an epoch that do not
    fill a batch are left out. Raises ValueError if the size is not between 1 and the number of scenes.
    """

    def __init__(self, data, size=128, seed=0, device=None):
        expect(0 < size <= len(data), "size", size, f"1 to {len(data)}, the number of scenes")
        self.data, self.size, self.seed, self.device = data, size, seed, device
        self._epoch, self._order = None, None

    def __call__(self, step):
        """{"images": `b c h w` normalised, "ids": `b l`, "index": `b` numbers of the scenes within the data}."""
        a_epoch = len(self.data) // self.size
        epoch, at = divmod(step, a_epoch)
        if epoch != self._epoch:
            random = stream("batches", self.seed, epoch)
            order = shuffled(random, range(len(self.data)))
            self._epoch = epoch
            self._order = [(i, int(random() * len(self.data.ids[i]))) for i in order]
        chosen = self._order[at * self.size:(at + 1) * self.size]
        index = torch.tensor([i for i, _ in chosen])
        batch = {"images": normalise(self.data.pictures[index]),
                 "ids": tokenizer.pad([self.data.ids[i][k] for i, k in chosen]), "index": index}
        return {name: t.to(self.device) for name, t in batch.items()} if self.device else batch
