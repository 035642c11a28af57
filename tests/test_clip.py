"""CLIP's inputs and invariances; its numbers are in test_golden.py, its peers in test_parity.py."""

import math
from dataclasses import replace

import pytest
import torch

from minimm.layers import ConvStem
from minimm.models.clip import CLIP, CLIPConfig
from minimm.objectives.contrastive import many_views, similarity, symmetric_cross_entropy

SMALL = CLIPConfig(embed_dim=12, image=16, patch=8, vision_width=16, vision_layers=1, vision_heads=2, context=10,
                   vocab=30, text_width=16, text_layers=1, text_heads=2, eot_id=2)


def make(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return CLIP(config).eval()


def inputs(b=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 30, (b, 7), generator=generator)
    ids[:, -1] = 2
    return torch.randn(b, 3, 16, 16, generator=generator), ids


def test_permuted_batch():
    model, (images, ids) = make(), inputs()
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        logits, permuted = model(images, ids).logits_per_image, model(images[order], ids[order]).logits_per_image
        torch.testing.assert_close(permuted, logits[order][:, order])
        torch.testing.assert_close(*(model.loss({"images": images[o], "ids": ids[o]})["contrastive"]
                                     for o in (order, slice(None))))


def test_padding_and_what_follows_the_end_does_not_count():
    model, (_, ids) = make(), inputs()
    padded = torch.cat([ids, torch.tensor([[0, 0], [5, 6], [2, 2], [9, 0]])], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(model.encode_text(padded), model.encode_text(ids))


def test_the_text_before_the_end_counts():
    model, (_, ids) = make(), inputs()
    other = ids.clone()
    other[:, 1] = (other[:, 1] - 4 + 1) % 26 + 4
    with torch.no_grad():
        assert (model.encode_text(other) - model.encode_text(ids)).abs().amax(1).min() > 1e-3


def test_swapped_modalities_leave_the_loss():
    a, b = torch.randn(5, 8), torch.randn(5, 8)
    scale = torch.tensor(2.0)
    torch.testing.assert_close(symmetric_cross_entropy(similarity(a, b, scale)),
                               symmetric_cross_entropy(similarity(b, a, scale)))


def test_chance_is_the_logarithm_of_the_batch():
    same = torch.ones(6, 8)
    assert math.isclose(symmetric_cross_entropy(similarity(same, same, torch.tensor(1.0))), math.log(6), rel_tol=1e-5)


def test_doubles_count_as_wrong():
    """Where every pair stands in the batch n times, a perfect model has a loss of ln n, not of 0."""
    for n in (1, 2, 4):
        pairs = torch.eye(3).repeat(n, 1)
        loss = symmetric_cross_entropy(similarity(pairs, pairs, torch.tensor(math.log(100))))
        assert math.isclose(loss, math.log(n), abs_tol=1e-5)


def test_many_views():
    views, scale = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0)), torch.tensor(1.0)
    torch.testing.assert_close(many_views(views[:2], scale), symmetric_cross_entropy(similarity(*views[:2], scale)))
    torch.testing.assert_close(many_views(views, scale), many_views(views.flip(0), scale))
    three = sum(many_views([a, b], scale) for a, b in ((views[0], views[1]), (views[0], views[2]), (views[1], views[2])))
    torch.testing.assert_close(many_views(views[:3], scale), three)
    assert math.isclose(many_views([torch.ones(6, 8)] * 4, scale), 6 * math.log(6), rel_tol=1e-5)  # chance
    with pytest.raises(ValueError, match="views: expected at least two"):
        many_views(views[:1], scale)


@torch.no_grad()
def test_where_the_last_norm_stands():
    """In vision on the class token alone, in text on all tokens: who reads the states gets what is documented."""
    model, (images, ids) = make(), inputs()
    seen = []
    model.vision.blocks[-1].register_forward_hook(lambda _, __, out: seen.append(out))
    states = model.vision.tokens(images)
    assert states.equal(seen[0])
    torch.testing.assert_close(model.vision.features(images), model.vision.ln_final(states[:, 0]))
    torch.testing.assert_close(model.text.tokens(ids).mean(-1), torch.zeros(4, 7), rtol=0, atol=1e-5)


def test_the_scale_is_clamped_after_the_step_and_keeps_its_gradient():
    model, (images, ids) = make(), inputs()
    with torch.no_grad():
        model.log_scale.fill_(6.0)
    model.loss({"images": images, "ids": ids})["contrastive"].backward()
    assert model.log_scale.grad.abs() > 0
    model.after_step()
    assert math.isclose(model.log_scale.item(), math.log(100), rel_tol=1e-6)


@pytest.mark.parametrize("name, parameters", [("ViT-B/32", 151_277_313), ("RN50", 102_007_137)])  # as released
def test_published_size(name, parameters):
    with torch.device("meta"):
        model = CLIP(CLIPConfig.paper(name))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_resnet_tower():
    config = replace(SMALL, image=64, patch=32, vision_width=8, resnet=(1, 2, 1, 1))
    model = make(config)
    images, ids = torch.randn(3, 3, 64, 64), inputs(3)[1]
    with torch.no_grad():
        out = model(images, ids)
        assert out.logits_per_image.shape == (3, 3) and model.vision.features(images).shape == (3, 8 * 8 * 4)
        # Positions are added, so the places do not change roles unnoticed; a permuted batch is a permuted batch.
        assert (model.encode_image(images.flip(3)) - out.image_features).abs().max() > 1e-4
        torch.testing.assert_close(model.encode_image(images.flip(0)), out.image_features.flip(0))
    with pytest.raises(ValueError, match="resnet: expected four stages"):
        replace(config, resnet=(1, 1))


@pytest.mark.parametrize("patch", [2, 4, 8, 16, 32])
def test_stem_makes_the_grid_of_the_patches(patch):
    assert ConvStem(16, patch)(torch.randn(2, 3, 64, 64)).shape == (2, (64 // patch) ** 2, 16)


def test_course_size_fits_the_scenes():
    from minimm import scenes
    data, config = scenes.load("test", 50), CLIPConfig()
    assert len(scenes.tokenizer) <= config.vocab and config.eot_id == scenes.tokenizer.sep_id
    assert config.image == scenes.SIDE
    out = CLIP(config).eval()(data.images(), data.tokens())
    assert out.logits_per_image.shape == (50, 50)


@pytest.mark.parametrize("change, error, words", [
    (lambda x: x[0], ValueError, "images: expected shape"),
    (lambda x: x[:, :2], ValueError, "images: expected shape"),
    (lambda x: x[..., :8], ValueError, "images: expected shape"),
    (lambda x: x.permute(0, 2, 3, 1), ValueError, "images: expected shape"),
    (lambda x: x[:0], ValueError, "images: expected shape"),
    (lambda x: (x * 255).to(torch.uint8), TypeError, "images: expected a tensor of normalised"),
    (lambda x: x.numpy(), TypeError, "images: expected a tensor of normalised"),
    (lambda x: x.abs() * 255, ValueError, "not 0 to 255"),
    (lambda x: x.where(x < 1, torch.nan), ValueError, "no NaN"),
])
def test_wrong_pictures(change, error, words):
    with pytest.raises(error, match=words):
        make().encode_image(change(inputs()[0]))


@pytest.mark.parametrize("change, error, words", [
    (lambda x: x[0], ValueError, "ids: expected shape"),
    (lambda x: x[:0], ValueError, "ids: expected shape"),
    (lambda x: x.float(), TypeError, "ids: expected a tensor of int64"),
    (lambda x: x.where(x != 2, 30), ValueError, "ids from 0 to 29"),
    (lambda x: x - 5, ValueError, "ids from 0 to 29"),
    (lambda x: torch.cat([x, x], 1), ValueError, "at most 10"),
    (lambda x: x.where(x != 2, 5), ValueError, "end-of-text id 2"),
])
def test_wrong_texts(change, error, words):
    with pytest.raises(error, match=words):
        make().encode_text(change(inputs()[1]))


def test_wrong_batches():
    model, (images, ids) = make(), inputs()
    with pytest.raises(ValueError, match="as many pictures as texts"):
        model.loss({"images": images, "ids": ids[:3]})
    with pytest.raises(ValueError, match="at least two pairs"):
        model.loss({"images": images[:1], "ids": ids[:1]})
    with pytest.raises(ValueError, match="square"):
        symmetric_cross_entropy(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="one width"):
        similarity(torch.zeros(2, 3), torch.zeros(2, 4), torch.tensor(0.0))


@pytest.mark.parametrize("field, value, words", [
    ("vision_heads", 3, "divisor of the width"), ("image", 20, "multiple of the patch"), ("eot_id", 30, "eot_id")])
def test_wrong_sizes(field, value, words):
    with pytest.raises(ValueError, match=words):
        CLIP(replace(SMALL, **{field: value}))


@pytest.mark.cuda
def test_cuda_gives_the_same():
    model, (images, ids) = make(), inputs()
    with torch.no_grad():
        here = model(images, ids).logits_per_image
        there = model.cuda()(images.cuda(), ids.cuda()).logits_per_image.cpu()
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)
