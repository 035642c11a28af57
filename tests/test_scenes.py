"""The small world: what is drawn, what is cached, what a batch holds."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch

from minimm import scenes
from minimm.scenes import data as scenes_data
from minimm.scenes.drawing import coverage

SCENES_DIGEST = "842bb6f0d4eccd62"
# percent of the square that every icon covers, small and large
COVERAGES = [20, 19, 22, 23, 23, 22, 13, 12, 24, 24, 37, 36, 18, 16, 25, 24, 11, 10, 32, 30, 33, 33, 29, 28,
             43, 42, 26, 26, 18, 17, 20, 19, 28, 28, 21, 20, 29, 28, 21, 21, 31, 31, 22, 20, 31, 29, 40, 39]


def test_scenes_are_the_same_on_every_machine():
    made = [scenes.make(split, i, seed) for split in scenes.SPLITS for i in range(100) for seed in (0, 1)]
    assert hashlib.sha256(repr(made).encode()).hexdigest()[:16] == SCENES_DIGEST


def test_pictures_are_the_same_on_every_machine():
    # Grey levels of every icon, coarsely: another font renderer may move a pixel's edge, never an icon.
    means = [int(coverage(icon, size).mean() * 100) for icon in scenes.ICONS for size in scenes.SIZES]
    assert np.abs(np.array(means) - np.array(COVERAGES)).max() <= 1


def test_novel_pairs_are_novel():
    seen = {split: {(t.icon, t.colour) for i in range(1500) for t in scenes.make(split, i).things}
            for split in scenes.SPLITS}
    assert seen["novel"] == scenes.NOVEL_PAIRS
    for split in ("train", "val", "test"):
        assert not seen[split] & scenes.NOVEL_PAIRS
        assert len(seen[split]) == len(scenes.ICONS) * len(scenes.COLOURS) - len(scenes.NOVEL_PAIRS)
    per_colour = Counter(colour for _, colour in scenes.NOVEL_PAIRS)
    assert set(per_colour) == set(scenes.COLOURS) and max(per_colour.values()) - min(per_colour.values()) <= 4


def test_no_scene_is_in_two_splits():
    parts = [{scenes.make(split, i) for i in range(3000)} for split in scenes.SPLITS]
    for k, part in enumerate(parts):
        assert not part & set().union(*parts[:k])


def test_drawn_boxes_and_masks():
    for i in range(60):
        scene = scenes.make("test", i)
        picture, masks, boxes = scenes.draw(scene), scenes.masks(scene), scenes.boxes(scene)
        assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
        assert masks.sum(0).max() <= 1, "masks overlap"
        changed = (picture != np.array(scenes.BACKGROUNDS[scene.background], np.uint8)).any(-1)
        assert (masks.any(0) <= changed).all(), "a mask covers background"
        for thing, mask, (x0, y0, x1, y1) in zip(scene.things, masks, boxes):
            ys, xs = np.nonzero(mask)
            assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x0, y0, x1, y1)
            assert 8 <= max(x1 - x0, y1 - y0) <= scenes.SIZES[thing.size]
            full = (picture[mask] == np.array(scenes.COLOURS[thing.colour])).all(-1)
            assert full.any(), "a thing does not show its colour"


def test_icons_are_told_apart():
    shapes = {icon: coverage(icon, "large") >= 0.5 for icon in scenes.ICONS}
    for a in shapes:
        for b in shapes:
            if a < b:
                overlap = (shapes[a] & shapes[b]).sum() / (shapes[a] | shapes[b]).sum()
                assert overlap < 0.8, (a, b, overlap)


def test_names_of_several_pieces():
    assert 20 <= len(scenes.ICONS) <= 28
    pieces = [len(scenes.tokenizer.pieces(icon)) for icon in scenes.ICONS]
    assert sum(n > 1 for n in pieces) >= len(pieces) / 3 and max(pieces) <= 3
    words = scenes.tokenizer.words()
    assert np.mean([len(scenes.tokenizer.pieces(word)) == 1 for word in words]) > 0.8


def test_tokenizer_there_and_back():
    for i in range(50):
        for caption in scenes.load("test", 50).captions[i]:
            ids = scenes.tokenizer.encode(caption.text)
            assert ids[0] == scenes.tokenizer.cls_id and ids[-1] == scenes.tokenizer.sep_id
            assert scenes.tokenizer.decode(ids) == caption.text
    assert scenes.tokenizer.tokenize("A red [MASK]") == ["a", "red", "[MASK]"]


def test_unknown_word_and_long_text():
    with pytest.raises(ValueError, match=r"unknown word 'umbrela'.*a red umbrela and a.*umbrella"):
        scenes.tokenizer.tokenize("a red umbrela and a cup")
    with pytest.raises(ValueError, match="at most 4 tokens, but got 6"):
        scenes.tokenizer("a red cup at", context=4)
    with pytest.raises(ValueError, match="at least one text"):
        scenes.tokenizer([])


def test_captions():
    data = scenes.load("test", 400)
    said = Counter()
    for scene, captions in zip(data.scenes, data.captions):
        assert len({c.text for c in captions}) >= 4 and len(captions) == 5
        for caption in captions:
            assert scenes.fits(caption, scene)
            assert sorted(m.icon for m in caption.mentions) == sorted(t.icon for t in scene.things)
            for mention in caption.mentions:
                said["all"] += 1
                said["colour"] += mention.colour is not None
                said["size"] += mention.size is not None
    assert 0.5 < said["colour"] / said["all"] < 0.75 and 0.15 < said["size"] / said["all"] < 0.4


def test_who_sees_no_icon_does_not_find_the_captions():
    # All but the icons, seen and read perfectly: where that is enough, a model never learns shapes.
    data = scenes.load("test", 1000)
    blind = [s._replace(things=tuple(t._replace(icon="thing") for t in s.things)) for s in data.scenes]
    read = [c[0]._replace(mentions=tuple(m._replace(icon="thing") for m in c[0].mentions)) for c in data.captions]
    fitting = [[k for k, scene in enumerate(blind) if scenes.fits(caption, scene)] for caption in read]
    image = sum(1 / len(of_caption) for of_caption in fitting) / len(read)
    # For a picture the best guess is a caption that says most: one that fits the fewest pictures.
    choices = [[] for _ in blind]
    for caption, of_caption in enumerate(fitting):
        for k in of_caption:
            choices[k].append((len(of_caption), caption))
    best = [[caption for number, caption in of_scene if number == min(of_scene)[0]] for of_scene in choices]
    text = sum((k in of_scene) / len(of_scene) for k, of_scene in enumerate(best)) / len(best)
    assert text < 0.4 and image < 0.25


def test_language_does_not_depend_on_who_asks():
    whole, part = scenes.load("val", 40), scenes.load("val", 40)[10:20]
    for name in scenes_data.LANGUAGE:
        assert getattr(part, name) == getattr(whole, name)[10:20]  # the part is told before the whole
        assert getattr(whole[10:20], name) == getattr(whole, name)[10:20]
    assert scenes.load("val", 40) is whole


def test_batches_are_a_function_of_the_step():
    data = scenes.load("test", 50)
    one, other = scenes.Batches(data, 8, seed=3), scenes.Batches(data, 8, seed=3)
    later = [one(step) for step in range(14)]
    for step in (13, 2, 7, 6):  # in any order
        assert all(torch.equal(other(step)[k], later[step][k]) for k in ("images", "ids", "index"))
    epoch = torch.cat([batch["index"] for batch in later[:6]])
    assert len(set(epoch.tolist())) == 48, "a scene comes at most once in an epoch"
    assert not torch.equal(later[0]["index"], later[6]["index"])
    batch = later[0]
    assert batch["images"].shape == (8, 3, 64, 64) and batch["images"].dtype == torch.float32
    for row, index in zip(batch["ids"], batch["index"]):
        assert scenes.tokenizer.decode(row) in [c.text for c in data.captions[index]]
    torch.testing.assert_close(batch["images"], scenes.normalise(data.pictures[batch["index"]]))


def test_slices():
    data = scenes.load("test", 50)
    part = data[10:15]
    assert list(part.numbers) == [10, 11, 12, 13, 14] and len(part) == 5 and part.captions == data.captions[10:15] and part.pictures.shape[0] == 5
    with pytest.raises(TypeError, match="slice"):
        data[3]


@pytest.mark.parametrize("call, error, words", [
    (lambda: scenes.load("training"), ValueError, "split: expected one of train, val, test, novel"),
    (lambda: scenes.load("test", 0), ValueError, "number"),
    (lambda: scenes.make("test", -1), ValueError, "index"),
    (lambda: scenes.Batches(scenes.load("test", 50), 51), ValueError, "size: expected 1 to 50"),
    (lambda: scenes.normalise(torch.zeros(2, 3, 64, 64)), TypeError, "uint8"),
    (lambda: scenes.show([]), ValueError, "scenes"),
    (lambda: scenes.show([scenes.make("test", 0)], captions=["a", "b"]), ValueError, "captions"),
])
def test_wrong_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
