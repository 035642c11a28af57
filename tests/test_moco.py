"""MoCo: its traps, its views, its inputs; its numbers are in test_golden.py."""

import copy
import math

import pytest
import torch
from torch import nn

from minimm import scenes
from minimm.models.moco import MoCo, MoCoConfig, augmentation, two_views
from minimm.models.vse import ImageEncoder, VSEConfig
from minimm.objectives.momentum import ema_update
from minimm.training import fit

SMALL = MoCoConfig(dim=6, K=12, m=0.9)


def make(encoder=None, config=SMALL, seed=0):
    torch.manual_seed(seed)
    return MoCo(encoder or nn.Linear(5, config.dim), config)


def views(b=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(b, 5, generator=generator), torch.randn(b, 5, generator=generator)


def batches(step):
    view_q, view_k = views(seed=step)
    return {"view_q": view_q, "view_k": view_k}


def test_published_sizes():
    c = MoCoConfig()
    assert (c.dim, c.K, c.m, c.T) == (128, 65536, 0.999, 0.07)


def test_the_copy_starts_as_the_same_and_the_queue_as_keys_of_length_one():
    model = make()
    for a, b in zip(model.encoder_q.parameters(), model.encoder_k.parameters(), strict=True):
        assert torch.equal(a, b) and a is not b
    torch.testing.assert_close(model.queue.keys.norm(dim=0), torch.ones(12))


def test_the_copy_moves_before_the_keys():
    model, (view_q, view_k) = make(), views()
    with torch.no_grad():
        model.encoder_q.weight.add_(torch.randn(6, 5))  # as an optimiser would
    moved = copy.deepcopy(model.encoder_k)
    ema_update(moved, model.encoder_q, 0.9)
    out = model(view_q, view_k)
    torch.testing.assert_close(out.k, nn.functional.normalize(moved(view_k), dim=1))
    assert torch.equal(model.encoder_k.weight, moved.weight)


def test_the_negatives_are_the_old_queue():
    model, (view_q, view_k) = make(), views()
    old = model.queue.keys.clone()
    out = model(view_q, view_k)
    torch.testing.assert_close(out.logits[:, 1:], out.q @ old / 0.07)
    torch.testing.assert_close(out.logits[:, 0], (out.q * out.k).sum(1) / 0.07)
    assert torch.equal(model.queue.keys[:, :4], out.k.T) and torch.equal(model.queue.keys[:, 4:], old[:, 4:])
    assert model.queue.pointer == 4


def test_one_right_key_a_query_and_no_negatives_in_the_batch():
    model, (view_q, view_k) = make(), views()
    out = model.eval()(view_q, view_k)
    assert out.logits.shape == (4, 1 + 12) and out.labels.tolist() == [0] * 4
    alone = [model(view_q[i:i + 1], view_k[i:i + 1]).logits[0] for i in range(4)]
    torch.testing.assert_close(torch.stack(alone), out.logits)


def test_the_oldest_keys_go_first():
    model = make()
    for step in range(3):
        out = model(*views(seed=step))
        assert torch.equal(model.queue.keys[:, 4 * step:4 * step + 4], out.k.T)
    assert model.queue.pointer == 0


def test_a_batch_normalisation_of_the_copy_sees_its_own_pictures_only():
    model, (view_q, view_k) = make(nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 6))), views()
    model(view_q, view_k + 3)
    online, slow = model.encoder_q[0], model.encoder_k[0]
    torch.testing.assert_close(online.running_mean, 0.1 * view_q.mean(0))
    torch.testing.assert_close(slow.running_mean, 0.1 * (view_k + 3).mean(0))  # the average moves parameters only


def test_no_gradient_reaches_the_copy_or_the_queue():
    model = make()
    losses = [model.loss(batches(step))["contrastive"] for step in range(2)]  # the queue is overwritten in between
    sum(losses).backward()
    assert model.encoder_q.weight.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in model.encoder_k.parameters())
    assert not model.queue.keys.requires_grad


def test_chance_is_the_logarithm_of_all_keys():
    encoder = nn.Linear(5, 6)
    nn.init.zeros_(encoder.weight)
    model = make(encoder).eval()
    model.queue.keys.copy_(nn.functional.normalize(encoder.bias.detach(), dim=0)[:, None].expand(6, 12))
    assert math.isclose(model.loss(batches(0))["contrastive"].item(), math.log(1 + 12), rel_tol=1e-5)


def test_random_directions_are_easy_negatives():
    model = make(nn.Linear(5, 64), MoCoConfig(dim=64, K=512)).eval()
    x, _ = views()
    easy = model.loss({"view_q": x, "view_k": x})["contrastive"]
    model.queue.keys[:, :4] = model(x, x).k.T  # now its own key stands among the negatives
    assert easy < 0.5 < math.log(2) < model.loss({"view_q": x, "view_k": x})["contrastive"]


def test_evaluation_changes_nothing():
    model = make().eval()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model.encoder_q.bias.add_(1.0)
        model.loss(batches(0))
        model.encoder_q.bias.sub_(1.0)
        model.loss({"view_q": torch.randn(5, 5), "view_k": torch.randn(5, 5)})  # no divisor of K
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_a_resumed_run_goes_on_with_its_queue(tmp_path):
    def killed(step):
        if step == 4:  # in the middle of the queue
            raise KeyboardInterrupt
        return batches(step)

    settings = {"warmup": 0, "precision": "float32", "save_every": 1}
    whole, resumed = make(), make()
    fit(whole, batches, 5, **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(make(), killed, 5, checkpoint=tmp_path / "run.pt", **settings)
    fit(resumed, batches, 5, checkpoint=tmp_path / "run.pt", **settings)
    assert whole.queue.pointer == 8
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_no_half_precision_in_lengths_and_logits():
    model = make().eval()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(*views())
    assert out.logits.dtype == out.q.dtype == torch.float32
    torch.testing.assert_close(out.q.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(out.logits[:, 1:], out.q @ model.queue.keys / 0.07)


def test_a_picture_encoder_of_the_course():
    torch.manual_seed(0)
    model = MoCo(ImageEncoder(VSEConfig(embed_dim=16, cnn_width=16)), MoCoConfig(dim=16, K=8))
    pictures = scenes.load("test", 20).pictures[:4]
    view_q, view_k = (scenes.normalise(v) for v in two_views(pictures, augmentation()))
    model.loss({"view_q": view_q, "view_k": view_k})["contrastive"].backward()
    assert model.encoder_q.fc.weight.grad.isfinite().all() and model.queue.pointer == 4


# Views


@pytest.mark.parametrize("version", [1, 2])
def test_every_picture_is_changed_in_its_own_two_ways(version):
    picture = scenes.load("test", 20).pictures[:1]
    same = picture.expand(5, -1, -1, -1)
    torch.manual_seed(0)
    first, second = two_views(same, augmentation(version=version))
    assert first.shape == second.shape == (5, 3, 64, 64) and first.dtype == torch.uint8
    assert len({v.numpy().tobytes() for v in [*first, *second]}) == 10
    torch.manual_seed(0)
    again, _ = two_views(same, augmentation(version=version))
    assert torch.equal(again, first)


def test_what_can_be_kept_is_kept():
    torch.manual_seed(0)
    red = torch.tensor([200, 30, 40], dtype=torch.uint8)[None, :, None, None].expand(20, 3, 64, 64)
    for version in (1, 2):
        assert all(torch.equal(v, red) for v in two_views(red, augmentation(version=version, colour=False)))
        assert not torch.equal(two_views(red, augmentation(version=version))[0], red)
    ramp = torch.arange(0, 256, 4, dtype=torch.uint8).expand(20, 3, 64, 64)  # dark on the left

    def brighter_right(flip):
        view, _ = two_views(ramp, augmentation(colour=False, flip=flip))
        return {bool(v[..., 32:].float().mean() > v[..., :32].float().mean()) for v in view}

    assert brighter_right(flip=False) == {True} and brighter_right(flip=True) == {True, False}
    whole, _ = two_views(ramp, augmentation(32, crop=(1, 1), colour=False, flip=False))
    assert whole.shape == (20, 3, 32, 32) and (whole[:, :, 0, 0] < 30).all() and (whole[:, :, 0, -1] > 220).all()


# Bad input


def test_wrong_batches():
    model = make()
    for view_q, view_k, words in (
            (torch.zeros(0, 5), torch.zeros(0, 5), "view_q and view_k: expected the same shape, b > 0"),
            (torch.zeros(4, 5), torch.zeros(3, 5), "view_q and view_k: expected the same shape"),
            (torch.zeros(5, 5), torch.zeros(5, 5), "batch: expected a divisor of the queue's length K = 12"),
            (torch.zeros(24, 5), torch.zeros(24, 5), "batch: expected a divisor")):
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(ValueError, match=words):
            model(view_q, view_k)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    view_q, view_k = views()
    for change, error, words in ((lambda x: x / 0, ValueError, "expected numbers, but got NaN or infinity"),
                                 (lambda x: x.long(), TypeError, "expected a floating-point tensor, but got torch.i"),
                                 (lambda x: x.tolist(), TypeError, "expected a floating-point tensor, but got list")):
        before = model.queue.keys.clone()
        for name, both in (("view_q", (change(view_q), view_k)), ("view_k", (view_q, change(view_k)))):
            with pytest.raises(error, match=f"{name}: {words}"):
                model(*both)
        assert torch.equal(model.queue.keys, before)  # a NaN in the queue would stay there
    with pytest.raises(ValueError, match=r"encoder: expected shape \(4, 6\)"):
        make(nn.Linear(5, 7))(*views())


def test_a_batch_of_one_will_do():
    model = make()
    assert model.loss({"view_q": torch.randn(1, 5), "view_k": torch.randn(1, 5)})["contrastive"].isfinite()
    assert model.queue.pointer == 1


@pytest.mark.parametrize("shape", [(4, 1, 16, 16), (4, 3, 20, 16), (4, 16, 16)])
def test_wrong_views_of_a_picture_encoder(shape):
    model = MoCo(ImageEncoder(VSEConfig(image=16, embed_dim=6, cnn_width=8)), MoCoConfig(dim=6, K=8))
    with pytest.raises(ValueError, match=r"images: expected shape \(b, 3, 16, 16\)"):
        model(torch.randn(shape), torch.randn(shape))


@pytest.mark.parametrize("field, value", [("dim", 0), ("K", 0), ("m", 1.1), ("m", -0.1), ("T", 0.0)])
def test_wrong_sizes(field, value):
    with pytest.raises(ValueError, match=f"{field}: expected"):
        MoCoConfig(**{field: value})


@pytest.mark.parametrize("pictures, error, words", [
    (torch.zeros(2, 3, 8, 8), TypeError, "pictures: expected a tensor of uint8"),
    ([1, 2], TypeError, "pictures: expected a tensor of uint8"),
    (torch.zeros(3, 8, 8, dtype=torch.uint8), ValueError, "pictures: expected shape"),
    (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), ValueError, "pictures: expected shape"),
    (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), ValueError, "pictures: expected shape"),
])
def test_wrong_pictures(pictures, error, words):
    with pytest.raises(error, match=words):
        two_views(pictures, augmentation())


def test_wrong_version():
    with pytest.raises(ValueError, match="version: expected 1 or 2"):
        augmentation(version=3)


@pytest.mark.cuda
def test_cuda_gives_the_same():
    model = make().eval()
    here = model(*views()).logits
    there = model.cuda()(*(v.cuda() for v in views())).logits.cpu()
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)
