"""Masked words: one word of a caption is hidden, all its pieces; right is every word of its kind that makes it true."""

from functools import singledispatch
from typing import NamedTuple

import torch

from .._errors import expect
from ..models.albef import ALBEF
from ..models.vilbert import ViLBERT
from ..models.vilt import ViLT
from ..scenes import COLOURS, ICONS, PLACES, fits, tokenizer
from ..scenes.captions import RELATIONS, noun, reworded, said
from ..scenes.tasks import to
from ..scenes.world import pick, stream
from .embed import embed, evaluating

KINDS = {"icon": ICONS, "colour": COLOURS, "place": PLACES, "relation": RELATIONS}  # what captions say of each kind


@singledispatch
def language(model, picture, ids):
    """Which token a model expects at every position: logits `b l v`. picture: mapping of tensors; ids `b l`. Raises
    TypeError for a model that it does not know, ValueError for an ALBEF without a head for masked words."""
    raise TypeError(f"model: expected a ViLT, ViLBERT or ALBEF, but got a {type(model).__name__}")


@language.register(ViLT)
def vilt_language(model, picture, ids):
    return model.mlm(model.encoder(picture["images"], ids, picture.get("sizes")).text)


@language.register(ViLBERT)
def vilbert_language(model, picture, ids):
    out = model(picture["regions"], picture["boxes"], ids, *map(picture.get, ("region_mask", "sizes")))
    return model.mlm(out.text, model.text_embed.tok.weight)


@language.register(ALBEF)
def albef_language(model, picture, ids):
    expect(model.online.mlm is not None, "model", "one fine-tuned for retrieval", "one with a head for masked words")
    return model.online.language(ids, model.text_mask(ids), model.online.vision(picture["images"]))


class MaskedCaption(NamedTuple):
    """The ids of a caption of scene number `scene` within the data, with [MASK] at the positions `at`.
    fills: ids of every word of its kind that can stand there (with as many pieces and the plural's ending that is left;
    left or right in front of "of") -> whether it makes the caption true: of "a [MASK] cup and a cup" two colours do."""
    scene: int
    ids: list
    at: range
    fills: dict


def masked_captions(data, what, seed=0):
    """One caption of every scene that says such a word, and one such word in it, drawn by lot: list of MaskedCaption.
    What "two cups" says is one word. data: Scenes; what: one of KINDS. Raises ValueError for another one."""
    expect(what in KINDS, "what", repr(what), f"one of {', '.join(KINDS)}")
    rows = []
    for i, (number, scene, captions) in enumerate(zip(data.numbers, data.scenes, data.captions)):
        saying = [(c, of) for c in captions if (of := [fact for fact in said(c) if fact[0] == what])]
        if saying:
            random = stream("masked", what, seed, number)
            caption, facts = pick(random, saying)
            rows.append(MaskedCaption(i, *_mask(caption, scene, *pick(random, facts), random)))
    return rows


def _mask(caption, scene, what, name, numbers, random):
    k = int(random() * 2) if what == "place" else 0  # of "top left" one of the two, of "left of" the first

    def split(name):  # (the name with its word hidden, the ids of the word)
        words = name.split()
        word = noun(name, len(numbers)) if what == "icon" else words[k]
        return " ".join([*words[:k], "[MASK]", *words[k + 1:]]), tuple(tokenizer.encode(word)[1:-1])

    hidden, word = split(name)
    length = len(word) - (tokenizer.vocabulary[word[-1]] in ("##s", "##es"))
    start = len(tokenizer.encode(reworded(caption, what, numbers, hidden).text.partition("[MASK]")[0])) - 1
    ids = tokenizer.encode(caption.text)
    ids[start:start + length] = [tokenizer.mask_id] * length
    fills = {}
    for other in KINDS[what]:
        rest, found = split(other)
        if rest == hidden and len(found) == len(word) and found[length:] == word[length:]:
            fills[found[:length]] = fits(reworded(caption, what, numbers, other), scene)
    return ids, range(start, start + length), fills


def masked_accuracy(model, data, what, see=None, size=250):
    """In percent: {"right": the likeliest tokens, of the whole vocabulary, make a right word; "chance": what one gets
    without looking, with the word most often right of those that can stand there, behind "an" or not; "captions": n}.
    The model gets its mode back. see: default `data.see`. Raises ValueError for data that never says such a word."""
    rows, alike = masked_captions(data, what), {}
    expect(len(rows) > 0, "data", f"{len(data)} scenes whose captions say none", f"a word of the kind {what}")

    def right(part):
        picture = (see or data.see)(torch.tensor([row.scene for row in part]))
        logits = language(model, to(picture, device), tokenizer.pad([row.ids for row in part]).to(device))
        return torch.tensor([row.fills.get(tuple(best[i] for i in row.at), False)
                             for row, best in zip(part, logits.argmax(-1).tolist())])

    with evaluating(model) as device:
        found = embed(right, rows, size)
    for row in rows:
        shown = *row.fills, row.ids[row.at.start - 1] == tokenizer.ids["an"]
        alike.setdefault(shown, []).append(row.fills.values())
    most = sum(max(map(sum, zip(*fills))) for fills in alike.values())  # fills: captions x words, whether right
    return {"right": 100 * found.double().mean().item(), "chance": 100 * most / len(rows), "captions": len(rows)}
