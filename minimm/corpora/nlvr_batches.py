"""NLVR as models of the course take it: a vocabulary from its sentences, its boxes in a square, batches by step.

Letters: b pairs, k orders of the boxes, n examples, h and w pixels, s side of the square picture in pixels.
"""

import re
from collections import Counter
from typing import NamedTuple

import torch

from .._errors import expect
from ..scenes import Tokenizer, normalise
from ..scenes.data import Steps
from ..scenes.tokenizer import SPECIAL
from ..scenes.world import shuffled, stream
from . import nlvr

UNKNOWN = "[UNK]"
ORDERS = range(nlvr.PERMUTATIONS)
GREY = 128  # of the strips between the boxes


class Words(Tokenizer):
    """Whole words, those that stand in at least two of the sentences; all others are [UNK]. A word of one sentence
    tells nothing but which sentence it is, and [UNK] has to be learnt from something."""

    def __init__(self, sentences):
        found = Counter(word for sentence in set(sentences) for word in set(words_of(sentence)))
        super().__init__((*SPECIAL, UNKNOWN, *sorted(word for word, times in found.items() if times > 1)))

    def pieces(self, word):
        return super().pieces(word) or (UNKNOWN,)


def words_of(sentence):
    """Words, numbers and punctuation marks of a sentence, in small letters."""
    return re.findall(r"\w+|[^\w\s]", sentence.lower())


class Data(NamedTuple):
    """One split: examples, a list of n; pictures `k n 3 s s` of uint8."""

    examples: list
    pictures: torch.Tensor


def read(folder, split, box):
    """A split with all its pictures, in all orders: Data. box: side of a box in pixels, an even number.

    Raises what `nlvr.load` and `nlvr.batches` raise, and ValueError for pictures of another layout."""
    examples = nlvr.load(folder, split)
    return Data(examples, torch.stack([
        torch.cat([square(batch["pictures"]) for batch in nlvr.batches(examples, 250, (box, 4 * box), order)])
        for order in ORDERS]))


def square(pictures):
    """Three boxes in a row with strips of half a box between, `b 3 h 4h`: the boxes as upper left, upper right and
    lower left quarter of a square, `b 3 2h 2h`. The last quarter is grey as the strips were."""
    h, w = pictures.shape[2:]
    expect(w == 4 * h and h % 2 == 0, "pictures", f"{h} x {w} pixels", "an even height and four times that width")
    first, second, third = (pictures[..., at:at + h] for at in (0, 3 * h // 2, 3 * h))
    rest = torch.full_like(third, GREY)
    return torch.cat([torch.cat([first, second], -1), torch.cat([third, rest], -1)], -2)


def batch_of(data, pairs, words, hide=False):
    """What the models take, of pairs (number of an example, order of its boxes): {"images": `b 3 s s`, normalised,
    "ids": `b l`, "label": `b`, 1 for true}. hide: show pictures that are 0 everywhere, to find out what the sentence
    tells."""
    numbers, orders = map(list, zip(*pairs))
    images, examples = normalise(data.pictures[orders, numbers]), [data.examples[i] for i in numbers]
    return {"images": torch.zeros_like(images) if hide else images, "ids": words([e.sentence for e in examples]),
            "label": torch.tensor([int(e.label) for e in examples])}


class NLVRBatches:
    """Batches of the examples of these numbers as a function of the step. Every epoch goes through all examples in all
    orders of their boxes, in a new order. Raises ValueError if the size is not between 1 and the number of these."""

    def __init__(self, data, numbers, words, size, seed=0, device=None, hide=False):
        self.data, self.words, self.seed, self.device, self.hide = data, words, seed, device, hide
        self.pairs = [(i, order) for i in numbers for order in ORDERS]
        self.steps = Steps(len(self.pairs), size, self.order)

    def order(self, epoch):
        """The pairs of an epoch, in their order."""
        return shuffled(stream("nlvr", self.seed, epoch), self.pairs)

    def __call__(self, step):
        batch = batch_of(self.data, self.steps(step), self.words, self.hide)
        return {name: t.to(self.device) for name, t in batch.items()} if self.device else batch
