"""Scores of maps, by hand; which words are asked for; the controls; the report of a model."""

import json

import pytest
import torch
from torch import nn

from minimm.explain import Look, Maps, find_word, meant, scene_words, scores, words_of
from minimm.explain.architectures import Grid
from minimm.explain.scores import area, asked, best_iou, bootstrap, chance, curves, energy, hide, peak, pointing, wilson
from minimm.models.vilt import ViLT, ViLTConfig
from minimm.models.vse import VSE, VSEConfig
from minimm.scenes import Scene, Thing, draw, load, masks, tokenizer


def scene():
    return Scene("night", (Thing("umbrella", "red", "large", "top left", 1, 1), Thing("cup", "red", "small", "top right", 37, 5),
                           Thing("cup", "blue", "small", "bottom right", 37, 37)))


def test_words():
    ids = tokenizer(["a red umbrella, two cups", "a cup"])
    assert tokenizer.tokenize("umbrella") == ["um", "##brel", "##la"]
    assert scene_words(ids).tolist() == [[-1, 0, 1, 2, 2, 2, 3, 4, 5, 5, -1], [-1, 0, 1, -1, -1, -1, -1, -1, -1, -1, -1]]
    assert words_of(ids[0]) == [("a", [1]), ("red", [2]), ("umbrella", [3, 4, 5]), (",", [6]), ("two", [7]), ("cups", [8, 9])]
    assert find_word(ids[0], "umbrella") == [3, 4, 5]
    assert find_word(tokenizer("a cup and a star")[0], "a") == [1]
    with pytest.raises(ValueError, match="word: expected one of a, red, umbrella, ,, two, cups, but got 'star'"):
        find_word(ids[0], "star")
    with pytest.raises(ValueError, match="ids"):
        scene_words(torch.tensor([[1, 10_000, 2]]))


def test_meant():
    umbrella, cup, other = (torch.from_numpy(mask) for mask in masks(scene()))
    for word, mask in (("umbrella", umbrella), ("cup", cup | other), ("cups", cup | other), ("red", umbrella | cup),
                       ("blue", other), ("large", umbrella), ("small", cup | other)):
        assert meant(scene(), word).equal(mask), word
    for word in ("star", "green", "a", "left", "three"):
        assert meant(scene(), word) is None
    one_colour = Scene("night", (scene().things[0], scene().things[1]))
    assert meant(one_colour, "red") is None  # true of both
    assert (torch.from_numpy(draw(scene())).float().std(-1)[meant(scene(), "blue")] > 10).float().mean() > 0.9  # coloured


def blank(*places, side=8):
    pixels = torch.zeros(1, side, side)
    for row, column in places:
        pixels[0, row, column] = 1
    return pixels


def test_pointing():
    assert peak(blank((2, 5))).tolist() == [[2, 5]]
    assert peak(blank((2, 5), (4, 5), (3, 6), (3, 4))).tolist() == [[3, 5]]  # the middle of what is highest
    assert peak(torch.zeros(1, 9, 9)).tolist() == [[4, 4]]
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 4, 4] = True
    for place, hit in (((4, 4), True), ((4, 8), True), ((4, 9), False), ((0, 4), True), ((7, 7), False), ((6, 7), True)):
        assert pointing(blank(place, side=16), mask).item() is hit, place
    assert not pointing(blank((4, 8), side=16), mask, tolerance=3).item()


def test_energy():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :2, :2] = True
    for pixels, share in ((mask.float(), 1), (torch.ones(1, 8, 8), 4 / 64), (blank((0, 0), (7, 7)), 0.5),
                          (torch.zeros(1, 8, 8), 0), (-torch.ones(1, 8, 8), 0), (mask.float() - 0.5, 1)):
        assert energy(pixels, mask).item() == share


def test_iou():
    torch.manual_seed(0)
    masks = torch.rand(5, 8, 8) > 0.7
    pixels = (torch.randn(5, 8, 8) * 2).round()  # many ties
    for i in range(5):
        by_hand = max(((pixels[i] >= t) & masks[i]).sum() / ((pixels[i] >= t) | masks[i]).sum() for t in pixels[i].unique())
        assert best_iou(pixels[i:i + 1], masks[i:i + 1]).item() == pytest.approx(by_hand.item())
    assert best_iou(masks.float(), masks).eq(1).all()
    torch.testing.assert_close(best_iou(torch.zeros(5, 8, 8), masks), masks.float().mean((1, 2)))  # all or nothing: all


class Bright(nn.Module):
    """The mean brightness of the upper left place is its score."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, picture):
        return self.weight * picture["images"][:, :, :8, :8].mean((1, 2, 3))


def test_curves():
    images = torch.zeros(2, 3, 16, 16)
    images[:, :, :8, :8] = 3
    grid, ids = Grid(2, 2, 8, 3.5), torch.zeros(2, 3, dtype=torch.int64)
    right, wrong = torch.tensor([[4.0, 3.0], [2.0, 1.0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    found = Maps(torch.stack([right, wrong])[:, None], grid)
    model = Bright().train()
    deletion, insertion = curves(model, {"images": images}, ids, found, lambda model, picture, ids: model(picture), steps=4)
    assert deletion.tolist() == [[3, 0, 0, 0, 0], [3, 3, 3, 3, 0]]  # the right map takes away first what counts
    assert insertion.tolist() == [[0, 3, 3, 3, 3], [0, 0, 0, 0, 3]]
    assert area(deletion).tolist() == [3 / 8, 21 / 8] and area(insertion).tolist() == [21 / 8, 3 / 8]
    assert model.training and model.weight.grad is None
    picture = hide({"images": images}, Maps(torch.tensor([[[[1.0, 0], [0, 0]]], [[[0, 0], [1, 1]]]]), grid))
    assert not picture["images"][0].any() and picture["images"][1].equal(images[1])
    # Behind a stem the first place ends at pixel 4.
    hidden = hide({"images": images}, Maps(torch.tensor([[[[1.0, 0], [0, 0]]]]).expand(2, 1, 2, 2), Grid(2, 2, 8, 0)))["images"]
    assert not hidden[:, :, :4, :4].any() and hidden[:, :, 4:8, :8].eq(3).all() and hidden[:, :, :4, 4:8].eq(3).all()


def test_curves_of_regions():
    regions, boxes = torch.ones(1, 3, 2), torch.zeros(1, 3, 4)
    regions[0, 2] = 100  # padding
    picture = {"regions": regions, "boxes": boxes, "region_mask": torch.tensor([[True, True, False]])}

    def target(model, picture, ids):
        return picture["regions"][:, 0].sum(1)
    found = Maps(torch.tensor([[[2.0, 1.0, 9.0]]]), boxes=boxes)
    deletion, insertion = curves(Bright(), picture, torch.zeros(1, 3).long(), found, target, steps=2)
    assert deletion.tolist() == [[2, 0, 0]] and insertion.tolist() == [[0, 2, 2]]
    assert hide(picture, Maps(torch.tensor([[[0.0, 1, 0]]]), boxes=boxes))["regions"].tolist() == [[[1, 1], [0, 0], [100, 100]]]


def test_intervals():
    assert wilson(torch.tensor([True] * 8 + [False] * 2)) == pytest.approx([80, 49.02, 94.33], abs=0.01)
    assert wilson(torch.ones(20, dtype=torch.bool)) == pytest.approx([100, 83.89, 100], abs=0.01)
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)).double()
    value, low, high = bootstrap(values, lambda rows: rows.mean(1))
    half = 1.96 * values.std().item() / 20
    assert value == pytest.approx(100 * values.mean().item())
    assert low == pytest.approx(value - 100 * half, abs=1.5) and high == pytest.approx(value + 100 * half, abs=1.5)
    assert bootstrap(values, lambda rows: rows.mean(1)) == [value, low, high]
    assert bootstrap(torch.full((9,), 0.25), lambda rows: rows.mean(1)) == [25, 25, 25]
    whole, empty = torch.tensor([4.0, 4.0]), torch.tensor([2.0, 0.0])
    assert scores.share_of_way(torch.tensor([3.0, 1.0]), whole, empty)[0] == pytest.approx(100 / 3)
    assert scores.share_of_way(torch.ones(2), empty, whole) is None


@pytest.mark.parametrize("kind", scores.KINDS)
def test_asked(kind):
    data = load("test", 40)
    found = asked(data, kind)
    assert 10 < len(found) < 40 and len({word.scene for word in found}) == len(found)
    for word in found:
        scene, ids = data.scenes[word.scene], data.tokens()[word.scene]
        name = next(name for name, at in words_of(ids) if at[0] == word.at)
        assert meant(scene, name).equal(word.mask) and len(scene.things) > 1
        if word.other is not None:
            other = next(name for name, at in words_of(ids) if at[0] == word.other)
            assert other.rstrip("s") != name and not (meant(scene, other) & word.mask).any()
    if kind == "icon":
        assert all(word.other is not None for word in found)
    with pytest.raises(ValueError, match="kind: expected one of icon, colour, but got 'place'"):
        asked(data, "place")


def test_chance():
    masks = torch.stack([word.mask for word in asked(load("test", 20), "icon")])
    found = chance(masks, scores.EVERYWHERE)
    places = [(8 * r + 3.5, 8 * c + 3.5) for r in range(8) for c in range(8)]
    near = 0
    for mask in masks:
        y, x = mask.nonzero().unbind(1)
        near += sum(((y - r) ** 2 + (x - c) ** 2).min().item() <= 16 for r, c in places)
    assert found["pointing"] == pytest.approx(100 * near / len(masks) / 64)
    assert found["energy"] == pytest.approx(100 * masks.float().mean().item(), rel=1e-5)


def test_a_perfect_map_and_its_control():
    """Masks as maps: all that can be had; the mask of another thing as the map: nothing."""
    words = [word for word in asked(load("test", 40), "icon")]
    masks = torch.stack([word.mask for word in words])
    best = scores.located(masks.float(), masks)
    assert best["energy"] == best["iou"] == [100, 100, 100]
    elsewhere = scores.located((~masks).float(), masks)
    assert elsewhere["energy"] == [0, 0, 0] and elsewhere["iou"][0] == pytest.approx(100 * masks.float().mean().item(), rel=1e-4)


@pytest.mark.parametrize("name", ["VSE", "ViLT"])
def test_report(name):
    torch.manual_seed(0)
    model, untrained = (VSE(VSEConfig()) if name == "VSE" else ViLT(ViLTConfig(width=32, layers=1, hidden=32)) for _ in "12")
    data = load("test", 8)
    found = scores.report(model, untrained, data, size=4)
    assert json.loads(json.dumps(found)) == found
    methods = Look(model, data[:1].see(slice(None)), data[:1].tokens()).methods
    for kind, of_kind in found.items():
        assert of_kind["words"] == len(asked(data, kind)) > 4
        assert set(of_kind) == {"words", "other words", "chance", "match", "word"}
        for target in ("match", "word"):
            assert tuple(of_kind[target]) == methods
            for of in of_kind[target].values():
                assert of["deletion"] is None or len(of["deletion"]) == 3
                for rows in (of, of["random model"], of["other word"]):
                    for score in ("pointing", "energy", "iou"):
                        value, low, high = rows[score]
                        assert -1e-9 <= low <= value + 1e-9 and value - 1e-9 <= high <= 100 + 1e-9
    icon, words = found["icon"]["match"]["grad-cam"], asked(data, "icon")
    # By hand, all scenes at once: the word's own map, and that of a model with other weights.
    index, ids = torch.tensor([word.scene for word in words]), data.tokens()[[word.scene for word in words]]
    masks, rows = torch.stack([word.mask for word in words]), torch.arange(len(words))
    for one, expected in ((model, icon), (untrained, icon["random model"])):
        of_all = Look(one, data.see(index), ids, scene_words(ids)).maps("grad-cam")
        for at, expected in ((word_at, of) for word_at, of in (
                ([word.at for word in words], expected), ([word.other for word in words], expected.get("other word"))) if of):
            pixels = of_all._replace(values=of_all.values[rows, at][:, None]).pixels(64, 64)[:, 0]
            for score, numbers in scores.located(pixels, masks).items():
                assert expected[score] == pytest.approx(numbers, rel=1e-3)
    if name == "VSE":  # one map for all words: another word's finds as much
        assert icon["other word"]["pointing"] == icon["pointing"]


def test_bound():
    class Data:
        scenes = [scene(), scene(), scene(), Scene("night", (scene().things[0], scene().things[2])),
                  Scene("night", (*scene().things, Thing("cup", "red", "small", "bottom left", 1, 37)))]

        @staticmethod
        def tokens():
            return tokenizer(["a blue cup and a red umbrella", "a red cup", "a red and a blue cup", "a red umbrella",
                              "a red cup and a red umbrella"])
    umbrella, cup, _ = (torch.from_numpy(mask) for mask in masks(scene()))
    first, second, last = scores.bound(Data)
    assert (first.scene, second.scene, last.scene) == (0, 1, 4) and (first.at, second.at) == (6, 2)
    assert first.own.equal(umbrella) and first.other.equal(cup) and second.own.equal(cup) and second.other.equal(umbrella)
    assert last.own.equal(umbrella) and last.at == find_word(Data.tokens()[4], "umbrella")[0] - 1  # of two red cups none is meant
