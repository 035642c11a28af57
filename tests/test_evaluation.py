"""Measures, on cases that one can work out by hand."""

import pytest
import torch
import torch.nn.functional as F

from minimm import scenes
from minimm.evaluation import foils, probes, zero_shot
from minimm.evaluation.embed import embed
from minimm.evaluation.retrieval import best_possible, ranks, recall, retrieval


def test_ranks_by_hand():
    #                     text 0  1    2    3      (texts 0, 1 of picture 0; 2 of picture 1; 3 of picture 2)
    similarity = torch.tensor([[0.1, 0.9, 0.8, 0.7],
                               [0.9, 0.2, 0.6, 0.5],
                               [0.3, 0.4, 0.5, 0.1]])
    of_picture, of_text = ranks(similarity, [0, 0, 1, 2])
    assert of_picture.tolist() == [0, 1, 3] and of_text.tolist() == [2, 0, 1, 2]


def test_a_model_that_finds_all_equal_gets_nothing():
    assert retrieval(torch.zeros(20, 20)).text.r1 == 0 and retrieval(torch.zeros(20, 20)).image.r10 == 0


def test_transposed_similarity_swaps_the_directions():
    similarity = torch.randn(30, 30)
    assert retrieval(similarity).text == retrieval(similarity.T).image


def test_median_is_rounded_down():
    assert recall([0, 0, 1, 2]).median == 1 and recall([1, 3]).median == 3 and recall([0, 4]).mean == 3


@pytest.mark.parametrize("similarity, of_text, words", [
    (torch.zeros(2, 3), None, "square"), (torch.zeros(2, 3), [0, 0, 0], "without a sentence"),
    (torch.zeros(2, 3), [0, 1], "image_of_text"), (torch.full((2, 2), torch.nan), None, "NaN"),
    (torch.zeros(0, 0), None, "not empty")])
def test_wrong_similarities(similarity, of_text, words):
    with pytest.raises(ValueError, match=words):
        ranks(similarity, of_text)


def test_best_possible_by_brute_force():
    data = scenes.load("test", 300)
    captions = [c[0] for c in data.captions]
    fit = torch.tensor([[scenes.fits(c, s) for c in captions] for s in data.scenes])  # scene, caption
    assert fit.diagonal().all(), "a caption must fit its own scene"
    text, image = best_possible(captions, data.scenes)
    assert text == pytest.approx(100 * (1 / fit.sum(1)).mean().item())
    assert image == pytest.approx(100 * (1 / fit.sum(0)).mean().item())


def test_best_possible_is_high_enough_on_the_gallery_of_record():
    data = scenes.load("test", 1000)
    assert min(best_possible([c[0] for c in data.captions], data.scenes)) >= 92


def test_zero_shot_ensemble():
    features = {"a cup": [3.0, 0.0], "no cup": [0.0, 1.0], "a star": [0.0, 2.0], "no star": [0.0, 5.0]}
    weights = zero_shot.classifier(torch.tensor, lambda texts: [features[t] for t in texts], ["cup", "star"],
                                   ["a {}", "no {}"])
    # The long feature of "a cup" counts no more than the short one of "no cup".
    torch.testing.assert_close(weights, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))
    assert zero_shot.predict(torch.tensor([[9.0, 1.0], [0.0, 0.1]]), weights).tolist() == [0, 1]
    for names, templates in (([], ["{}"]), (["cup"], []), (["cup"], ["a cup"])):
        with pytest.raises(ValueError, match="names|templates"):
            zero_shot.classifier(torch.tensor, list, names, templates)


def test_probe_reads_what_is_there_and_nothing_else():
    data = scenes.load("test", 1000)
    there = probes.presence(data.scenes, "colour")
    generator = torch.Generator().manual_seed(0)
    mixed = there @ torch.randn(7, 10, generator=generator)  # colours, linearly, and no icon
    parts = [(mixed[:600], data.scenes[:600]), (mixed[600:], data.scenes[600:])]
    assert probes.probe(*parts, "colour").accuracy > 99
    icon = probes.probe(*parts, "icon")
    assert icon.accuracy < icon.chance + 8
    with pytest.raises(ValueError, match="attribute"):
        probes.presence(data.scenes, "shape")
    with pytest.raises(ValueError, match="one feature for each scene"):
        probes.probe((mixed[:5], data.scenes[:6]), parts[1], "icon")


def test_found_by_hand():
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.1, 0.2, 0.3]])
    assert probes.found(scores, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])) == pytest.approx(200 / 3)


@pytest.mark.parametrize("kind", foils.KINDS)
def test_foils_are_true_and_false(kind):
    data = scenes.load("test", 600)
    pairs = foils.foils(data.scenes, kind)
    assert len(pairs) > 25
    for foil in pairs:
        things = data.scenes[foil.scene].things
        assert foil.true != foil.false
        scenes.tokenizer.tokenize(foil.true), scenes.tokenizer.tokenize(foil.false)
        if kind == "binding":
            assert sorted(foil.true.replace(",", "").split()) == sorted(foil.false.split())
            told = foil.true.split()
            assert all(any(t.colour == told[k + 1] and t.icon == told[k + 2] for t in things) for k in (0, 4))
            told = foil.false.split()
            assert not any(t.colour == told[1] and t.icon == told[2] for t in things)
        if kind == "icon":
            assert any(t.icon == foil.true.split()[1] for t in things)
            assert not any(t.icon == foil.false.split()[1] for t in things)
    with pytest.raises(ValueError, match="kind"):
        foils.foils(data.scenes, "taste")


def test_told_apart():
    pairs = [foils.Foil(0, "t", "f"), foils.Foil(1, "f", "t"), foils.Foil(1, "t", "t")]
    vectors = {"t": [1.0, 0.0], "f": [0.0, 1.0]}
    images = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.1]]), dim=-1)
    assert foils.told_apart(images, torch.tensor, lambda texts: [vectors[t] for t in texts], pairs) == 50


def test_embed_in_batches():
    x = torch.randn(7, 3)
    torch.testing.assert_close(embed(lambda part: part * 2, x, size=3), x * 2)
    with pytest.raises(ValueError, match="inputs"):
        embed(lambda part: part, x[:0])
