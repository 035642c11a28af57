"""ALBEF's inputs, invariances and the order of its steps; its numbers are in test_golden.py."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minimm.models import albef
from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.objectives.contrastive import distilled_targets, shared_targets, soft_cross_entropy
from minimm.objectives.masking import IGNORE, Masked, mask_tokens, masked_cross_entropy, whole_word_mask
from minimm.objectives.matching import draw_negatives, hard_negative_weights, matching_loss, ranking_loss
from minimm.objectives.momentum import Queue, ema_update, random_keys
from minimm.training import fit

SMALL = ALBEFConfig(embed_dim=6, image=16, patch=8, vision_width=8, vision_layers=1, vision_heads=2, vision_hidden=16,
                    context=10, vocab=30, text_width=12, text_layers=1, fusion_layers=1, text_heads=2, text_hidden=16,
                    queue=8, stem=False, alpha_steps=0)


def make(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return ALBEF(config)


def inputs(b=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 30, (b, 7), generator=generator)
    ids[:, 0], ids[:, -1] = 1, 2
    return torch.randn(b, 3, 16, 16, generator=generator), ids


def test_permuted_batch():
    model, (images, ids) = make().eval(), inputs()
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        for came, expected in zip(model(images[order], ids[order]), model(images, ids)):
            torch.testing.assert_close(came, expected[order])
        # Drawn negatives of a permuted batch are those of the batch, permuted.
        negatives = torch.tensor([1, 0, 1, 2]), torch.tensor([3, 2, 0, 1])
        masked = Masked(ids, torch.where(ids == ids[:, 2:3], ids, IGNORE))
        back = order.argsort()
        losses = model.step(images, ids, masked=masked, negatives=negatives).losses
        permuted = model.step(images[order], ids[order], masked=Masked(*(x[order] for x in masked)),
                              negatives=tuple(back[n[order]] for n in negatives)).losses
    for name in losses:
        torch.testing.assert_close(permuted[name], losses[name])


def test_padding_does_not_count():
    model, (images, ids) = make().eval(), inputs()
    padded = torch.cat([ids, torch.zeros(4, 3, dtype=torch.int64)], dim=1)
    with torch.no_grad():
        short, long = model(images, ids), model(images, padded)
    torch.testing.assert_close(long.text_features, short.text_features)
    torch.testing.assert_close(long.matching_logits, short.matching_logits)
    torch.testing.assert_close(long.fused[:, :7], short.fused)


def test_the_picture_and_the_words_count():
    model, (images, ids) = make().eval(), inputs()
    with torch.no_grad():
        out = model(images, ids)
        assert (model(images.flip(0), ids).matching_logits - out.matching_logits).abs().max() > 1e-6
        assert (model(images, ids.flip(1)).matching_logits - out.matching_logits).abs().max() > 1e-6
        torch.testing.assert_close(out.image_features.norm(dim=-1), torch.ones(4))


def test_a_step_in_its_order():
    model, (images, ids) = make().train(), inputs()
    before = {name: w.clone() for name, w in model.momentum.named_parameters()}
    queue = model.image_queue()
    with torch.no_grad():
        for w in model.online.parameters():
            w += 0.1
    step = model.step(images, ids)
    # The momentum model has moved before it was asked.
    for name, w in model.momentum.named_parameters():
        online = model.online.get_parameter(name)
        torch.testing.assert_close(w.detach(), 0.995 * before[name] + 0.005 * online.detach())
    torch.testing.assert_close(step.momentum_image_features, model.momentum.image(images)[1])
    # The batch stands in the queue where the oldest keys were, and only there.
    torch.testing.assert_close(model.image_queue()[:, :4], step.momentum_image_features.T)
    torch.testing.assert_close(model.image_queue()[:, 4:], queue[:, 4:])
    sum(step.losses.values()).backward()
    assert all(w.grad is None for w in model.momentum.parameters())
    assert model.temperature.grad.abs() > 0


def test_nothing_moves_in_evaluation():
    model, (images, ids) = make().eval(), inputs()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    model.step(images, ids)
    assert all(t.equal(before[name]) for name, t in model.state_dict().items())


def test_the_temperature_stays_in_its_range_in_pretraining_only():
    images, ids = inputs()
    for changes, expected in (({}, 0.5), ({"index_targets": True}, 3.0)):
        model = make(replace(SMALL, temperature=3.0, **changes))
        model.step(images, ids, torch.arange(4) if changes else None)
        assert model.temperature.item() == expected


def test_alpha_grows():
    model = make(replace(SMALL, alpha_steps=10))
    assert model.alpha() == 0
    for _ in range(5):
        model.after_step()
    assert math.isclose(model.alpha(), 0.2)
    model.steps.fill_(40)
    assert math.isclose(model.alpha(), 0.4)
    again = make(replace(SMALL, alpha_steps=10))
    again.load_state_dict(model.state_dict())  # a resumed run goes on with the alpha that it had
    assert again.alpha() == model.alpha()


def test_the_copy_drops_out_as_the_model_does():
    """It stays in training mode, as with the authors: what it says of one batch differs from time to time."""
    model, (images, ids) = make(replace(SMALL, dropout=0.3, momentum=1.0)).train(), inputs()
    assert all(module.training for module in model.momentum.modules())
    one, two = (model.step(images, ids).momentum_text_features for _ in range(2))
    assert (one - two).abs().max() > 1e-3
    model.eval()
    one, two = (model.step(images, ids).momentum_text_features for _ in range(2))
    torch.testing.assert_close(one, two)


def test_settings_of_the_course():
    """A queue well below the number of pictures: a caption that is in it still would be wrong for its own picture."""
    from minimm.scenes.data import NUMBERS
    assert ALBEFConfig().queue <= NUMBERS["train"] / 10
    assert ALBEFConfig.paper().queue == 65536 and ALBEFConfig.paper().momentum == 0.995


def test_what_masked_language_may_hide(monkeypatch):
    """Never [CLS] or padding; [SEP] can be, as with the authors. The picture is the own one."""
    seen = []
    monkeypatch.setattr(albef, "mask_tokens", lambda ids, may, *rest: seen.append(may) or mask_tokens(ids, may, *rest))
    model, (images, ids) = make(), inputs()
    ids[1, 4:] = torch.tensor([2, 0, 0])
    model.step(images, ids)
    assert seen[0].equal((ids != 0) & (ids != 1))


def test_a_killed_run_goes_on_to_the_bit(tmp_path):
    """Momentum copy, queues with their pointers, alpha's steps, the statistics of normalisations: all in the file."""
    config = replace(SMALL, dropout=0.1, alpha_steps=4, stem=True)

    def batches(step):
        return dict(zip(("images", "ids", "index"), (*inputs(seed=step), torch.arange(4) + step)))

    def killed(step):
        if step == 3:
            raise KeyboardInterrupt
        return batches(step)

    settings = {"warmup": 0, "precision": "float32", "save_every": 1}
    for i, config in enumerate((config, replace(config, index_targets=True))):
        file = tmp_path / f"{i}.pt"
        whole, resumed = make(config), make(config, seed=9)
        run = fit(whole, batches, 5, **settings)
        with pytest.raises(KeyboardInterrupt):
            fit(make(config), killed, 5, checkpoint=file, **settings)
        assert fit(resumed, batches, 5, checkpoint=file, **settings).losses == run.losses
        assert resumed.steps == 5 and resumed.image_queue.pointer == 4 * 5 % 8
        for name, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), name


def test_guessing_has_the_stated_losses():
    # Matching: one of three pairs matches.
    p = torch.tensor([2 / 3, 1 / 3])
    guess = soft_cross_entropy(p.log()[None], p[None])
    assert math.isclose(guess.item(), 0.6365, abs_tol=1e-4)
    # Contrastive: all keys alike.
    hard = torch.eye(4, 12)
    assert math.isclose(soft_cross_entropy(torch.zeros(4, 12), hard).item(), math.log(12), rel_tol=1e-6)


def test_soft_targets_have_a_floor():
    hard, teacher = torch.eye(3, 5), torch.randn(3, 5)
    targets = distilled_targets(hard, teacher, 0.4)
    torch.testing.assert_close(targets.sum(1), torch.ones(3))
    entropy = -(targets * targets.log()).sum(1).mean()
    torch.testing.assert_close(soft_cross_entropy(targets.log(), targets), entropy)
    assert entropy > 0.1


def test_a_former_positive_in_the_queue_is_a_negative_unless_the_index_says_so():
    index, queued = torch.tensor([5, 8]), torch.tensor([8, -100, 5, 5])
    shares = shared_targets(index, torch.cat([index, queued]))
    torch.testing.assert_close(shares, torch.tensor([[1 / 3, 0, 0, 0, 1 / 3, 1 / 3], [0, 0.5, 0.5, 0, 0, 0]]))
    with pytest.raises(ValueError, match="key_index: expected the query's own"):
        shared_targets(index, queued[1:2])


def test_hard_negatives_are_sampled_and_never_the_own():
    similarity = torch.tensor([[9.0, 1, 0], [2, 9, 1], [1, 1, 9]], requires_grad=True)
    weights = hard_negative_weights(similarity)
    assert not weights.requires_grad and weights.diagonal().eq(0).all() and weights.sum(1).lt(1).all()
    torch.manual_seed(0)
    drawn = torch.stack([draw_negatives(weights) for _ in range(300)])
    assert (drawn != torch.arange(3)).all()
    share = (drawn[:, 0] == 1).double().mean()  # e : 1
    assert abs(share - math.e / (math.e + 1)) < 0.1 and share < 1


def test_a_caption_that_is_in_the_batch_twice():
    """In pre-training nothing keeps it from being drawn for its double; the pictures' numbers do in fine-tuning."""
    images, ids = inputs()
    images[1], ids[1] = images[0], ids[0]
    for changes, index in (({}, None), ({"index_targets": True}, torch.tensor([7, 7, 3, 5]))):
        step = make(replace(SMALL, **changes)).step(images, ids, index)
        for weights in (step.image_weights, step.text_weights):
            assert (weights[[0, 1], [1, 0]] > 0.1).all() if index is None else (weights[:2, :2] == 0).all()


def test_negatives_at_a_low_temperature():
    """In single precision the own pair can take all of a row: the others then share it as they would without it."""
    similarity = torch.tensor([[900.0, 1, 0], [2, 900, 1], [1, 2, 3]])
    weights = hard_negative_weights(similarity)
    torch.testing.assert_close(weights[:2], torch.tensor([[0, math.e, 1], [math.e, 0, 1]]) / (1 + math.e))
    torch.testing.assert_close(weights[2], torch.tensor([1, math.e, 0]) / (1 + math.e + math.e**2))
    images, ids = inputs()
    model = make(replace(SMALL, temperature=0.001))
    model.image_queue.keys.zero_(), model.text_queue.keys.zero_()
    assert all(v.isfinite() for v in model.step(images, ids).losses.values())


@pytest.mark.parametrize("index", [None, [4, 4, 4]])
def test_a_row_without_negatives(index):
    similarity = torch.zeros(1, 1) if index is None else torch.zeros(3, 3)
    with pytest.raises(ValueError, match="batch: expected for every pair another picture"):
        draw_negatives(hard_negative_weights(similarity, index and torch.tensor(index)))


def test_batch_of_one():
    images, ids = inputs(1)
    with pytest.raises(ValueError, match="no negative for row 0 of 1"):
        make().step(images, ids)


def test_a_batch_that_does_not_divide_the_queue():
    images, ids = inputs(3)
    with pytest.raises(ValueError, match="a divisor of the queue's length 8"):
        make().step(images, ids)


def test_queue_and_average():
    with pytest.raises(ValueError, match="m: expected a number from 0 to 1"):
        ema_update(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), 1.5)
    with pytest.raises(ValueError, match="keys: expected shape"):
        Queue(random_keys(3, 8)).enqueue(torch.zeros(4, 5))
    queue = Queue(random_keys(3, 8))
    held = queue()
    queue.enqueue(torch.zeros(4, 3))
    assert held.norm() > queue().norm()  # what was handed out before does not change


@pytest.mark.parametrize("change, error, words", [
    (lambda i, t: (i[..., :8], t), ValueError, "images: expected shape"),
    (lambda i, t: (torch.randn(4, 3, 20, 20), t), ValueError, "images: expected shape"),
    (lambda i, t: ((i * 255).to(torch.uint8), t), TypeError, "images: expected a tensor of normalised"),
    (lambda i, t: (i, t.float()), TypeError, "ids: expected a tensor of int64"),
    (lambda i, t: (i, torch.cat([t, t], 1)), ValueError, "at most 10"),
    (lambda i, t: (i, t.where(t != 2, 30)), ValueError, "ids from 0 to 29"),
    (lambda i, t: (i, torch.cat([t[:3], torch.zeros(1, 7, dtype=torch.int64)])), ValueError, "ids: expected .*something to look at"),
    (lambda i, t: (i[:3], t), ValueError, "texts for 3 pictures|as many pictures as texts"),
    (lambda i, t: (i[:0], t[:0]), ValueError, "images: expected shape"),
])
def test_wrong_inputs(change, error, words):
    for function in (make().eval(), make().step):
        with pytest.raises(error, match=words):
            function(*change(*inputs()))


def test_wrong_settings():
    for changes, words in (({"image": 20}, "multiple of the patch"), ({"vision_heads": 3}, "divisor of the width"),
                           ({"text_heads": 5}, "divisor of the width"), ({"fusion_layers": 0}, "fusion_layers"),
                           ({"alpha": 1.5}, "alpha: expected"), ({"temperature": 0.0}, "temperature: expected")):
        with pytest.raises(ValueError, match=words):
            make(replace(SMALL, **changes))
    images, ids = inputs()
    for index in (None, torch.arange(3), torch.arange(4)[:, None], [0, 1, 2, 3]):
        with pytest.raises(ValueError, match="index: expected"):
            make(replace(SMALL, index_targets=True)).step(images, ids, index)
    with pytest.raises(ValueError, match="k: expected 1 to 4"):
        make().rerank(images, ids, 5)


def test_nothing_masked_is_no_nan():
    model, (images, ids) = make(replace(SMALL, mask_probability=1e-9)), inputs()
    losses = model.step(images, ids).losses
    assert losses["masked language"].item() == 0
    sum(losses.values()).backward()
    assert all(w.grad is None or w.grad.isfinite().all() for w in model.parameters())


def test_masking_edges():
    _, ids = inputs()
    nothing = torch.full_like(ids, IGNORE)
    logits = torch.randn(4, 7, 30, requires_grad=True)
    loss = masked_cross_entropy(logits, nothing, logits.detach(), 0.4)
    loss.backward()
    assert loss.item() == 0 and logits.grad.eq(0).all()
    with pytest.raises(ValueError, match="p: expected a probability"):
        mask_tokens(ids, ids > 0, 3, 30, 0.0)
    with pytest.raises(ValueError, match="may_hide: expected"):
        mask_tokens(ids, ids[:2] > 0, 3, 30)
    masked = mask_tokens(ids, (ids != 1) & (ids != 0), 3, 30, 1.0)
    assert (masked.labels[:, 0] == IGNORE).all() and (masked.labels[:, 1:] == ids[:, 1:]).all()


@pytest.mark.parametrize("call, error, words", [
    (lambda x: masked_cross_entropy(x, torch.full((2, 3), -1)), ValueError, "labels: .* 0 to 4, and -100"),
    (lambda x: masked_cross_entropy(x, torch.full((2, 3), 5)), ValueError, "labels: expected words from 0 to 4"),
    (lambda x: masked_cross_entropy(x, torch.ones(2, 2).long()), ValueError, r"labels: expected shape \(2, 3\)"),
    (lambda x: masked_cross_entropy(x, torch.ones(2, 3).long(), x[:, :2], 0.4), ValueError, "teacher_logits: expected"),
    (lambda x: whole_word_mask(torch.ones(1, 3).long(), x[0, 0] > 0, [1], 0, 3, 0.0), ValueError, "p: expected"),
    (lambda x: whole_word_mask(torch.full((1, 3), 9), x[0, 0] > 0, [1], 0, 3), ValueError, "ids: expected ids below 5"),
    (lambda x: hard_negative_weights(x[0]), ValueError, "similarity: expected a square matrix"),
    (lambda x: hard_negative_weights(x[:, :2, 0], torch.arange(3)), ValueError, r"index: expected \(2,\)"),
    (lambda x: draw_negatives(x[:, :2, 0] / 0), ValueError, "weights: expected finite numbers"),
    (lambda x: matching_loss(x[0, :, :2], torch.ones(2).bool()), ValueError, "matched: expected `b` for logits `b 2`"),
    (lambda x: matching_loss(x[0, :0, :2], torch.ones(0).bool()), ValueError, "matched: expected"),
    (lambda x: matching_loss(x[0, :, :2], torch.ones(3)), TypeError, "matched: expected a tensor of bool"),
    (lambda x: ranking_loss(x[0, 0]), ValueError, "scores: expected `b c`"),
    (lambda x: ranking_loss(x[0, :0]), ValueError, "scores: expected `b c`"),
    (lambda x: soft_cross_entropy(x[0, :0], x[0, :0]), ValueError, "targets: expected .* with b > 0"),
    (lambda x: distilled_targets(x[0], x[0, :2], 0.4), ValueError, "teacher_logits: expected that of the targets"),
])
def test_wrong_objectives(call, error, words):
    with pytest.raises(error, match=words):
        call(torch.randn(2, 3, 5).abs())


def test_whole_words_on_padded_text():
    continues = torch.zeros(30, dtype=torch.bool)
    continues[20:] = True
    ids = torch.tensor([[1, 5, 20, 21, 6, 2, 0, 0, 0, 0]])
    for seed in range(40):
        torch.manual_seed(seed)
        masked = whole_word_mask(ids, continues, [1, 2], 0, 3, p=0.5)
        asked = (masked.labels != IGNORE)[0]
        assert asked[1:4].all() or not asked[1:4].any()
        assert asked.any() and not asked[[0, 5, 6, 7, 8, 9]].any()
    # Counted as words, as in the collator that ViLT was trained with, the pads can use up the budget.
    none = 0
    for seed in range(40):
        torch.manual_seed(seed)
        none += (whole_word_mask(ids, continues, [1, 2], 0, 3, p=0.15, count_pads=True).labels == IGNORE).all().item()
    assert none > 5


def test_reranking_needs_no_gradient_and_keeps_the_order_of_candidates():
    model, (images, ids) = make().eval(), inputs(4)
    cosines, of_text, of_image = model.rerank(images, ids, 2)
    assert ((of_text > -100).sum(1) == 2).all() and ((of_image > -100).sum(1) == 2).all()
    all_pairs = model.rerank(images, ids, 4)[1]
    kept = of_text > -100
    torch.testing.assert_close(of_text[kept], all_pairs[kept])
    with torch.no_grad():
        torch.testing.assert_close(all_pairs.diagonal(), model(images, ids).matching_logits[:, 1])


def test_course_size_fits_the_scenes():
    from minimm import scenes
    data, config, tokenizer = scenes.load("test", 16), ALBEFConfig(), scenes.tokenizer
    assert len(tokenizer) <= config.vocab and config.image == scenes.SIDE
    assert (config.pad_id, config.cls_id, config.mask_id) == (tokenizer.pad_id, tokenizer.cls_id, tokenizer.mask_id)
    losses = make(config).loss({"images": data.images(), "ids": data.tokens()})
    for name, chance in (("contrastive", math.log(16 + 1024)), ("matching", 0.6365), ("masked language", math.log(256))):
        assert abs(losses[name].item() - chance) < 0.4 * chance, name


def test_published_size():
    """The parameters of the built model against the released file's, momentum copies and tied doubles taken off."""
    layout = json.loads((Path(__file__).parent / "layouts" / "albef_pretrain.json").read_text())
    momentum = {name for name in layout["tensors"] if name.split(".")[0].endswith("_m")}
    doubles = {name for names in layout["tied"] for name in names[1:]}
    kept = set(layout["tensors"]) - set(layout["buffers"]) - momentum - doubles
    theirs = sum(math.prod(layout["tensors"][name][0]) for name in kept)
    with torch.device("meta"):
        model = ALBEF(ALBEFConfig.paper())
    copies = sum(w.numel() for w in model.momentum.parameters())
    assert sum(w.numel() for w in model.parameters()) - copies == theirs
    assert copies == sum(math.prod(layout["tensors"][name][0]) for name in momentum - doubles - set(layout["buffers"]))


@pytest.mark.cuda
def test_cuda_gives_the_same():
    model, (images, ids) = make().eval(), inputs()
    with torch.no_grad():
        here, there = model(images, ids), model.cuda()(images.cuda(), ids.cuda())
    for a, b in zip(there, here):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-4, atol=1e-4)
