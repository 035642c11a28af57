"""ViLBERT's inputs, invariances and draws; its numbers are in test_golden.py."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minimm.models.vilbert import ViLBERT, ViLBERTConfig
from minimm.objectives import regions as R
from minimm.objectives.masking import IGNORE

SMALL = ViLBERTConfig(context=10, vocab=30, text_width=16, text_layers=3, text_heads=2, text_hidden=24,
                      region_features=12, region_classes=5, vision_width=20, vision_layers=2, vision_heads=2,
                      vision_hidden=20, co_width=8, co_heads=2, text_co=(1, 2), vision_co=(0, 1))
LAYOUT = json.loads((Path(__file__).parent / "layouts" / "vilbert_base.json").read_text())


def make(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return ViLBERT(config).eval()


def batch(b=4, r=3, seed=1):
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 30, (b, 7), generator=g)
    ids[:, 0], ids[:, -1] = 1, 2
    corner = 40 * torch.rand(b, r, 2, generator=g)
    return {"regions": torch.randn(b, r, 12, generator=g), "ids": ids,
            "boxes": torch.cat([corner, corner + 1 + 20 * torch.rand(b, r, 2, generator=g)], dim=-1),
            "region_classes": torch.rand(b, r, 5, generator=g).softmax(-1)}


def inputs(b=4, r=3, seed=1):
    return {k: v for k, v in batch(b, r, seed).items() if k != "region_classes"}


def test_shapes():
    model, x = make(), inputs()
    out = model(**x)
    assert [tuple(t.shape) for t in out] == [(4, 7, 16), (4, 4, 20), (4, 8), (4, 8), (4, 8)]
    torch.testing.assert_close(out.fused, out.pooled_text * out.pooled_vision)
    summed = ViLBERT(replace(SMALL, fusion="sum")).eval()
    summed.load_state_dict(model.state_dict())
    torch.testing.assert_close(summed(**x).fused, out.pooled_text + out.pooled_vision)


@torch.no_grad()
def test_padding_does_not_count():
    model, x = make(), inputs()
    out = model(**x)
    more = {"regions": torch.full((4, 2, 12), math.nan), "boxes": torch.full((4, 2, 4), -7.0),
            "ids": torch.zeros(4, 2, dtype=torch.int64)}
    mask = torch.tensor([True] * 3 + [False] * 2).expand(4, 5)
    padded = model(**{k: torch.cat([t, more[k]], dim=1) for k, t in x.items()}, region_mask=mask)
    torch.testing.assert_close(padded.text[:, :7], out.text)
    torch.testing.assert_close(padded.vision[:, :4], out.vision)
    torch.testing.assert_close(padded.fused, out.fused)


@torch.no_grad()
def test_regions_have_no_order_and_words_have():
    model, x = make(), inputs()
    out, order = model(**x), torch.tensor([2, 0, 1])
    permuted = model(x["regions"][:, order], x["boxes"][:, order], x["ids"])
    torch.testing.assert_close(permuted.vision[:, 1:], out.vision[:, 1:][:, order])
    torch.testing.assert_close(permuted.vision[:, 0], out.vision[:, 0])
    torch.testing.assert_close(permuted.text, out.text)
    moved = model(**{**x, "ids": x["ids"][:, [0, 2, 1, 3, 4, 5, 6]]})
    assert (moved.text[:, 0] - out.text[:, 0]).abs().max() > 1e-4


@torch.no_grad()
def test_permuted_batch():
    model, x = make(), inputs()
    order = torch.tensor([2, 0, 3, 1])
    for came, out in zip(model(**{k: t[order] for k, t in x.items()}), model(**x)):
        torch.testing.assert_close(came, out[order])


def test_each_stream_looks_at_the_other():
    model, x = make(), inputs()
    x["regions"].requires_grad_()
    model(**x).text.square().sum().backward()
    assert x["regions"].grad.abs().amax(-1).min() > 0
    assert model.co[0].vision.attn.q.weight.grad.abs().max() > 0  # by way of the second co-attention layer


@torch.no_grad()
def test_boxes_count_relative_to_the_picture():
    model, x = make(), inputs()
    twice = model(x["regions"], 2 * x["boxes"], x["ids"], sizes=torch.full((4, 2), 2 * SMALL.image))
    torch.testing.assert_close(twice.vision, model(**x).vision)
    assert (model(x["regions"], x["boxes"] / 2, x["ids"]).vision - twice.vision).abs().max() > 1e-4
    whole = model(x["regions"], x["boxes"].long(), x["ids"])  # whole pixels, as the scenes give them
    assert whole.vision.dtype == torch.float32


def test_task_token():
    model, x = make(replace(SMALL, tasks=3)), inputs()
    one, two = (model(**x, task=torch.full((4,), t)) for t in (1, 2))
    assert one.text.shape == (4, 8, 16) and (one.fused - two.fused).abs().max() > 0
    with pytest.raises(ValueError, match="task"):
        model(**x)
    for task, error, words in ((torch.full((4,), 3), ValueError, "numbers from 0 to 2"),
                               (torch.ones(4), TypeError, "int64"), (1, TypeError, "a tensor of int64, but got int"),
                               (torch.tensor([1]), ValueError, r"shape \(4,\)")):
        with pytest.raises(error, match=f"task: .*{words}"):
            model(**x, task=task)
    with pytest.raises(ValueError, match="task"):
        make()(**x, task=torch.ones(4, dtype=torch.int64))


def test_parameters_of_the_published_model():
    """Those of the released file but for what nobody uses; a tied matrix counts once."""
    with torch.device("meta"):
        model = ViLBERT(ViLBERTConfig.paper())
    left_out = {*LAYOUT["present_but_unused_in_forward"], *(name for group in LAYOUT["tied"] for name in group[1:])}
    published = sum(math.prod(shape) for name, (shape, _) in LAYOUT["tensors"].items() if name not in left_out)
    assert sum(p.numel() for p in model.parameters()) == published
    assert len(list(model.parameters())) == len(LAYOUT["tensors"]) - len(left_out)


def test_course_size_fits_the_scenes():
    from minimm import scenes
    data, config, tokenizer = scenes.load("test", 16), ViLBERTConfig(), scenes.tokenizer
    assert len(tokenizer) <= config.vocab and config.image == scenes.SIDE
    assert (config.pad_id, config.cls_id, config.sep_id, config.mask_id) == (
        tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert config.region_classes == 1 + len(scenes.ICONS)  # and "nothing"
    boxes, mask = torch.zeros(16, 4, 4), torch.zeros(16, 4, dtype=torch.bool)
    for i, scene in enumerate(data.scenes):
        mask[i, :len(scene.things)], boxes[i, :len(scene.things)] = True, torch.as_tensor(scenes.boxes(scene)).float()
    classes = torch.full((16, 4, config.region_classes), 1 / config.region_classes)
    losses = make(config).loss({"regions": torch.randn(16, 4, config.region_features), "boxes": boxes, "ids": data.tokens(),
                                "region_mask": mask, "region_classes": classes})
    assert losses["masked language"].item() == pytest.approx(math.log(256), abs=0.6)
    assert losses["alignment"].item() == pytest.approx(math.log(2), abs=0.05) and losses["masked regions"] < 0.3


def test_start():
    model = make()
    std = 0.02 * (768 / 16) ** 0.5  # of BERT, for a text width of 16
    assert abs(model.text_embed.tok.weight.std() - std) < 0.1 * std and model.vision_embed.feat.bias.abs().max() == 0
    assert model.vision_embed.loc.weight.std() > 1.5 * model.vision_embed.feat.weight.std()  # where regions are is seen
    losses = model.loss(batch(b=16))
    assert losses["alignment"].item() == pytest.approx(math.log(2), abs=0.05)
    assert losses["masked language"].item() == pytest.approx(math.log(30), abs=0.3)


@pytest.mark.parametrize("target", ["classes", "features", "contrast"])
def test_loss_has_gradients_everywhere(target):
    model = make(replace(SMALL, region_target=target, mask_probability=0.5)).train()
    losses = model.loss(batch(b=8))
    assert set(losses) == {"masked language", "masked regions", "alignment"}
    assert all(t.ndim == 0 and t.isfinite() for t in losses.values())
    sum(losses.values()).backward()
    assert [n for n, w in model.named_parameters() if w.grad is None] == []


def test_loss_in_bfloat16():
    model = make(replace(SMALL, mask_probability=0.5))
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(batch(b=8))
    assert all(t.isfinite() for t in losses.values())
    assert all(t.dtype == torch.float32 for t in losses.values())


def test_draws_come_from_the_seed():
    model, x = make(), batch()
    torch.manual_seed(7)
    first = model.loss(x)
    torch.manual_seed(7)
    assert all(first[k].equal(v) for k, v in model.loss(x).items())


def test_nothing_masked_is_no_nan():
    losses = make(replace(SMALL, mask_probability=1e-9)).loss(batch())
    assert losses["masked regions"].item() == 0 and losses["masked language"].item() == 0
    sum(losses.values()).backward()


def test_settings_of_the_authors():
    """Words and regions are asked for on matched pairs only, and what overlaps a masked region stays in sight."""
    for config in (ViLBERTConfig(), ViLBERTConfig.paper()):
        assert config.matched_only and not config.hide_overlaps and config.fusion == "product"


def test_masked_only_where_they_match():
    x, selected = batch(), torch.ones(4, 3, dtype=torch.bool)
    matched = torch.tensor([True, False, True, False])
    for matched_only in (True, False):
        model = make(replace(SMALL, matched_only=matched_only))
        out = model(x["regions"], x["boxes"], x["ids"])
        came = model.losses(out, x["ids"], selected, x["region_classes"], matched)
        rows = matched if matched_only else slice(None)
        rest = model.losses(type(out)(*(t[rows] for t in out)), x["ids"][rows], selected[rows],
                            x["region_classes"][rows], torch.ones_like(matched)[rows])
        for name in ("masked language", "masked regions"):
            torch.testing.assert_close(came[name], rest[name])


def watch(model, x):
    """What `encode` was given by `loss`."""
    seen, encode = {}, model.encode
    model.encode = lambda *given: seen.update(zip(("features", "locations", "mask", "ids"), given)) or encode(*given)
    model.loss(x)
    return seen


def test_what_is_hidden_from_the_model():
    model = make(replace(SMALL, mask_probability=0.5))
    x = batch(b=64, r=4)
    seen = watch(model, x)
    ids, features = seen["ids"], seen["features"]
    special = torch.isin(x["ids"], torch.tensor([0, 1, 2]))
    assert ids[special].equal(x["ids"][special]), "[CLS], [SEP] and padding are never hidden"
    assert 0.3 < (ids[~special] == 3).float().mean() < 0.5
    hidden = (features[:, 1:] == 0).all(-1)
    assert 0.35 < hidden.float().mean() < 0.55
    close_location = R.location(x["boxes"], torch.full((64, 2), 64))
    torch.testing.assert_close(seen["locations"][:, 1:], close_location), "a hidden region keeps its place"
    # The whole picture is made of what is left.
    nothing_left = hidden.all(1)
    assert nothing_left.any() and (features[nothing_left, 0] == 0).all()


def test_what_overlaps_is_hidden_on_request():
    x = batch(b=32, r=4)
    x["boxes"] = torch.tensor([[0.0, 0, 20, 20], [1, 1, 21, 21], [40, 40, 60, 60], [41, 41, 61, 61]]).expand(32, 4, 4)
    seen = {}
    for hide in (False, True):
        torch.manual_seed(0)
        features = watch(make(replace(SMALL, mask_probability=0.3, hide_overlaps=hide)), x)["features"]
        seen[hide] = (features[:, 1:] == 0).all(-1).unflatten(1, (2, 2))  # b pairs 2
    assert (seen[False].any(-1) & ~seen[False].all(-1)).any()
    assert (seen[True].any(-1) == seen[True].all(-1)).all() and seen[True].any()


@torch.no_grad()
def test_with_nothing_hidden_the_whole_picture_is_the_mean_of_its_regions():
    model, x = make(), inputs()
    mask = torch.tensor([[True, True, True], [True, False, True], [False, False, True], [True, True, False]])
    seen, embed = [], model.vision_embed.forward
    model.vision_embed.forward = lambda *given: seen.append(given) or embed(*given)
    model(**x, region_mask=mask)
    (features, locations), = seen
    expected = torch.stack([f[m].mean(0) for f, m in zip(x["regions"], mask)])
    torch.testing.assert_close(features[:, 0], expected)
    assert (locations[:, 0] == torch.tensor([0.0, 0, 1, 1, 1])).all()


def test_half_of_the_captions_are_replaced():
    model = make(replace(SMALL, mask_probability=1e-9))
    labels, losses = [], model.losses
    model.losses = lambda *a: labels.append(a[4]) or losses(*a)
    for b, rarely, often in ((400, 0, 0.02), (2, 0.15, 0.35)):
        labels.clear()
        own = []
        for seed in range(400 // b):
            x = batch(b, seed=seed)
            own.append((watch(model, x)["ids"] == x["ids"]).all(1))
        own, matched = torch.cat(own), torch.cat(labels)
        assert 0.4 < matched.float().mean() < 0.6 and own[matched].all()
        # By chance it is their own caption, and still called wrong: half of b in one of b cases.
        assert rarely <= (own & ~matched).float().mean() <= often


def test_overlaps_are_marked_and_hidden_on_request():
    boxes = torch.tensor([[[0.0, 0, 20, 20], [1, 1, 21, 21], [40, 40, 60, 60], [0, 0, 0, 0]]])
    mask = torch.tensor([[True, True, True, False]])
    x = R.Regions(torch.ones(1, 4, 2), boxes, mask, torch.full((1, 2), 64))
    drawn = torch.tensor([[0.1, 0.9, 0.9, 0.0]])
    masked = R.mask_regions(x, drawn=drawn)
    assert masked.selected.tolist() == masked.hidden.tolist() == [[True, False, False, False]]
    assert masked.overlapping.tolist() == [[True, True, False, False]]
    assert R.mask_regions(x, drawn=drawn, hide_overlaps=True).hidden.tolist() == [[True, True, False, False]]
    # The mean is over fewer than the sum, as in the authors' code.
    whole = R.global_feature(masked.features.masked_fill(~mask[..., None], 0), mask & ~masked.overlapping)
    assert whole.tolist() == [[2.0, 2.0]]
    kept = R.mask_regions(x, drawn=torch.tensor([[0.14, 0.9, 0.9, 0.9]]))
    assert kept.selected[0, 0] and not kept.hidden.any(), "one of ten is asked for and left as it is"
    assert R.overlap(torch.tensor([[3.0, 3, 5, 5], [4, 4, 6, 6]]))[0, 1].item() == pytest.approx(4 / 14)  # pixels count


def test_floors_of_the_region_losses():
    classes, selected = torch.rand(2, 3, 5).softmax(-1), torch.tensor([[True, False, True], [False, True, False]])
    assert R.region_divergence(classes.log(), classes, selected).item() == pytest.approx(0, abs=1e-6)
    certain = torch.eye(5)[:3].expand(2, 3, 5)
    assert R.region_divergence(torch.zeros(2, 3, 5), certain, selected).item() == pytest.approx(math.log(5))
    assert R.region_error(classes, classes, selected) == 0
    none = torch.zeros(2, 3, dtype=torch.bool)
    negatives = R.draw_region_negatives(torch.ones(2, 3, dtype=torch.bool), none, 4)
    for value in (R.region_divergence(classes, classes, none), R.region_error(classes, classes, none),
                  R.region_contrast(classes, classes, none, negatives)):
        assert value.item() == 0


def test_negatives_of_the_region_contrast():
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    selected = torch.tensor([[False, True, False, False], [True, False, False, False]])
    negatives = R.draw_region_negatives(mask, selected, 4000)
    assert negatives.shape == (2, 4000)
    assert set(negatives[0].tolist()) == {0, 2, 4, 5} and set(negatives[1].tolist()) == {0, 1, 2, 5}
    assert 0.25 < torch.isin(negatives[0], torch.tensor([0, 2])).float().mean() < 0.35
    features = torch.eye(8)[:, :8].unflatten(0, (2, 4))
    good = R.region_contrast(20 * features, features, selected, negatives[:, :10])
    assert good.item() < 1e-3
    assert R.region_contrast(0 * features, features, selected, negatives[:, :10]).item() == pytest.approx(math.log(11))
    with pytest.raises(ValueError, match="regions"):
        R.draw_region_negatives(torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool))


@pytest.mark.parametrize("retrieval", [True, False])
@torch.no_grad()
def test_score(retrieval):
    model, x = make(replace(SMALL, retrieval=retrieval)), inputs()
    out = model(**x)
    odds = model.itm(out.fused).log_softmax(1)
    torch.testing.assert_close(model.score(**x), model.rank(out.fused)[:, 0] if retrieval else odds[:, 0] - odds[:, 1])


def test_retrieval_over_four():
    model, x = make(replace(SMALL, retrieval=True)), inputs()
    x["hard_ids"] = x["ids"].roll(2, 0)
    calls, score = [], model.score
    model.score = lambda *a: calls.append(a) or score(*a)
    loss = model.loss(x)
    assert set(loss) == {"retrieval"} and loss["retrieval"].item() == pytest.approx(math.log(4), abs=0.05)
    (features, boxes, ids, mask, sizes), = calls
    pictures = [[i for i in range(4) if f.equal(x["regions"][i])][0] for f in features]
    texts = [[i for i in range(4) if t.equal(x["ids"][i])][0] for t in ids]
    own = list(range(4))
    assert pictures[:8] == own + own and pictures[12:] == own and all(a != b for a, b in zip(pictures[8:12], own))
    assert texts[:4] == own == texts[8:12] and all(a != b for a, b in zip(texts[4:8], own))
    assert texts[12:] == [2, 3, 0, 1]
    loss["retrieval"].backward()
    assert model.rank.weight.grad.abs().max() > 0
    x["index"] = torch.tensor([0, 0, 0, 5])
    for _ in range(20):
        model.loss(x)
        texts = [[i for i in range(4) if t.equal(x["ids"][i])][0] for t in calls[-1][2]]
        assert texts[4:7] == [3, 3, 3], "another caption of the same picture is not wrong"
    x["index"] = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="no negative"):
        model.loss(x)
    for wrong in (x["ids"][:, :3], None):
        with pytest.raises(ValueError, match="hard_ids: expected a tensor of the shape of ids"):
            model.loss({**x, "hard_ids": wrong})
    with pytest.raises(ValueError, match=r"index: expected \(4,\)"):
        model.loss({**x, "index": torch.arange(3)})


def changed(**changes):
    x = batch()
    return {**x, **{k: v(x.get(k)) for k, v in changes.items()}}


BAD = [
    (lambda: changed(regions=lambda t: t[:, :0], boxes=lambda t: t[:, :0]), ValueError, "regions: .*at least one"),
    (lambda: changed(regions=lambda t: t[..., :5]), ValueError, r"regions: .*\(b, r, 12\)"),
    (lambda: changed(regions=lambda t: t.long()), TypeError, "regions: .*floating-point.*int64"),
    (lambda: changed(regions=lambda t: None), TypeError, "regions: .*NoneType"),
    (lambda: changed(regions=lambda t: t * math.nan), ValueError, "regions: .*NaN"),
    (lambda: changed(boxes=lambda t: t[..., :3]), ValueError, r"boxes: .*\(4, 3, 4\).*\(4, 3, 3\)"),
    (lambda: changed(boxes=lambda t: None), ValueError, "boxes: .*NoneType"),
    (lambda: changed(boxes=lambda t: t + 30), ValueError, r"boxes: .*picture of \[64, 64\]"),
    (lambda: changed(boxes=lambda t: t[..., [2, 3, 0, 1]]), ValueError, "boxes: .*x1 <= x2"),
    (lambda: changed(boxes=lambda t: t * math.nan), ValueError, "boxes: .*nan"),
    (lambda: changed(sizes=lambda t: torch.full((4, 2), 30)), ValueError, r"boxes: .*picture of \[30, 30\]"),
    (lambda: changed(sizes=lambda t: torch.full((4,), 30)), ValueError, "sizes"),
    (lambda: changed(sizes=lambda t: torch.zeros(4, 2), boxes=lambda t: 0 * t), ValueError, "sizes: .*above 0"),
    (lambda: changed(region_mask=lambda t: torch.ones(4, 3)), TypeError, "region_mask: .*bool.*float32"),
    (lambda: changed(region_mask=lambda t: torch.ones(4, 2).bool()), ValueError, r"region_mask: .*\(4, 3\)"),
    (lambda: changed(region_mask=lambda t: torch.zeros(4, 3).bool()), ValueError, "region_mask: .*without a region"),
    (lambda: changed(ids=lambda t: t.repeat(1, 2)), ValueError, "ids: .*at most 10.*14"),
    (lambda: changed(ids=lambda t: t + 10), ValueError, "ids: .*0 to 29"),
    (lambda: changed(ids=lambda t: t.float()), TypeError, "ids: .*int64"),
    (lambda: changed(ids=lambda t: t * 0), ValueError, "ids: .*all False"),
    (lambda: changed(ids=lambda t: t[:3]), ValueError, "3 texts"),
]


@pytest.mark.parametrize("make_input, error, message", BAD)
def test_bad_input(make_input, error, message):
    x, model = make_input(), make()
    with pytest.raises(error, match=message):
        model.loss(x)
    x.pop("region_classes")
    with pytest.raises(error, match=message):
        model(**x)


def test_bad_batch():
    model = make()
    with pytest.raises(ValueError, match="two pairs"):
        model.loss(batch(b=1))
    with pytest.raises(ValueError, match="region_classes: .*shape"):
        model.loss(changed(region_classes=lambda t: t[..., :4]))
    with pytest.raises(ValueError, match="region_classes: .*NoneType"):
        model.loss(inputs())
    with pytest.raises(ValueError, match="region_classes: .*sum to 1"):
        model.loss(changed(region_classes=lambda t: 2 * t))
    with pytest.raises(ValueError, match="^p: "):
        make(replace(SMALL, mask_probability=0.0)).loss(batch())


@pytest.mark.parametrize("changes", [{"text_co": (1,)}, {"text_co": (2, 1)}, {"vision_co": (0, 3)}, {"fusion": "max"},
                                     {"region_target": "pixels"}, {"co_heads": 3}])
def test_bad_config(changes):
    with pytest.raises(ValueError, match=next(iter(changes)).replace("co_heads", "heads")):
        ViLBERT(replace(SMALL, **changes))


def test_it_learns():
    """Hidden words are read off the picture, hidden regions off the text and the other region. Alignment comes much
    later, since at BERT's start the product of the pooled states is next to nothing."""
    kinds, model = 5, make(replace(SMALL, mask_probability=0.3), seed=3)
    g = torch.Generator().manual_seed(0)
    prototypes = 2 * torch.randn(kinds, 12, generator=g)
    optimizer, history = torch.optim.AdamW(model.parameters(), 3e-3), []
    torch.manual_seed(0)
    for _ in range(200):
        kind = torch.randint(kinds, (32,), generator=g)
        ids = torch.stack([torch.ones(32), 10 + kind, 20 + kind, torch.full((32,), 2)], dim=1).long()
        x = {"regions": prototypes[kind][:, None] + 0.1 * torch.randn(32, 2, 12, generator=g), "ids": ids,
             "boxes": torch.tensor([[[0.0, 0, 20, 20], [30, 30, 60, 60]]]).expand(32, 2, 4),
             "region_classes": torch.eye(kinds)[kind][:, None].expand(32, 2, kinds)}
        losses = model.loss(x)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append([v.item() for v in losses.values()])
    language, regions, _ = torch.tensor(history)[-20:].mean(0).tolist()
    assert language < 1 and regions < 1  # ln 10 and ln 5 for who looks at nothing


def test_ignored_labels():
    """Labels outside the asked positions do not count, whatever the words there are."""
    x, model = batch(), make()
    out = model(x["regions"], x["boxes"], x["ids"])
    labels = torch.full_like(x["ids"], IGNORE)
    labels[0, 2] = 5
    selected, matched = torch.zeros(4, 3, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    loss = model.losses(out, labels, selected, x["region_classes"], matched)["masked language"]
    logits = model.mlm(out.text, model.text_embed.tok.weight)
    torch.testing.assert_close(loss, -logits[0, 2].log_softmax(-1)[5])
