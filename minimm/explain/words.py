"""The words of sentences about scenes: of which tokens they are, and which things of a picture they are true of."""

import numpy as np
import torch

from .._errors import expect
from ..layers import check_ids
from ..objectives.masking import word_numbers
from ..scenes import COLOURS, ICONS, SIZES, masks, tokenizer
from ..scenes.captions import noun
from ..scenes.tokenizer import FUNCTION_WORDS

#: Word -> (what it says of a thing, a field of Thing, and its value there).
MEANS = {**{word: ("icon", icon) for icon in ICONS for word in (icon, noun(icon, 2))},
         **{word: (field, word) for field, names in (("colour", COLOURS), ("size", SIZES)) for word in names}}
_CONTINUES = torch.tensor([token.startswith("##") for token in tokenizer.vocabulary])
_ENDS = [tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id]


def scene_words(ids):
    """Which word of its text every token `b l` belongs to: `b l`, counted from 0, -1 for [CLS], [SEP] and padding. "um ##brel
    ##la" is one word."""
    check_ids(ids, len(tokenizer))
    return word_numbers(ids, _CONTINUES.to(ids.device), _ENDS)


def words_of(ids):
    """The words of one text `l`, in order: a list of (word, its positions)."""
    numbers = scene_words(ids[None])[0]
    positions = [(numbers == number).nonzero()[:, 0].tolist() for number in range(int(numbers.max()) + 1)]
    return [(tokenizer.decode(ids[at]), at) for at in positions]


def find_word(ids, word):
    """The positions of a word in one text `l`, those of its first appearance. Raises ValueError, saying the words that there
    are, for one that is not in it."""
    found = words_of(ids)
    expect(word in dict(found), "word", repr(word), f"one of {', '.join(dict(found))}")
    return next(at for name, at in found if name == word)


def first_of_meaning(names):
    """The number of the first word that may say something of a picture, no "a" or "of"; 0 where there is none."""
    return next((i for i, name in enumerate(names) if name not in FUNCTION_WORDS), 0)


def meant(scene, word):
    """The pixels of the things of a scene that a word is true of, `h w` of bool; None for a word that is true of none of them,
    or of all, or says nothing of a thing: then every map that finds any thing, or none, would be right."""
    field, value = MEANS.get(word, (None, None))
    true = [getattr(thing, field) == value for thing in scene.things] if field else []
    if not any(true) or all(true):
        return None
    return torch.from_numpy(masks(scene)[np.array(true)].any(0))
