"""Masked words, on scenes by hand and with models whose answers are known."""

import pytest
import torch
from torch import nn

from minimm import scenes
from minimm.evaluation.masked import KINDS, language, masked_accuracy, masked_captions
from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.models.vilbert import ViLBERT, ViLBERTConfig
from minimm.models.vilt import ViLT, ViLTConfig
from minimm.objectives.masking import Masked
from minimm.scenes import PLACES, Caption, Mention, tokenizer
from minimm.scenes.captions import things_text

REAL = scenes.load("test", 150)
PLACE = tuple(PLACES)


def data_of(*pairs):
    """Data of (things, caption): things are (icon, colour) or (icon, colour, place), else at the next place."""
    made = tuple([scenes.Scene("night", tuple([scenes.Thing(icon, colour, "small", *(more or [PLACE[i]]), 0, 0)
                                               for i, (icon, colour, *more) in enumerate(things)]))
                  for things, _ in pairs])
    pictures = torch.zeros(len(made), 3, 64, 64, dtype=torch.uint8)
    return scenes.Scenes("test", 0, range(len(made)), made, pictures, {"captions": tuple([(c,) for _, c in pairs])})


def say(*mentions, relation=None, before="we see "):
    """A caption of mentions, each one an icon or the fields of a Mention."""
    mentions = tuple([Mention(m) if isinstance(m, str) else Mention(*m) for m in mentions])
    return Caption(before + things_text(mentions, relation), mentions, None, relation)


def one(things, caption, what, word):
    """(text of the masked caption, word that can stand there -> right): this word is hidden, by the seed that does."""
    data = data_of((things, caption))
    assert scenes.fits(caption, data.scenes[0])
    for seed in range(50):
        (row,) = masked_captions(data, what, seed)
        ids = list(row.ids)
        ids[row.at.start:row.at.stop] = next(fill for fill, right in row.fills.items() if right)
        assert row.scene == 0 and row.ids[row.at.start:row.at.stop] == [tokenizer.mask_id] * len(row.at)
        if word in (fills := {tokenizer.decode(fill): right for fill, right in row.fills.items()}) and fills[word]:
            return tokenizer.decode(row.ids), fills
    raise AssertionError(f"{word} is never hidden")


CUPS = [("cup", "red"), ("cup", "blue")]


def test_an_icon_by_hand():
    cup_and_umbrella = [("cup", "red"), ("umbrella", "red")]
    text, fills = one(cup_and_umbrella, say("umbrella", ("cup", "red")), "icon", "umbrella")
    assert text == "we see an [MASK] [MASK] [MASK] and a red cup"
    assert fills == {"umbrella": True, "envelope": False}  # no other icon has three pieces
    text, fills = one(cup_and_umbrella, say("umbrella", ("cup", "red")), "icon", "cup")
    assert text == "we see an umbrella and a red [MASK]" and len(fills) == 15
    assert [word for word, right in fills.items() if right] == ["cup"]


@pytest.mark.parametrize("icon, text, number", [
    ("cup", "we see two [MASK]s", 14),  # all icons of one piece but the cross
    ("cross", "we see two [MASK]es", 1),
    ("pencil", "we see two [MASK] [MASK]s", 6),  # all of two but the snowman
    ("snowman", "we see two [MASK] [MASK]", 16)])  # "snow ##men"; as many pieces have "cup ##s" and "cross ##es"
def test_plurals_by_hand(icon, text, number):
    word = "snowmen" if icon == "snowman" else icon
    found, fills = one([(icon, "red"), (icon, "blue")], say(icon, icon), "icon", word)
    assert found == text and len(fills) == number and [w for w, right in fills.items() if right] == [word]


def test_mentions_told_as_one_change_together():
    things = [("cup", "red"), ("cup", "red"), ("cup", "blue")]
    text, fills = one(things, say(("cup", "red"), "cup", ("cup", "red")), "colour", "red")
    assert text == "we see two [MASK] cups and a cup" and [w for w, right in fills.items() if right] == ["red"]
    text, fills = one(things, say(("cup", "red"), "cup", "cup"), "colour", "red")
    assert text == "we see a [MASK] cup and two cups" and [w for w, right in fills.items() if right] == ["red", "blue"]
    # In front of a relation equal mentions are told one by one.
    text, fills = one(CUPS, say("cup", "cup", relation=(0, "left of", 1)), "icon", "cup")
    assert text in ("we see a [MASK] left of a cup", "we see a cup left of a [MASK]")


def test_a_colour_by_hand():
    text, fills = one(CUPS, say(("cup", "blue"), "cup"), "colour", "blue")
    assert text == "we see a [MASK] cup and a cup" and set(fills) == set(scenes.COLOURS)
    assert [word for word, right in fills.items() if right] == ["red", "blue"]
    # The same words as the other phrase: "a red cup and a red cup" is not true here, though the text could be.
    text, fills = one(CUPS, say(("cup", "red"), ("cup", "blue")), "colour", "blue")
    assert text == "we see a red cup and a [MASK] cup" and [w for w, right in fills.items() if right] == ["blue"]


def test_a_place_by_hand():
    cups = [("cup", "red", "top left"), ("cup", "red", "bottom left")]
    caption = say(("cup", None, None, "top left"), "cup")
    assert one(cups, caption, "place", "top") == ("we see a cup at the [MASK] left and a cup",
                                                  {"top": True, "bottom": True})
    assert one(cups, caption, "place", "left") == ("we see a cup at the top [MASK] and a cup",
                                                   {"left": True, "right": False})


def test_a_relation_by_hand():
    text, fills = one(CUPS, say("cup", "cup", relation=(0, "left of", 1)), "relation", "left")
    assert text == "we see a cup [MASK] of a cup" and fills == {"left": True, "right": True}  # for either cup is meant
    caption = say(("cup", "blue", None, "top right"), "cup", relation=(0, "right of", 1))
    assert one(CUPS, caption, "relation", "right") == (
        "we see a blue cup at the top right, [MASK] of a cup", {"left": False, "right": True})
    cups = [("cup", "red", "top left"), ("star", "red", "bottom right")]
    assert one(cups, say("star", "cup", relation=(0, "below", 1)), "relation", "below") == (
        "we see a star [MASK] a cup", {"above": False, "below": True})


@pytest.mark.parametrize("what", KINDS)
def test_one_word_a_scene(what):
    rows = masked_captions(REAL, what)
    says = [i for i, of in enumerate(REAL.captions)
            if any(c.relation if what == "relation" else any(getattr(m, what) for m in c.mentions) for c in of)]
    assert [row.scene for row in rows] == says and len(says) > 75
    chosen = set()
    for row in rows:
        start, stop = row.at.start, row.at.stop
        right = [fill for fill, true in row.fills.items() if true]
        filled = [row.ids[:start] + list(fill) + row.ids[stop:] for fill in right]
        # One of the right words is the caption's own; an icon is the only one, as all things are named.
        own = [number for number, ids in enumerate(REAL.ids[row.scene]) if ids in filled]
        assert own
        chosen.update(own)
        assert row.ids.count(tokenizer.mask_id) == len(row.at) and (what != "icon" or len(right) == 1)
    assert len(chosen) == len(REAL.captions[0]) and rows == masked_captions(REAL, what, 0)
    # Of a scene's captions at most one says a relation: nothing is drawn.
    assert (masked_captions(REAL, what, 1) == rows) == (what == "relation")
    assert masked_captions(REAL[50:], what) == [r._replace(scene=r.scene - 50) for r in rows if r.scene >= 50]


class Told(nn.Module):
    """A model that puts given words at the masks: `answers`, the tokens for each number of a scene."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.weight = answers, nn.Parameter(torch.zeros(()))


@language.register(Told)
def told_language(model, picture, ids):
    assert not model.training and not torch.is_grad_enabled()
    logits = torch.zeros(*ids.shape, len(tokenizer))
    for row, text, number in zip(logits, ids, picture["number"].tolist()):
        masks = (text == tokenizer.mask_id).nonzero()[:, 0].tolist()
        row[:, tokenizer.ids["cup"]] = 1  # everywhere else
        for at, token in zip(masks, model.answers[number]):
            row[at, tokenizer.ids[token]] = 2
    return logits


def percent(answers, data, what, size=3):
    model = Told([answer.split() for answer in answers]).train()
    found = masked_accuracy(model, data, what, lambda index: {"number": index}, size)
    assert model.training
    return found


COLOURED = data_of(*[(CUPS, say(("cup", "blue"), "cup"))] * 4)


@pytest.mark.parametrize("answers, right", [
    (["blue", "red", "pink", "cup"], 50),  # its own; the other cup's, true as well; a wrong one; no colour
    (["blue"] * 4, 100), (["white", "star", "[MASK]", "##s"], 0)])
def test_colours_that_a_model_says(answers, right):
    assert percent(answers, COLOURED, "colour") == {"right": right, "chance": 100, "captions": 4}


def test_icons_that_a_model_says():
    things = [("umbrella", "red"), ("umbrella", "blue")]
    data = data_of(*[(things, say("umbrella", "umbrella"))] * 5)
    answers = ["um ##brel ##la", "en ##vel ##ope", "um ##brel ##brel", "um um um", "##la ##brel um"]
    assert percent(answers, data, "icon") == {"right": 20, "chance": 100, "captions": 5}
    things = [("snowman", "red"), ("snowman", "blue")]
    data = data_of(*[(things, say("snowman", "snowman"))] * 3)  # "two snowmen", so nothing else
    assert percent(["snow ##men", "snow ##man", "snow ##flake"], data, "icon")["right"] == pytest.approx(100 / 3)


def test_places_and_relations_that_a_model_says():
    things = [("cup", "red", "top left"), ("star", "red", "bottom right")]
    data = data_of(*[(things, say("star", "cup", relation=(0, "right of", 1)))] * 4)
    assert percent(["right", "left", "below", "of"], data, "relation")["right"] == 25  # a star below of a cup: no
    data = data_of(*[(things, say("cup", ("star", None, None, "bottom right")))] * 8)
    rows = masked_captions(data, "place")
    rowwise = [(tokenizer.ids["top"],) in row.fills for row in rows]  # the first of the two words is hidden
    assert 0 < sum(rowwise) < 8
    assert percent(["bottom"] * 8, data, "place")["right"] == 100 * sum(rowwise) / 8
    assert percent(["right"] * 8, data, "place")["right"] == 100 * (8 - sum(rowwise)) / 8


def test_chance_by_hand():
    def alone(icon, colour):
        return [(icon, colour)], say((icon, colour))

    # Colours: behind "an" it is orange, 2 of 2; else best blue, 2 of 3. Icons: of one piece best cup, 2 of 3; of three
    # either, 1 of 2.
    data = data_of(alone("cup", "orange"), alone("star", "orange"), alone("cup", "blue"), alone("umbrella", "blue"),
                   alone("envelope", "red"))
    assert percent(["red"] * 5, data, "colour") == {"right": 20, "chance": 80, "captions": 5}
    assert percent(["star"] * 5, data, "icon") == {"right": 20, "chance": 60, "captions": 5}
    # Of what is true of both cups either is right.
    data = data_of((CUPS, say(("cup", "blue"), "cup")), alone("cup", "red"), alone("star", "pink"))
    assert percent(["blue"] * 3, data, "colour")["chance"] == pytest.approx(200 / 3)


@pytest.mark.parametrize("what", KINDS)
def test_who_knows_is_right_and_who_does_not_look_has_chance(what):
    rows = masked_captions(REAL, what)
    answers = [""] * len(REAL)
    for row in rows:
        fill = next(fill for fill, right in row.fills.items() if right)
        answers[row.scene] = " ".join(tokenizer.vocabulary[i] for i in fill)
    found = percent(answers, REAL, what, size=70)
    assert found["right"] == 100 and found["captions"] == len(rows)
    # Always one word is at best as good as chance, and with two words to choose from chance is about one half.
    words = sorted({answer for answer in answers if answer})
    assert 100 / len(words) < found["chance"] < (65 if what in ("place", "relation") else 35)
    assert all(percent([word] * len(REAL), REAL, what, size=300)["right"] <= found["chance"] for word in words[:3])


# Models -------------------------------------------------------------------------------------------------------------

NARROW = dict(dropout=0.5, vocab=len(tokenizer))  # so that training mode would show
ALBEF_SIZES = ALBEFConfig(patch=16, vision_width=8, vision_layers=1, vision_heads=2, vision_hidden=8, text_width=8,
                          text_layers=1, fusion_layers=1, text_heads=2, text_hidden=8, stem=False, queue=8, **NARROW)
MODELS = {
    "ViLT": lambda: ViLT(ViLTConfig(patch=16, width=8, layers=1, heads=2, hidden=8, **NARROW)),
    "ALBEF": lambda: ALBEF(ALBEF_SIZES),
    "ViLBERT": lambda: ViLBERT(ViLBERTConfig(
        text_width=8, text_layers=1, text_heads=2, text_hidden=8, region_features=5, vision_width=8, vision_layers=1,
        vision_heads=2, vision_hidden=8, co_width=16, co_heads=2, text_co=(0,), vision_co=(0,), **NARROW))}


def see_regions(index):
    """Regions of scenes by their numbers, of every second scene only one; region_classes are for pre-training only."""
    return {"regions": index[:, None, None] * torch.linspace(-1, 1, 10).view(2, 5),
            "boxes": torch.tensor([0.0, 1, 20, 30]).expand(len(index), 2, 4),
            "region_mask": torch.arange(2) < 1 + index[:, None] % 2, "region_classes": torch.ones(len(index), 2, 1)}


@pytest.mark.parametrize("name", MODELS)
def test_language_of_the_models(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    for weight in model.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.7)
    see = see_regions if name == "ViLBERT" else REAL.see
    rows = masked_captions(REAL[:40], "colour")
    ids, picture = tokenizer.pad([row.ids for row in rows]), see(torch.tensor([row.scene for row in rows]))
    with torch.no_grad():
        model.eval()
        logits = language(model, picture, ids)
        if name == "ViLBERT":
            seen = {key: t for key, t in picture.items() if key != "region_classes"}
            expected = model.mlm(model(ids=ids, **seen).text, model.text_embed.tok.weight)
        else:
            expected = model.step(picture["images"], ids, masked=Masked(ids, ids)).language_logits
        other = language(model, {key: t.roll(2, 0) for key, t in picture.items()}, ids)
    torch.testing.assert_close(logits, expected)
    assert logits.shape == (*ids.shape, len(tokenizer)) and (logits - other).abs().max() > 1e-3
    best = logits.argmax(-1)
    by_hand = [row.fills.get(tuple(text[row.at.start:row.at.stop].tolist()), False) for row, text in zip(rows, best)]
    model.train()
    found = masked_accuracy(model, REAL[:40], "colour", see, size=9)
    assert found["right"] == pytest.approx(100 * sum(by_hand) / len(rows)) and found["captions"] == len(rows)
    assert all(part.training for part in model.modules())


def test_sizes_of_the_pictures_count():
    model = MODELS["ViLT"]().eval()
    images, ids = torch.randn(2, 3, 64, 64), REAL.tokens()[:2]
    small = language(model, {"images": images, "sizes": torch.tensor([[64, 64], [32, 16]])}, ids)
    assert not torch.equal(small[1], language(model, {"images": images}, ids)[1])


@pytest.mark.parametrize("call, error, words", [
    (lambda: masked_captions(REAL, "size"), ValueError, "what: expected one of icon, .* got 'size'"),
    (lambda: masked_accuracy(Told([]), COLOURED, "relation"), ValueError, "data: expected a word of the kind relation"),
    (lambda: language(nn.Linear(2, 2), {}, None), TypeError, "model: expected a ViLT, .* got a Linear"),
    (lambda: language(ALBEF(ALBEFConfig(index_targets=True)), {}, None), ValueError, "model: expected one with a head"),
])
def test_wrong_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_model_that_fails_gets_its_mode_back():
    model = Told([["no"]]).train()
    with pytest.raises(IndexError):
        masked_accuracy(model, COLOURED, "colour", lambda index: {"number": index})
    assert model.training
