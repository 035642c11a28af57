"""The detector: what it learns from, what it hands to ViLBERT, how that is measured and kept."""

import math
from dataclasses import replace

import pytest
import torch

from minimm import scenes
from minimm.evaluation.detection import average_precision, detection, overlaps, things
from minimm.evaluation.probes import presence
from minimm.models.detector import Detector, DetectorConfig
from minimm.models.vilbert import ViLBERT, ViLBERTConfig
from minimm.scenes.detection import DetectionBatches, targets
from minimm.training import fit
from minimm.training import regions as cached
from minimm.training.regions import regions_of

SMALL = replace(DetectorConfig(), width=16, features=24)
COURSE = DetectorConfig()
DATA = scenes.load("test", 64)


def make(config=SMALL, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Detector(config).eval()


def batches(size=4):
    return DetectionBatches(DATA, size)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# What it learns from


def test_targets_are_what_the_scenes_say():
    truth = targets(DATA.scenes)
    icons, colours, sizes = (list(values) for values in (scenes.ICONS, scenes.COLOURS, scenes.SIZES))
    assert len(icons) + 1 == COURSE.classes and len(colours) == COURSE.colours and len(sizes) == COURSE.sizes
    for i, scene in enumerate(DATA.scenes):
        n = len(scene.things)
        assert truth["boxes"][i, :n].tolist() == scenes.boxes(scene).tolist()
        assert [icons[k - 1] for k in truth["labels"][i, :n].tolist()] == [t.icon for t in scene.things]
        assert [colours[k] for k in truth["colours"][i, :n].tolist()] == [t.colour for t in scene.things]
        assert [sizes[k] for k in truth["sizes"][i, :n].tolist()] == [t.size for t in scene.things]
        assert all((t[i, n:] == 0).all() for t in truth.values())


def test_batches_are_a_function_of_the_step():
    ours = batches(16)
    first, last = ours(0), ours(3)
    assert same(batches(16)(3), last) and same(ours(0), first)
    assert not same(DetectionBatches(DATA, 16, seed=1)(0), first)
    assert not same(ours(4), first)  # the next epoch has another order
    truth, images = targets(DATA.scenes), DATA.images()
    shown = torch.cat([ours(step)["images"] for step in range(4)])
    index = [(images == image).flatten(1).all(1).nonzero()[0].item() for image in shown]
    assert sorted(index) == list(range(64))  # each scene once an epoch
    for name, t in truth.items():
        assert torch.equal(torch.cat([ours(step)[name] for step in range(4)]), t[index])
    with pytest.raises(ValueError, match="size: expected 1 to 64"):
        batches(65)


def test_loss_has_named_terms_from_the_true_boxes():
    batch, model = batches()(0), make().train()
    torch.manual_seed(0)
    terms = model.loss(batch)
    assert list(terms) == ["objectness", "proposals", "classes", "boxes", "colours", "sizes"]
    assert all(t.ndim == 0 and t.isfinite() for t in terms.values())
    for name, values in (("classes", SMALL.classes), ("colours", SMALL.colours), ("sizes", SMALL.sizes)):
        assert abs(terms[name].item() - math.log(values)) < 0.4  # it knows nothing yet
    junk = {**batch, **{name: batch[name].clone() for name in ("boxes", "colours")}}  # behind the last thing
    junk["boxes"][batch["labels"] == 0], junk["colours"][batch["labels"] == 0] = math.nan, 3
    torch.manual_seed(0)
    assert same(model.loss(junk), terms)
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters() if p.ndim > 1)


def test_it_learns():
    batch = batches(8)(0)
    losses = fit(make(COURSE), lambda step: batch, 24, lr=2e-3, warmup=2).losses
    assert losses.pop("boxes")  # it is about proposals on things, and these become more and more
    assert all(sum(values[-4:]) < 0.6 * sum(values[:4]) for values in losses.values()), losses


def test_one_seed_gives_one_result():
    def trained():
        model = make()
        fit(model, batches(), 3, warmup=1, precision="bfloat16")
        return model.eval()

    first, second = trained(), trained()
    assert same(first.state_dict(), second.state_dict()) and not same(first.state_dict(), make().state_dict())
    images = DATA[:4].images()
    assert same(first.regions(images), second.regions(images))


@pytest.mark.parametrize("change, error, message", [
    ({"images": torch.zeros(4, 3, 32, 32)}, ValueError, r"images: expected shape \(b, 3, 64, 64\)"),
    ({"boxes": torch.zeros(4, 4, 5)}, ValueError, r"boxes: expected floating point of shape \(4, t, 4\)"),
    ({"boxes": torch.zeros(4, 4, 4)}, ValueError, "boxes: expected x0 < x1"),
    ({"boxes": torch.tensor([0.0, 0.0, 65.0, 9.0]).expand(4, 4, 4)}, ValueError, "boxes: expected x0 < x1"),
    ({"boxes": torch.tensor([0.0, 0.0, math.nan, 9.0]).expand(4, 4, 4)}, ValueError, "boxes: expected x0 < x1"),
    ({"labels": torch.zeros(4, 4, dtype=torch.int64)}, ValueError, "labels: expected a real box"),
    ({"labels": torch.full((4, 4), 25)}, ValueError, "labels: expected numbers from 0 to 24"),
    ({"labels": torch.ones(4, 4)}, TypeError, "labels: expected a tensor of int64"),
    ({"colours": torch.full((4, 4), 7)}, ValueError, "colours: expected numbers from 0 to 6"),
    ({"sizes": torch.ones(4, 3, dtype=torch.int64)}, ValueError, r"sizes: expected shape \(4, 4\)")])
def test_wrong_batches(change, error, message):
    with pytest.raises(error, match=message):
        make().train().loss({**batches()(0), **change})


# What it finds


def test_regions_are_what_vilbert_takes():
    model, data = make(COURSE), DATA[:8]
    for score in (0.0, 1.0):  # many regions, and none but the best
        model.config = replace(COURSE, min_score=score)
        found = model.regions(data.images())
        b, r = 8, COURSE.regions
        assert {name: tuple(t.shape) for name, t in found.items()} == {
            "regions": (b, r, 128), "boxes": (b, r, 4), "region_mask": (b, r), "region_classes": (b, r, 25)}
        mask = found["region_mask"]
        assert mask.dtype == torch.bool and mask[:, 0].all()
        assert bool(mask[:, 1:].any()) == (score == 0)
        assert all((t[~mask] == 0).all() for t in found.values())
        torch.testing.assert_close(found["region_classes"].sum(-1), mask.float())
        vilbert = ViLBERT(ViLBERTConfig())  # refuses boxes out of the picture and the like
        terms = vilbert.loss({**found, "ids": data.tokens()})
        assert all(t.isfinite() for t in terms.values())


def test_a_picture_does_not_depend_on_its_batch():
    model, images = make(), DATA[:6].images()
    together, alone = model.regions(images), [model.regions(image[None]) for image in images]
    for name, t in together.items():
        torch.testing.assert_close(torch.cat([one[name] for one in alone]).float(), t.float(), rtol=1e-4, atol=1e-4)


def test_the_best_region_comes_first_and_none_twice():
    model = make(replace(SMALL, min_score=0.0))
    found = model.regions(DATA[:6].images())
    score = found["region_classes"][..., 1:].amax(-1)
    assert (score[:, :-1] >= score[:, 1:]).all()
    truth = {"boxes": found["boxes"], "labels": found["region_mask"].long()}
    iou = overlaps(found, truth)
    assert iou.diagonal(dim1=1, dim2=2)[found["region_mask"]].min() > 0.999
    assert iou.triu(1).max() <= SMALL.overlap


def test_a_picture_without_proposals_has_a_region():
    model, images = make(), DATA[:2].images()
    model.rcnn.rpn.forward = lambda images, maps: ([torch.zeros(0, 4), torch.tensor([[3.0, 3.0, 20.0, 20.0]])], {})
    found = model.regions(images)
    assert found["region_mask"][:, 0].all() and found["regions"][0, 0].abs().max() > 0
    assert not torch.equal(found["regions"][0, 0], found["regions"][1, 0])


def test_each_mode_has_its_function():
    with pytest.raises(ValueError, match="detector: expected training mode"):
        make().loss(batches()(0))
    with pytest.raises(ValueError, match="detector: expected evaluation mode"):
        make().train().regions(DATA[:2].images())
    with pytest.raises(TypeError, match="images"):
        make().regions(DATA.pictures[:2])


# How it is measured


def perfect(data, extra=0):
    """What a detector would find that knows all, with `extra` regions of padding that say nonsense; and the truth."""
    truth = targets(data.scenes)
    mask = truth["labels"] > 0
    classes = torch.nn.functional.one_hot(truth["labels"], COURSE.classes).float() * mask[..., None]
    features = torch.arange(mask.numel()).view(*mask.shape, 1).float()
    found = {"regions": features, "boxes": truth["boxes"], "region_mask": mask, "region_classes": classes}
    nonsense = {name: torch.full_like(t[:, :extra], t.dtype != torch.bool) for name, t in found.items()}
    return {name: torch.cat([t, nonsense[name]], dim=1) for name, t in found.items()}, truth


def test_all_found():
    assert detection(*perfect(DATA)) == (100, 100, 100, 100)
    assert detection(*perfect(DATA, extra=2)) == (100, 100, 100, 100)  # padding does not count


def test_found_under_another_name():
    found, truth = perfect(DATA)
    found["region_classes"] = found["region_classes"].roll(1, -1)
    found["region_classes"][..., 0] = 0  # the last class
    scores = detection(found, truth)
    assert scores.recall == 100 and scores.named == scores.precision == scores.mean_average_precision == 0


def test_half_of_the_boxes_shifted():
    found, truth = perfect(DATA)
    odd = torch.zeros(64, 4, dtype=torch.bool)
    odd[1::2] = True
    found["boxes"] = torch.where(odd[..., None], found["boxes"] + 20, found["boxes"])
    real = truth["labels"] > 0
    share = 100 * (real & ~odd).sum().item() / real.sum().item()
    scores = detection(found, truth)
    assert scores.recall == scores.named == pytest.approx(share) and scores.precision == pytest.approx(share)


def test_a_thing_counts_once():
    found, truth = perfect(DATA)
    twice = {name: torch.cat([t, t], dim=1) for name, t in found.items()}
    twice["region_classes"][:, 4:] *= 0.5  # less sure
    scores = detection(twice, truth)
    assert scores.recall == 100 and scores.precision == 50 and scores.mean_average_precision == 100


def test_average_precision_by_hand():
    assert average_precision(torch.tensor([True, False, True]), 2) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(torch.tensor([False, True, True]), 4) == pytest.approx((2 / 3 + 2 / 3) / 4)  # never rises
    assert average_precision(torch.zeros(0, dtype=torch.bool), 3) == 0


def test_things_are_paired_with_their_regions():
    found, truth = perfect(DATA)
    order = torch.tensor([2, 0, 3, 1])
    features, alone = things({name: t[:, order] for name, t in found.items()}, DATA)
    assert torch.equal(features, found["regions"][truth["labels"] > 0])
    assert [t for scene in alone for t in scene.things] == [t for scene in DATA.scenes for t in scene.things]
    assert torch.equal(presence(alone, "colour").argmax(1), truth["colours"][truth["labels"] > 0])
    found["region_mask"][:, 0] = False
    assert len(things(found, DATA)[1]) == len(alone) - 64


def test_measures_refuse_other_scenes():
    found, _ = perfect(DATA)
    with pytest.raises(ValueError, match="found: expected 8 of them"):
        detection(found, targets(DATA.scenes[:8]))


# How it is kept


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIMM_CACHE", str(tmp_path))
    return tmp_path / "regions"


def test_regions_are_found_once(cache, monkeypatch):
    model, data = make(), DATA[:10]
    first = regions_of(data, model, size=4)
    assert len(first) == 10 and first.seconds > 0
    assert [path.name.split("-")[:2] for path in cache.iterdir()] == [["test", "10"]]
    monkeypatch.setattr(cached, "find", None)  # nothing is computed any more
    second = regions_of(data, model)
    assert same(first.tensors, second.tensors) and first.seconds == second.seconds
    index = torch.tensor([7, 0, 7])
    seen, found = second.see(index), model.regions(DATA.images()[index])
    assert seen.keys() == found.keys() and all(seen[name].dtype == t.dtype for name, t in found.items())
    for name, t in found.items():
        torch.testing.assert_close(seen[name].float(), t.float(), rtol=2e-3, atol=2e-2)  # half precision


def test_another_detector_and_other_scenes_have_another_file(cache):
    data = DATA[:3]
    keys = {cached.key(part, model) for part, model in (
        (data, make()), (data, make(seed=1)), (data, make(replace(SMALL, overlap=0.4))), (DATA[1:4], make()),
        (scenes.load("test", 3, seed=1), make()))}
    assert len(keys) == 5 and cached.key(DATA[:3], make()) in keys
    regions_of(data, make())
    regions_of(data, make(seed=1))
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda data: data[:-50], lambda data: data[:5], lambda data: b"",
                                    lambda data: b"{" * 99])
def test_a_damaged_file_is_made_anew(cache, damage, capsys):
    model, data = make(), DATA[:3]
    first = regions_of(data, model)
    path, = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert same(regions_of(data, model).tensors, first.tensors)
    assert "cannot be read" in capsys.readouterr().out
    assert len(path.read_bytes()) > len(whole) - 20 and [path] == list(cache.iterdir())


def test_regions_for_vilbert_from_batches(cache):
    data = DATA[:8]
    model = make(COURSE)
    with pytest.raises(ValueError, match="detector: expected in evaluation mode"):
        regions_of(data, model.train())
    batch = scenes.Batches(data, 8, see=regions_of(data, model.eval()).see)(0)
    assert "images" not in batch
    assert all(t.isfinite() for t in ViLBERT(ViLBERTConfig()).loss(batch).values())
