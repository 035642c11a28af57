"""The table of the course's runs: every row makes a model that learns from its batches."""

import json
import math
from dataclasses import replace

import pytest
import torch

from minimm.models.detector import Detector
from minimm.scenes import Batches, load
from minimm.training import RECIPES, recipes, train
from minimm.training.hard import HardCaptions, neighbours
from minimm.training.regions import regions_of
from minimm.training.views import Views


@pytest.fixture(scope="module")
def data():
    return load("val", 40)


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIMM_CACHE", str(tmp_path_factory.mktemp("cache")))
        torch.manual_seed(0)
        return regions_of(data, Detector().eval())


@pytest.fixture(scope="module")
def untrained():
    made = {}

    def make(name):
        if name not in made:
            torch.manual_seed(0)
            made[name] = RECIPES[name].make(*map(make, RECIPES[name].starts))
        return made[name]

    return make


@pytest.mark.parametrize("name", RECIPES)
def test_every_row_learns_from_its_batches(name, data, found, untrained):
    recipe = recipes.replace(RECIPES[name], batch=4)
    model = untrained(name).train()
    terms = model.loss(recipes.batches(recipe, data, seed=1, found=found if recipe.regions else None)(0))
    loss = sum(terms.values())
    assert math.isfinite(loss.item())
    model.zero_grad()
    loss.backward()
    with_gradient = [p for p in model.parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert len(with_gradient) > 10
    assert 0 < recipe.warmup <= recipe.steps and all(start in RECIPES for start in recipe.starts)


def test_tasks_start_from_the_pre_trained_weights(untrained):
    albef, vilt = untrained("albef"), untrained("vilt")
    fusion = albef.online.text.fusion[1].mlp.fc1.weight
    for name, of in (("albef-vqa", lambda m: m.online.body), ("albef-entailment", lambda m: m.online.backbone),
                     ("albef-why", lambda m: m.backbone), ("albef-retrieval", lambda m: m.online)):
        torch.testing.assert_close(of(untrained(name)).text.fusion[1].mlp.fc1.weight, fusion, rtol=0, atol=0)
    torch.testing.assert_close(untrained("albef-retrieval").itm.weight, albef.itm.weight, rtol=0, atol=0)
    for name in ("vilt-vqa", "vilt-pairs", "vilt-why"):
        torch.testing.assert_close(untrained(name).backbone.blocks[3].attn.q.weight, vilt.encoder.blocks[3].attn.q.weight)
    modality = untrained("vilt-pairs").backbone.modality.weight
    assert len(modality) == 3 and torch.equal(modality[2], vilt.encoder.modality.weight[1])
    labelled, patches = untrained("labels"), untrained("labels-patches")
    torch.testing.assert_close(albef.momentum.vision.pos, labelled.vision.pos)
    torch.testing.assert_close(vilt.encoder.patch.conv.weight, patches.vision.patch.conv.weight, rtol=0, atol=0)


def test_names_of_rows():
    assert recipes.row("albef") == "albef" and recipes.row("vilt", "pairs") == "vilt-pairs"
    with pytest.raises(ValueError, match="architecture: expected one of .*vilbert.*'bert'"):
        recipes.row("bert")
    with pytest.raises(ValueError, match="task: expected for clip one of vqa, entailment.*, but got 'retrieval'"):
        recipes.row("clip", "retrieval")
    with pytest.raises(ValueError, match="name: expected one of .*'clap'"):
        train("clap")


def test_a_run_writes_its_settings_trains_its_start_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "load", lambda split: load("val", 16))
    for name in ("labels", "albef"):
        monkeypatch.setitem(RECIPES, name, recipes.replace(RECIPES[name], steps=2, batch=8, warmup=1))
    whole, run = train("albef", seed=1, folder=tmp_path)
    assert run.steps == 2 and sorted(p.name for p in tmp_path.iterdir()) == [
        "albef-seed1-2.json", "albef-seed1-2.pt", "labels-seed1-2.json", "labels-seed1-2.pt"]
    told = json.loads((tmp_path / "albef-seed1-2.json").read_text())
    assert (told["name"], told["seed"], told["steps"], told["starts"]) == ("albef", 1, 2, ["labels"])
    again, run = train("albef", seed=1, folder=tmp_path)  # all is there
    assert run.steps == 2 and run.ended_by == "steps"
    for ours, theirs in zip(whole.state_dict().values(), again.state_dict().values()):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_neighbours_are_the_most_similar_others():
    features = torch.tensor([[1.0, 0], [3, 0.1], [0, 1], [0.1, 5], [-1, 0]])
    assert neighbours(features, 1, size=2).tolist() == [[1], [0], [3], [2], [2]]


def test_hard_captions_are_of_pictures_that_look_alike(data):
    regions = torch.zeros(len(data), 2, len(data))
    twin = torch.arange(len(data)) ^ 1  # scenes 0 and 1 look alike, 2 and 3, ...
    regions[torch.arange(len(data)), 0, torch.arange(len(data)) // 2] = 1
    regions[:, 1] = 7.0  # padding, which must not count
    mask = torch.tensor([True, False]).expand(len(data), 2)
    hard = HardCaptions(Batches(data, 8, seed=2), regions, mask)
    hard.alike = hard.alike[:, :1]
    batch = hard(1)
    assert batch["hard_ids"].shape == batch["ids"].shape
    for i, row in zip(batch["index"].tolist(), batch["hard_ids"].tolist()):
        assert [t for t in row if t] in [list(c) for c in data.ids[twin[i]]]


@pytest.mark.parametrize("name", ["albef", "vilt", "vilbert"])
def test_words_that_say_nothing_are_never_hidden(name, data, found, untrained):
    recipe = recipes.replace(RECIPES[name], batch=32)
    batch = recipes.batches(recipe, data, found=found if recipe.regions else None)(0)
    model, all_ids = untrained(name), tuple(range(256))
    for never, asked in ((all_ids, False), (tuple(i for i in all_ids if i != recipes.tokenizer.ids["red"]), True)):
        other = type(model)(recipes.replace(model.config, never_masked=never, mask_probability=1.0),
                            *([recipes.CONTINUES] if name == "vilt" else []))
        assert (other.loss(batch)["masked language"].item() > 0) == asked


def test_views_are_a_function_of_the_step():
    data = load("test", 24)
    one, other = (Views(Batches(data, 8, seed=seed)) for seed in (2, 3))
    first = one(1)
    assert set(first) == {"view_q", "view_k"} and first["view_q"].shape == first["view_k"].shape == (8, 3, 64, 64)
    one(0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(one(1)["view_q"], first["view_q"]) and torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first["view_q"], first["view_k"]) and not torch.equal(other(1)["view_q"], first["view_q"])
    # A view looks more like the other view of its picture than like the others'.
    q, k = (view.flatten(1) - view.flatten(1).mean(0) for view in first.values())
    assert (torch.cdist(q, k).argmin(1) == torch.arange(8)).sum() >= 6


def test_recipes_choose_their_data(monkeypatch):
    seen = []
    monkeypatch.setattr(recipes, "load", lambda split: load("test", 60))
    monkeypatch.setattr(recipes, "batches", lambda recipe, data, *_: seen.append(data))
    monkeypatch.setattr(recipes, "fit", lambda *args, **kwargs: None)
    monkeypatch.setitem(RECIPES, "clip-of-1000", replace(RECIPES["clip-of-1000"], number=20))
    for name in ("clip-of-1000", "clip-noise-60", "clip"):
        recipes.train(name)
    data = load("test", 60)
    assert [len(part) for part in seen] == [20, 60, 60] and seen[2].captions == data.captions
    changed = sum(a != b for before, after in zip(data.captions, seen[1].captions) for a, b in zip(before, after))
    assert 0.5 < changed / sum(map(len, data.captions)) < 0.7
