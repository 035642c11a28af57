"""The weights that come with the course: every file gives the results that are written beside it, and loads as stored.

Also models of many tasks on one trunk, which is how they are shipped.
"""

import json
import math
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

import minimm
from minimm import scenes
from minimm.evaluation import report
from minimm.evaluation.detection import detection
from minimm.evaluation.pairs import score_pairs, scorer
from minimm.evaluation.retrieval import retrieval
from minimm.evaluation.tasks import predictions
from minimm.models.detector import Detector
from minimm.models.heads import ALBEFAnswers, Answerer, PairBody
from minimm.models.multitask import pair_body_on
from minimm.objectives.contrastive import similarity
from minimm.scenes.detection import targets
from minimm.training import fit, recipes, weights
from minimm.training.cards import card, flat
from minimm.training.recipes import RECIPES, InTurn
from minimm.training.regions import regions_of
from minimm.training.tuning import HEADS, body_of

FILES = weights.PRETRAINED + weights.MULTITASK
RESULTS = minimm.data_dir() / "results"
THERE = [name for name in FILES if weights.path_of(name).exists()]


def test_every_model_has_its_files():
    for name in FILES:
        for path in (weights.path_of(name), weights.path_of(name).with_suffix(".md"), RESULTS / f"{name}-seed0.json"):
            assert path.exists(), path


# What a file gives

PICTURES, OF_PAIRS = 200, 25  # the first scenes of the test split; so many of the pictures are paired with 100 texts


def recorded(name):
    paths = [RESULTS / f"{name}-seed0.json", RESULTS / f"{name}.json"]
    return json.loads(next(path for path in paths if path.exists()).read_text())["test"]


def tolerance(percent, count):
    """How far a share of `count` examples may lie from that of all: four standard errors, and a point for rounding."""
    share = min(max(percent / 100, 0.02), 0.98)
    return 1 + 400 * math.sqrt(share * (1 - share) / count)


def seen(name, data):
    return regions_of(data, minimm.load("detector")).see if name.startswith("vilbert") else None


def same_gallery(name, model):
    """Of two towers: the whole gallery again, so the same to half a point."""
    told = recorded(name)
    gallery = scenes.load("test", told["gallery"])
    with torch.no_grad():
        images, texts = model.encode_image(gallery.images()), model.encode_text(gallery.tokens())
    found = retrieval(similarity(images, texts, torch.zeros(())))
    for ours, side in ((found.text, "text retrieval"), (found.image, "image retrieval")):
        assert ours.r1 == pytest.approx(told[side]["r1"], abs=0.5)
        assert ours.mean == pytest.approx(told[side]["mean"], rel=0.05)


def fewer_pictures(name, model):
    """Of models that score pairs: the first pictures, each with every text of the small gallery."""
    told, texts = recorded(name)["every pair"], report.SMALL_GALLERY
    data = scenes.load("test", PICTURES)[:texts]
    wanted = torch.zeros(texts, texts, dtype=torch.bool)
    wanted[:OF_PAIRS] = True
    best = score_pairs(scorer(model, data, data.tokens(), seen(name, data)), wanted).argmax(1)[:OF_PAIRS]
    percent = 100 * (best == torch.arange(OF_PAIRS)).double().mean().item()
    r1 = told["text retrieval"]["r1"]
    assert percent == pytest.approx(r1, abs=tolerance(r1, OF_PAIRS))


def fewer_boxes(name, model):
    data, told = scenes.load("test", PICTURES), flat(recorded(name))
    truth = targets(data.scenes)
    found = detection(model.regions(data.images()), truth)
    for what in ("recall", "named"):
        percent = next(value for key, value in told.items() if key.split(", ")[-1] == what)
        assert getattr(found, what) == pytest.approx(percent, abs=tolerance(percent, int((truth["labels"] > 0).sum())))


def fewer_examples(name):
    architecture, told = name.removesuffix("-multitask"), recorded(name)
    data = scenes.load("test", PICTURES)
    for task in scenes.TASKS:
        found = report.answered(minimm.load(architecture, task), data, task, seen(name, data))
        for kind in {"why": ("answer", "both")}.get(task, ("all",)):
            percent = told[task][kind]
            assert found[kind] == pytest.approx(percent, abs=tolerance(percent, found["examples"])), (task, kind)


@pytest.mark.parametrize("name", THERE)
def test_results_are_reproduced(name):
    if name in weights.MULTITASK:
        fewer_examples(name)
    elif name == "detector":
        fewer_boxes(name, minimm.load(name))
    elif name in ("vse", "clip"):
        same_gallery(name, minimm.load(name))
    else:
        fewer_pictures(name, minimm.load(name))


def test_weights_of_no_use_are_seen():
    with pytest.raises(AssertionError):
        same_gallery("clip", built("clip"))


# How files are stored and loaded

def built(name, seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return weights.untrained(name).eval()


@pytest.fixture(scope="module")
def detector_regions():
    """Regions of eight scenes, for ViLBERT, as any detector would find them."""
    data = scenes.load("test", 8)
    return built("detector").regions(data.images())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "data_dir", lambda: tmp_path)
    return tmp_path / "weights"


def seeing(regions):
    return lambda index: {name: t[index] for name, t in regions.items()}


def batches_of(architecture, regions, size=4):
    """{task: a batch} of an architecture, as its recipe makes it."""
    found = SimpleNamespace(see=seeing(regions)) if RECIPES[architecture].regions else None
    recipe = replace(RECIPES[f"{architecture}-multitask"], batch=size)
    of_step = recipes.batches(recipe, scenes.load("test", 8), found=found)
    return {batch["task"]: batch for batch in map(of_step, range(len(recipes.TURNS)))}


def rounded(model):
    """The state of a model as a file gives it back, queues left out."""
    return {name: t.half().float() if t.is_floating_point() and t.ndim > 1 else t
            for name, t in model.state_dict().items() if "queue" not in name}


@pytest.mark.parametrize("name", FILES)
def test_what_is_stored_comes_back(name, folder):
    model = built(name)
    with torch.no_grad():
        for t in model.state_dict().values():  # running statistics and alike are not what they start as
            t.copy_(t + 0.1 * torch.rand(t.shape) if t.is_floating_point() else t)
    weights.store(name, model)
    start = time.process_time()
    loaded = weights.read(name)
    assert time.process_time() - start < 1
    ours, theirs = loaded.state_dict(), rounded(model)
    assert ours.keys() - theirs.keys() == {key for key in ours if "queue" in key}
    for key, t in theirs.items():
        assert torch.equal(ours[key], t) and ours[key].dtype == t.dtype != torch.float16, key
    assert not any(part.training for part in loaded.modules()) and next(loaded.parameters()).device.type == "cpu"
    assert len(list(loaded.parameters())) == len(list(model.parameters()))

    # Every tensor is there once, in half precision where it is large.
    stored = load_file(weights.path_of(name))
    once = {id(t): t for t in (*model.parameters(), *(t for key, t in model.named_buffers() if "queue" not in key))}
    persistent = {id(t) for t in model.state_dict(keep_vars=True).values()}
    assert sum(t.numel() for t in stored.values()) == sum(t.numel() for i, t in once.items() if i in persistent)
    assert weights.path_of(name).stat().st_size < 2.2 * sum(t.numel() for t in stored.values()) + 200_000
    weights.store(name, loaded)
    again = load_file(weights.path_of(name))
    assert again.keys() == stored.keys() and all(torch.equal(again[key], t) for key, t in stored.items())


@pytest.mark.parametrize("architecture", HEADS)
def test_tasks_come_back(architecture, folder, detector_regions):
    model, batches = built(f"{architecture}-multitask"), batches_of(architecture, detector_regions)
    weights.store(f"{architecture}-multitask", model)
    data = scenes.load("test", 8)[:2]
    see = seeing(detector_regions) if architecture == "vilbert" else None
    for task in scenes.TASKS:
        loaded = minimm.load(architecture, task=task)
        assert type(loaded) is type(model.heads[task])
        with torch.no_grad():
            ours, theirs = (sum(head.loss(batches[task]).values()) for head in (loaded, model.heads[task]))
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        assert predictions(loaded, data, task, see).shape == (len(scenes.examples(data, task)),)


def test_albef_comes_with_its_momentum_copy(folder):
    model = built("albef")
    with torch.no_grad():
        for t in model.momentum.parameters():
            t.add_(1)
        model.steps += 7
    weights.store("albef", model)
    loaded = minimm.load("albef")
    assert loaded.steps == 7
    moved = loaded.momentum.text_proj.weight - loaded.online.text_proj.weight
    torch.testing.assert_close(moved, torch.ones_like(moved), atol=1e-2, rtol=0)
    assert not any(key.startswith(("image_queue", "text_queue")) for key in load_file(weights.path_of("albef")))
    lengths = loaded.image_queue().norm(dim=0)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert torch.equal(loaded.image_queue(), minimm.load("albef").image_queue())


def test_loading_draws_no_random_numbers(folder):
    weights.store("vilt", built("vilt"))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    minimm.load("vilt")
    assert torch.equal(torch.rand(1), expected)


def test_wrong_names():
    with pytest.raises(ValueError, match="name: expected one of vse, clip, vilbert, vilt, albef, detector, .*'clap'"):
        minimm.load("clap")
    with pytest.raises(ValueError, match="name: expected one of vse.*'clip-vqa'"):
        minimm.load("clip-vqa")
    with pytest.raises(ValueError, match="task: expected one of vqa, entailment, pairs, why, but got 'retrieval'"):
        minimm.load("albef", task="retrieval")
    with pytest.raises(ValueError, match="task: expected none for the detector, but got 'vqa'"):
        minimm.load("detector", task="vqa")
    assert weights.ships("albef-multitask") and not weights.ships("albef-vqa") and not weights.ships("labels")


def test_wrong_files(folder):
    def refused(name, error, words):
        with pytest.raises(error, match=words) as caught:
            weights.read(name)
        assert f"{name}.safetensors" in str(caught.value)

    refused("vilt", FileNotFoundError, "expected the weights that come with the course")
    weights.store("vilt", built("vilt"))
    path = weights.path_of("vilt")
    whole = path.read_bytes()
    for wrong in (whole[:-100], whole[:500], b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"):
        path.write_bytes(wrong)
        refused("vilt", ValueError, "cut short or no weights")
    save_file({"weight": torch.zeros(2)}, path)  # without sizes
    refused("vilt", ValueError, "expected the sizes of the recipe, {'image': 64")

    # Another model; and one of the same sizes, of another make.
    weights.path_of("albef").write_bytes(whole)
    refused("albef", ValueError, "expected the sizes of the recipe, .*'embed_dim': 128")
    weights.store("clip", built("clip"))
    weights.path_of("clip-multitask").write_bytes(weights.path_of("clip").read_bytes())
    refused("clip-multitask", ValueError, "expected the same sizes")
    weights.store("clip", built("clip-multitask"))
    refused("clip", ValueError, "expected the same sizes, heads.* of None, but got heads")


def test_another_recipe(folder, monkeypatch):
    weights.store("vilt", built("vilt"))
    start, make = RECIPES["vilt"].starts, RECIPES["vilt"].make

    def other(*starts):
        model = make(*starts)
        model.config = replace(model.config, layers=3)
        return model

    monkeypatch.setitem(RECIPES, "vilt", replace(RECIPES["vilt"], make=other, starts=start))
    with pytest.raises(ValueError, match="expected the sizes of the recipe, {'layers': 3}, but got {'layers': 4}"):
        minimm.load("vilt")


def test_what_cannot_be_stored(folder):
    model = built("vilt")
    with pytest.raises(ValueError, match="name: expected one of .*albef-multitask, but got 'vilt-vqa'"):
        weights.store("vilt-vqa", model)
    for wrong in (1e5, torch.nan):
        with torch.no_grad():
            model.encoder.pooler.weight[0, 0] = wrong
        with pytest.raises(ValueError, match="encoder.pooler.weight: expected what half precision can hold"):
            weights.store("vilt", model)
    assert not folder.exists()


# Cards

RESULT = {"recipe": {"name": "clip-multitask", "starts": ["clip"], "form": None}, "seed": 3, "seconds": 61.25,
          "seconds of starts": {"clip": 80.5}, "steps": 2000, "loss": {"vqa": [3.0, 2.0]},
          "test": {"vqa": {"all": 75.125, "examples": 6500}, "why": {"both": 50.0}}, "novel": {"vqa": {"all": 60.0}}}


def test_a_card():
    text = card("clip-multitask", RESULT)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    for row in (["recipe, starts", "clip"], ["seconds", "61.25"], ["seconds of starts, clip", "80.5"],
                ["", "test", "novel"], ["vqa, all", "75.12", "60"], ["vqa, examples", "6500", ""],
                ["why, both", "50", ""]):
        assert row in rows
    assert "recipe, form" not in text and "loss" not in text
    assert 'minimm.load("clip", task="why")' in text
    assert "python -m minimm.training.results clip-multitask --seeds 3" in text
    assert 'minimm.load("detector")' in card("vilbert", RESULT) and 'minimm.load("detector")' not in text
    assert "Not measured." in card("clip", {"seed": 0})


def test_cards_are_written(folder):
    weights.store("clip", built("clip"), RESULT)
    assert (folder / "clip.md").read_text() == card("clip", RESULT)


# Many tasks on one trunk

PARTS = [*((architecture, None) for architecture in HEADS),
         *(("albef", part) for part in ("vision", "text.embed", "text.layers", "text.fusion"))]


def outputs(model, batches):
    result = {}
    for task, batch in batches.items():
        head = model.heads[task]
        result[task] = head.said(batch) if isinstance(head, Answerer) else head(batch)
    return result


@pytest.mark.parametrize("architecture, part", PARTS)
@torch.no_grad()
def test_a_change_of_the_trunk_changes_every_task(architecture, part, detector_regions):
    model, batches = built(f"{architecture}-multitask"), batches_of(architecture, detector_regions)
    before = outputs(model, batches)
    for t in model.trunk.get_submodule(part or "").parameters():
        t.add_(0.05 * torch.randn(t.shape))
    after = outputs(model, batches)
    assert before.keys() == set(scenes.TASKS)
    for task in before:
        assert (after[task] - before[task]).abs().amax() > 1e-4, task


@pytest.mark.parametrize("architecture", HEADS)
def test_a_head_is_its_task_s_alone(architecture, detector_regions):
    model, batches = built(f"{architecture}-multitask"), batches_of(architecture, detector_regions)
    trunk = {id(p) for p in model.trunk.parameters()}
    counts = Counter(id(p) for head in model.heads.values() for p in set(head.parameters()))
    assert all(counts[i] == len(scenes.TASKS) for i in trunk), "a head has a trunk of its own"
    assert all(n == 1 for i, n in counts.items() if i not in trunk)
    losses = model.train().loss(batches["pairs"])
    assert losses.keys() == {"pairs"}
    losses["pairs"].backward()
    learns = {id(p) for p in model.parameters() if p.grad is not None}
    assert learns & trunk
    assert learns - trunk and learns - trunk <= {id(p) for p in model.heads["pairs"].parameters()}
    with pytest.raises(ValueError, match="task: expected one of vqa, entailment, pairs, why, but got 'retrieval'"):
        model.loss({**batches["pairs"], "task": "retrieval"})


def test_albef_answers_without_a_momentum_copy(detector_regions):
    model, batch = built("albef-multitask"), batches_of("albef", detector_regions)["vqa"]
    distilled = ALBEFAnswers(model.heads["vqa"], alpha=0)
    torch.testing.assert_close(model.heads["vqa"].loss(batch), distilled.loss(batch))
    assert not any("momentum" in name for name in model.state_dict())


def test_albef_s_pairs_start_as_alone():
    body = body_of(built("albef"))
    shared, alone = pair_body_on(body), PairBody(body.config).start_from(body)
    ours, theirs = shared.state_dict(), alone.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], t) for key, t in theirs.items())
    own = {id(p) for p in shared.parameters()} - {id(p) for p in body.parameters()}
    layers = len(body.text.fusion)
    assert len(own) == layers * (len(list(body.text.fusion[0].parameters())) - 4)  # k and v, each with a bias


def test_tasks_take_turns():
    of_task = {"a": lambda step: {"step": step}, "b": lambda step: {"step": 10 + step}}
    turns = InTurn(of_task, "aba")
    assert [(turn["task"], turn["step"]) for turn in map(turns, range(7))] == [
        ("a", 0), ("b", 10), ("a", 1), ("a", 2), ("b", 11), ("a", 3), ("a", 4)]


def test_many_tasks_train_in_the_loop():
    recipe = replace(RECIPES["clip-multitask"], batch=4)
    model = built("clip-multitask")
    before = {name: t.clone() for name, t in model.named_parameters()}
    run = fit(model, recipes.batches(recipe, scenes.load("test", 8)), 5, warmup=1, precision="float32")
    steps = {task: len(losses) for task, losses in run.losses.items()}
    assert steps == {"vqa": 2, "entailment": 1, "pairs": 1, "why": 1}
    moved = {name.split(".")[1] for name, t in model.named_parameters() if not torch.equal(t, before[name])}
    assert {*scenes.TASKS, "text", "vision"} <= moved


def test_a_detector_is_loaded(folder):
    weights.store("detector", built("detector"))
    detector, pictures = minimm.load("detector"), scenes.load("test", 8).images()
    assert type(detector) is Detector
    assert detector.regions(pictures)["regions"].shape[0] == len(pictures)
