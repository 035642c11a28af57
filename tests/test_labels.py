"""Labels of scenes, and the picture encoder that learns from them."""

import math

import pytest
import torch

from minimm.layers import TextEmbedding, init_normal
from minimm.layers.embeddings import sine_places, sines
from minimm.models.labelled import Labelled, LabelledConfig
from minimm.scenes import Scene, Thing, load
from minimm.scenes.labels import NOTHING, LabelBatches, labels

SMALL = LabelledConfig(width=16, layers=1, heads=2, hidden=16, patch=16, stem=False)


def test_labels_of_a_scene_by_hand():
    things = (Thing("cloud", "orange", "large", "top right", 33, 1), Thing("sun", "red", "small", "bottom left", 4, 36))
    places, background = labels([Scene("stone", things)])
    nothing = [24, NOTHING, NOTHING]
    assert places.tolist() == [[nothing, [1, 1, 1], [0, 0, 0], nothing]] and background.tolist() == [2]


def test_an_epoch_has_every_scene_once():
    data = load("val", 12)
    batches = LabelBatches(data, 4, seed=3)
    pictures = [batches(step)["images"] for step in range(3)]
    assert len({tuple(p.flatten().tolist()) for batch in pictures for p in batch}) == 12
    torch.testing.assert_close(batches(1)["images"], pictures[1], rtol=0, atol=0)
    assert not torch.equal(LabelBatches(data, 4, seed=4)(0)["images"], pictures[0])
    with pytest.raises(ValueError, match="size: expected 1 to 12"):
        LabelBatches(data, 13)


def test_a_quarter_is_told_by_its_own_tokens_alone():
    torch.manual_seed(0)
    model = Labelled(LabelledConfig(width=16, layers=0, heads=2, hidden=16, patch=16, stem=False)).eval()
    images = torch.rand(2, 3, 64, 64)
    changed = images.clone()
    changed[:, :, 32:, :32] = 0  # the third quarter in reading order
    before, after = model(images), model(changed)
    differs = (before["quarter"] - after["quarter"]).abs().amax((0, 2)) > 1e-6
    assert differs.tolist() == [False, False, True, False]
    assert before["whole"].shape == before["quarter"].shape == (2, 4, 25 + 7 + 2) and before["background"].shape == (2, 4)


def test_chance_at_the_start_and_an_empty_place_has_no_colour():
    torch.manual_seed(0)
    model, batch = Labelled(SMALL), LabelBatches(load("val", 32), 32)(0)
    losses = model.loss(batch)
    for name in ("quarter", "whole"):
        assert losses[name].item() == pytest.approx(math.log(25) + math.log(7) + math.log(2), abs=0.4)
    assert losses["background"].item() == pytest.approx(math.log(4), abs=0.2)
    other = batch["places"].clone()
    other[..., 1][other[..., 1] != NOTHING] = 0
    assert model.loss({**batch, "places": other})["quarter"] != losses["quarter"]


def test_positions_start_as_waves_of_rows_and_columns():
    table = sine_places(4, 8)
    assert table.shape == (16, 8)
    assert table[0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]  # sin 0, cos 0, of the row and of the column
    torch.testing.assert_close(table[2 * 4 + 3], torch.tensor([
        math.sin(2), math.sin(2 / 100), math.cos(2), math.cos(2 / 100),
        math.sin(3), math.sin(3 / 100), math.cos(3), math.cos(3 / 100)]))
    assert len({tuple(row) for row in table.tolist()}) == 16
    with pytest.raises(ValueError, match="width: expected a multiple of 4"):
        sine_places(4, 6)


def test_positions_of_texts_start_as_waves_of_the_spread_of_the_words():
    torch.manual_seed(0)
    embedding = TextEmbedding(vocab=300, width=64, context=20).apply(init_normal(64))
    std = 0.02 * (768 / 64) ** 0.5
    torch.testing.assert_close(embedding.pos.weight, 2**0.5 * std * sines(20, 64))
    assert embedding.tok.weight.std().item() == pytest.approx(std, rel=0.1)
    assert embedding.pos.weight.square().mean().sqrt().item() == pytest.approx(std, rel=1e-4)
