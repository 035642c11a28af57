"""ViLT's inputs, invariances and traps; its numbers are in test_golden.py, its peers in test_parity.py."""

import json
import math
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from minimm.models import vilt
from minimm.models.vilt import ViLT, ViLTConfig, ViLTRetrieval, keep_places
from minimm.objectives.answers import answer_loss
from minimm.objectives.masking import IGNORE, Masked, masked_cross_entropy
from minimm.objectives.matching import matching_loss, ranking_loss
from minimm.objectives.transport import alignment_loss, between_ends, ipot, transport

SMALL = ViLTConfig(image=24, patch=8, width=16, layers=2, heads=2, hidden=32, context=10, vocab=30)
SIZES = torch.tensor([[24, 16], [8, 32], [24, 32], [16, 8]])


def make(config=SMALL, seed=0, kind=ViLT, **more):
    torch.manual_seed(seed)
    model = kind(config, **more)
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return model.eval()


def inputs(seed=1):
    """Four pictures of different sizes, noise beside them too, and texts of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 30, (4, 8), generator=generator)
    ids[:, 0] = 1
    for row, length in zip(ids, (8, 5, 6, 4)):
        row[length - 1], row[length:] = 2, 0
    return torch.randn(4, 3, 24, 32, generator=generator), ids, SIZES


def same_pairs(one, other, l=8):  # noqa: E741
    """The states of real tokens and places agree."""
    torch.testing.assert_close(one.pooled, other.pooled)
    torch.testing.assert_close(one.text[:, :l], other.text[:, :l])
    torch.testing.assert_close(one.image[one.image_mask], other.image[other.image_mask])


# ---------------------------------------------------------------- what must not matter

def test_permuted_batch():
    model, (images, ids, sizes) = make(), inputs()
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        out, permuted = model(images, ids, sizes), model(images[order], ids[order], sizes[order])
        torch.testing.assert_close(permuted.matching_logits, out.matching_logits[order])
        torch.testing.assert_close(permuted.states.image, out.states.image[order])
        distance, other = model.align(out.states, ids).distance, model.align(permuted.states, ids[order]).distance
        torch.testing.assert_close(other, distance[order])


def test_padding_does_not_count():
    model, (images, ids, sizes) = make(), inputs()
    longer = F.pad(ids, (0, 2))
    larger = torch.cat([torch.cat([images, 9 + images[..., :8]], dim=3), torch.zeros(4, 3, 16, 40)], dim=2)
    inside = (torch.arange(24)[:, None] < sizes[:, :1, None]) & (torch.arange(32) < sizes[:, 1:, None])
    with torch.no_grad():
        out = model(images, ids, sizes)
        for other in (model(larger, longer, sizes), model(images * inside[:, None], longer, sizes)):
            same_pairs(out.states, other.states)
            torch.testing.assert_close(out.matching_logits, other.matching_logits)
            # Padding has states too, which mean nothing: the alignment leaves them out.
            torch.testing.assert_close(*(model.align(o.states, i).distance for o, i in ((out, ids), (other, longer))))


def test_alone_or_in_a_batch_of_larger_ones():
    model, (images, ids, sizes) = make(), inputs()
    with torch.no_grad():
        out = model(images, ids, sizes)
        for i, (height, width) in enumerate(sizes.tolist()):
            alone = model(images[i:i + 1, :, :height, :width], ids[i:i + 1])
            torch.testing.assert_close(alone.matching_logits, out.matching_logits[i:i + 1])
            assert alone.states.image.shape[1] == 1 + height * width // 64


def test_a_grey_picture_is_no_padding():
    """Pixels of exactly 0 are grey after normalisation; sizes are given, not guessed."""
    model, (_, ids, _) = make(), inputs()
    assert model(torch.zeros(4, 3, 24, 24), ids).states.image_mask.all()


# ---------------------------------------------------------------- what must matter

def test_words_places_and_the_class_token_count():
    model, (images, ids, sizes) = make(), inputs()
    with torch.no_grad():
        out = model(images, ids, sizes).states
        other, moved = ids.clone(), ids.clone()
        other[:, 1] = (other[:, 1] - 4 + 1) % 26 + 4
        moved[:, 1], moved[:, 2] = ids[:, 2], ids[:, 1]
        flipped = images.clone()
        flipped[2] = images[2].flip(2)
        for changed in (model(images, other, sizes).states, model(-images, ids, sizes).states):
            assert (changed.pooled - out.pooled).abs().amax(1).min() > 1e-3
        assert (model(images, moved, sizes).states.pooled - out.pooled)[0].abs().max() > 1e-4
        assert (model(flipped, ids, sizes).states.pooled - out.pooled).abs().amax(1)[[1, 2]].gt(1e-4).tolist() \
            == [False, True]
        model.encoder.cls += torch.randn(16)  # the picture's own class token
        assert (model(images, ids, sizes).states.pooled - out.pooled).abs().max() > 1e-4


def test_the_pair_is_read_at_the_first_token_of_the_text():
    model, (images, ids, sizes) = make(), inputs()
    states = model(images, ids, sizes).states
    torch.testing.assert_close(states.pooled, torch.tanh(model.encoder.pooler(states.text[:, 0])))


def test_two_type_embeddings_on_the_text_side():
    """BERT's token type stands in front of the LayerNorm, the modality behind it: one cannot stand for the other."""
    model, (images, ids, sizes) = make(), inputs()
    encoder, shift = model.encoder, torch.randn(16)
    seen = []
    encoder.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0][:, 0]))
    with torch.no_grad():
        model(images, ids, sizes)
        encoder.modality.weight[0] += shift
        model(images, ids, sizes)
        torch.testing.assert_close(seen[1], seen[0] + shift)
        encoder.modality.weight[0] -= shift
        encoder.text.token_type.weight[0] += shift
        model(images, ids, sizes)
    assert not torch.allclose(seen[2], seen[0] + shift, atol=1e-2) and not torch.allclose(seen[2], seen[0], atol=1e-2)


def test_positions_are_resized_to_each_picture_with_its_corners():
    encoder = make().encoder
    sizes = torch.tensor([[3, 3], [2, 4], [1, 1], [5, 2]])
    positions = encoder.positions(sizes, 5, 4).unflatten(1, (5, 4))
    table = encoder.pos[1:].unflatten(0, (3, 3))
    torch.testing.assert_close(positions[0, :3, :3], table)  # of its own size: unchanged
    for row, (r, c) in zip(positions, sizes.tolist()):
        assert not row[r:].any() and not row[:, c:].any()
        torch.testing.assert_close(row[0, 0], table[0, 0])
        if min(r, c) > 1:
            for at, of in (((0, c - 1), (0, 2)), ((r - 1, 0), (2, 0)), ((r - 1, c - 1), (2, 2))):
                torch.testing.assert_close(row[at], table[of])
    torch.testing.assert_close(positions[3, 1, 0], (table[0, 0] + table[1, 0]) / 2)  # bilinear: half way
    torch.testing.assert_close(encoder.positions(sizes[:1], 3, 3)[0], encoder.positions(sizes, 9, 9)[0]
                               .unflatten(0, (9, 9))[:3, :3].flatten(0, 1))  # whatever the canvas


def test_epsilons():
    model = make()
    assert model.encoder.text.ln.eps == model.mlm.ln.eps == 1e-12
    assert {norm.eps for block in model.encoder.blocks for norm in (block.ln1, block.ln2)} == {1e-6}
    assert model.encoder.ln_final.eps == 1e-6


def test_places_are_in_order_and_training_may_keep_some():
    real = torch.tensor([[True, True, False, True, True, False], [False, True, False, False, True, False]])
    assert keep_places(real).tolist() == [[0, 1, 3, 4], [1, 4, 0, 2]]
    assert keep_places(real, 4).equal(keep_places(real))
    seen = set()
    for _ in range(100):
        kept = keep_places(real, 3)
        assert real[0, kept[0]].all() and len(set(kept[0].tolist())) == 3 and set(kept[1, :2].tolist()) == {1, 4}
        seen.add(frozenset(kept[0].tolist()))
    assert len(seen) == 4  # every three of the four
    model, (images, ids, sizes) = make(replace(SMALL, max_patches=3)), inputs()
    assert model(images, ids, sizes).states.places.shape == (4, 12)
    model.train()
    states = model(images, ids, sizes).states
    assert states.places.shape == (4, 3) and states.image_mask.sum(1).tolist() == [4, 4, 4, 3]
    assert model.eval()(images, ids, sizes).states.places[0, :6].tolist() == [0, 1, 4, 5, 8, 9]


@torch.no_grad()
def test_the_order_of_places_does_not_matter(monkeypatch):
    """The authors shuffle them. Each brings its position along."""
    model, (images, ids, sizes) = make(), inputs()
    states = model(images, ids, sizes).states
    monkeypatch.setattr(vilt, "keep_places", lambda real, most: keep_places(real).flip(1))
    shuffled = model(images, ids, sizes).states
    torch.testing.assert_close(shuffled.pooled, states.pooled)
    there = states.image_mask[:, 1:]
    torch.testing.assert_close(shuffled.image[:, 1:].flip(1)[there], states.image[:, 1:][there])


# ---------------------------------------------------------------- transport

def test_transport_carries_all_mass_at_nearly_the_least_cost():
    torch.manual_seed(0)
    texts, images = torch.randn(3, 5, 8, dtype=torch.float64), torch.randn(3, 5, 8, dtype=torch.float64)
    everything = torch.ones(3, 5, dtype=torch.bool)
    out = transport(texts, images, everything, everything, iterations=2000)
    torch.testing.assert_close(out.plan.sum(2), torch.full((3, 5), 0.2, dtype=torch.float64))
    torch.testing.assert_close(out.plan.sum(1), torch.full((3, 5), 0.2, dtype=torch.float64), rtol=1e-3, atol=1e-4)
    for cost, distance in zip(out.cost, out.distance):  # with as many words as places the best plan is a pairing
        best = min(sum(cost[i, j] for i, j in enumerate(order)) for order in permutations(range(5))) / 5
        assert best - 1e-9 < distance < best + 0.01
    once, more = (transport(texts, images, everything, everything, iterations=n).distance.sum() for n in (5, 50))
    assert more < once


def test_transport_of_the_same_is_nothing():
    words = torch.eye(4, 8)[None]
    everything = torch.ones(1, 4, dtype=torch.bool)
    out = transport(words, words, everything, everything)
    assert abs(out.distance.item()) < 1e-3
    torch.testing.assert_close(out.plan[0], torch.eye(4) / 4, rtol=0, atol=1e-3)


def test_transport_without_words_or_places_is_zero_with_its_gradient():
    texts, images = torch.randn(3, 4, 8, requires_grad=True), torch.randn(3, 5, 8, requires_grad=True)
    text_mask, image_mask = torch.ones(3, 4, dtype=torch.bool), torch.ones(3, 5, dtype=torch.bool)
    text_mask[0], image_mask[1] = False, False
    out = transport(texts, images, text_mask, image_mask)
    out.distance.sum().backward()
    assert out.distance[:2].tolist() == [0, 0] and out.distance[2] > 0
    assert texts.grad.isfinite().all() and not texts.grad[:2].any() and texts.grad[2].any()
    assert not out.plan.requires_grad


@pytest.mark.parametrize("beta", [0.05, 0.5])
def test_transport_holds_in_single_and_comes_out_of_half_precision(beta):
    torch.manual_seed(0)
    direction = torch.randn(8)
    for texts, images in ((direction.expand(2, 6, 8), -direction.expand(2, 40, 8)),
                          (torch.randn(2, 6, 8).sign(), torch.randn(2, 40, 8).sign()),
                          (torch.zeros(2, 6, 8), torch.randn(2, 40, 8))):
        masks = torch.ones(2, 6, dtype=torch.bool), torch.ones(2, 40, dtype=torch.bool)
        out = transport(texts, images, *masks, beta, 500)
        assert out.plan.isfinite().all() and out.distance.isfinite().all()
        torch.testing.assert_close(out.plan.sum((1, 2)), torch.ones(2))
        with torch.autocast("cpu", torch.bfloat16):
            half = transport(texts.bfloat16(), images.bfloat16(), *masks, beta, 50)
        assert half.plan.dtype == half.distance.dtype == torch.float32
        torch.testing.assert_close(half.distance, transport(texts.bfloat16().float(), images.bfloat16().float(), *masks,
                                                            beta, 50).distance)


@pytest.mark.parametrize("call, error, words", [
    (lambda x, m: transport(x, x, m, m, beta=0.01), ValueError, "beta: expected at least 0.05"),
    (lambda x, m: transport(x, x, m, m, iterations=0), ValueError, "iterations: expected at least 1"),
    (lambda x, m: transport(x, x, m.long(), m), TypeError, "tensors of bool"),
    (lambda x, m: transport(x, x, m[:, 1:], m), ValueError, r"shapes \(2, 3\), \(2, 4\)"),
])
def test_wrong_transport(call, error, words):
    with pytest.raises(error, match=words):
        call(torch.randn(2, 4, 8), torch.ones(2, 4, dtype=torch.bool))


def test_plan_has_no_gradient():
    cost = torch.rand(1, 3, 4, requires_grad=True)
    assert not ipot(cost, torch.ones(1, 3, 4, dtype=torch.bool)).requires_grad


def test_the_ends_take_no_part():
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    assert between_ends(mask).int().tolist() == [[0, 1, 1, 0, 0], [0] * 5, [0] * 5, [0, 1, 1, 1, 0]]


def test_alignment_pulls_and_pushes_over_the_whole_batch():
    distance = torch.tensor([0.5, 0.2, 0.4, 0.9])
    assert math.isclose(alignment_loss(distance, torch.tensor([True, False, False, True])), 0.1 * (1.4 - 0.6) / 4,
                        rel_tol=1e-6)
    assert alignment_loss(distance, torch.tensor([False, True, False, False])) < 0


# ---------------------------------------------------------------- pre-training

def spy(model):
    """What `model` is called with in a step."""
    seen = []
    model.register_forward_pre_hook(lambda _, args: seen.append(args))
    return seen


def test_half_of_the_batch_keeps_its_picture_and_false_ones_can_be_the_own():
    model, (images, ids, sizes) = make(), inputs()
    images, ids, sizes = (torch.cat([x, x[:3]]) for x in (images, ids, sizes))
    images += torch.arange(7)[:, None, None, None]
    seen, kept, own, at = spy(model), [], 0, torch.zeros(7)
    for seed in range(60):
        torch.manual_seed(seed)
        model.step(images, ids, sizes)
        shown, _, shown_sizes = seen.pop()
        which = (shown[:, None] == images[None]).flatten(2).all(2).int().argmax(1)
        assert shown.equal(images[which]) and shown_sizes.equal(sizes[which])
        same = which == torch.arange(7)
        at += same
        kept.append(int(same.sum()))
        own += kept[-1] > 3
    assert min(kept) == 3, "floor(7 / 2) keep their picture"
    # Of four false pictures each is its own with probability 1 / 7: about 46 % of steps have at least one.
    assert 10 < own < 45
    assert at.min() > 15, "who keeps it is drawn anew"


def test_matching_of_a_guesser_costs_ln_2():
    assert math.isclose(matching_loss(torch.zeros(6, 2), torch.arange(6) < 3), math.log(2), rel_tol=1e-6)


def test_given_draws_are_used_and_masked_language_sees_the_true_picture():
    model, (images, ids, sizes) = make(), inputs()
    labels = ids.where(torch.arange(8) == 1, IGNORE)
    masked, matched = Masked(ids.where(labels == IGNORE, 3), labels), torch.tensor([True, False, False, True])
    seen = spy(model)
    step = model.step(images, ids, sizes, -images, sizes.flip(0), matched, masked)
    shown, texts, shown_sizes = seen.pop()
    for i, right in enumerate(matched.tolist()):
        assert shown[i].equal(images[i] if right else -images[i])
        assert shown_sizes[i].equal(sizes[i] if right else sizes.flip(0)[i])
    assert texts.equal(ids), "matching reads the text without masks"
    logits = model.mlm(model.encoder(images, masked.ids, sizes).text)
    torch.testing.assert_close(step.language_logits, logits)
    torch.testing.assert_close(step.losses["masked language"], masked_cross_entropy(logits, labels))
    batch = {"images": images, "ids": ids, "sizes": sizes, "false_images": -images, "false_sizes": sizes.flip(0)}
    torch.manual_seed(5)
    model.loss(batch)
    assert ((seen[-1][0] == -images).flatten(1).all(1)).sum() == 2


def test_output_matrix_is_its_own():
    model = make()
    assert model.mlm.decoder.weight.shape == model.encoder.text.tok.weight.shape
    assert model.mlm.decoder.weight is not model.encoder.text.tok.weight


def test_whole_words_are_hidden_only_together():
    continues = torch.zeros(30, dtype=torch.bool)
    continues[20:] = True
    model = make(replace(SMALL, mask_probability=0.5), continues=continues)
    assert "continues" not in model.state_dict()
    ids = torch.tensor([[1, 5, 21, 22, 9, 10, 23, 2, 0, 0]]).expand(400, -1)
    torch.manual_seed(0)
    asked = model.hide(ids).labels != IGNORE
    for word in ([1, 2, 3], [4], [5, 6]):
        assert asked[:, word].all(1).equal(asked[:, word].any(1)) and asked[:, word].any()
    assert not asked[:, [0, 7, 8, 9]].any() and asked.sum(1).max() <= 4
    # Without knowing words, token by token.
    asked = make(replace(SMALL, mask_probability=0.5)).hide(ids).labels != IGNORE
    assert not asked[:, 1:4].all(1).equal(asked[:, 1:4].any(1)) and not asked[:, [0, 7, 8, 9]].any()


def test_padding_may_use_up_what_is_hidden():
    """The collator that the authors trained with counts [PAD] as words: some texts get no mask at all."""
    assert ViLTConfig.paper().count_pads and not ViLTConfig().count_pads
    ids = F.pad(torch.tensor([[1, 5, 6, 2]]), (0, 6)).expand(100, -1)
    none = {}
    for counted in (False, True):
        torch.manual_seed(0)
        model = make(replace(SMALL, count_pads=counted), continues=torch.zeros(30, dtype=torch.bool))
        none[counted] = ((model.hide(ids).labels == IGNORE).all(1)).float().mean().item()
    assert none[False] == 0 and 0.3 < none[True] < 0.9


def test_nothing_hidden_is_no_loss_and_no_nan():
    model, (images, ids, sizes) = make(), inputs()
    ids = torch.tensor([[1, 2, 0]] * 4)  # no words at all: nothing to hide, nothing to align
    step = model.step(images, ids, sizes)
    assert step.losses["masked language"].item() == 0 == step.losses["alignment"].item()
    sum(step.losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_seed_fixes_a_step_and_all_weights_learn():
    model, (images, ids, sizes) = make(replace(SMALL, dropout=0.1, max_patches=5)), inputs()
    model.train()
    values = []
    for _ in range(2):
        torch.manual_seed(4)
        losses = model.loss({"images": images, "ids": ids, "sizes": sizes})
        values.append([v.item() for v in losses.values()])
    assert values[0] == values[1] and list(losses) == ["matching", "alignment", "masked language"]
    assert all(v.ndim == 0 for v in losses.values())
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_it_learns_its_batch():
    from minimm.training import fit
    config = replace(SMALL, mask_probability=0.3)
    torch.manual_seed(0)
    model, (images, ids, _) = ViLT(config), inputs()
    run = fit(model, lambda step: {"images": images, "ids": ids}, 100, lr=1e-2, warmup=5, precision="float32")
    first, last = (sum(run.losses["masked language"][i:i + 20]) for i in (0, 80))
    assert last < 0.7 * first


# ---------------------------------------------------------------- retrieval and two pictures

def test_retrieval_starts_as_the_logit_that_they_match():
    model, (images, ids, sizes) = make(), inputs()
    ranker = ViLTRetrieval(SMALL, model).eval()
    scores = ranker.scores(images, ids, sizes)
    assert scores.shape == (4, 4) and not scores.requires_grad
    torch.testing.assert_close(scores.diagonal(), model(images, ids, sizes).matching_logits[:, 1])
    chosen = torch.tensor([[2, 0], [3, 1], [0, 1], [1, 1]])
    torch.testing.assert_close(ranker(images, ids[chosen], sizes), scores.gather(1, chosen))
    with torch.no_grad():
        ranker.rank.weight += 1  # a copy: what was pre-trained stays as it was
    assert not ranker.rank.weight.equal(model.itm.weight[1:])


def test_ranking_among_random_captions():
    ranker, (images, ids, sizes) = make(kind=ViLTRetrieval, false_texts=15), inputs()
    seen = spy(ranker)
    loss = ranker.loss({"images": images, "ids": ids, "sizes": sizes})["ranking"]
    loss.backward()
    _, texts, _ = seen.pop()
    assert texts.shape == (4, 16, 8) and texts[:, 0].equal(ids)
    assert not (texts[:, 1:] == ids[:, None]).all(2).any(), "the own caption is never among the wrong ones"
    assert math.isclose(ranking_loss(torch.zeros(3, 16)), math.log(16), rel_tol=1e-6)
    assert ViLTRetrieval(SMALL).false_texts == 15


def test_two_pictures():
    torch.manual_seed(0)
    model, (images, ids, sizes) = ViLT(replace(SMALL, modalities=3)).eval(), inputs()
    one, two = (model.encoder(images, ids, sizes, modality).pooled for modality in (1, 2))
    torch.testing.assert_close(one, two)  # at the start the second picture is read as the first one
    with torch.no_grad():
        model.encoder.modality.weight[2] += torch.randn(16)
    assert not torch.allclose(one, model.encoder(images, ids, sizes, 2).pooled)


# ---------------------------------------------------------------- sizes

def test_published_size():
    layout = json.loads((Path(__file__).parent / "layouts" / "vilt_mlm_itm.json").read_text())
    assert not layout["tied"]
    with torch.device("meta"):
        model = ViLT(ViLTConfig.paper())
    ours = sum(p.numel() for p in model.parameters())
    theirs = sum(math.prod(shape) for name, (shape, _) in layout["tensors"].items() if name not in layout["buffers"])
    assert ours == theirs == layout["counts"]["parameters_unique"]
    published, c = layout["config"], model.config
    for name, value in (("vocab_size", c.vocab), ("hidden_size", c.width), ("num_layers", c.layers),
                        ("num_heads", c.heads), ("mlp_ratio", c.hidden // c.width), ("max_text_len", c.context),
                        ("image_size", c.image), ("patch_size", c.patch), ("drop_rate", c.dropout)):
        assert published[name] == value, name


def test_course_size_fits_the_scenes():
    from minimm import scenes
    data, config, tokenizer = scenes.load("test", 8), ViLTConfig(), scenes.tokenizer
    assert len(tokenizer) <= config.vocab and config.image == scenes.SIDE
    assert (config.pad_id, config.cls_id, config.sep_id, config.mask_id) == (
        tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    continues = torch.tensor([token.startswith("##") for token in tokenizer.vocabulary])
    losses = ViLT(config, continues).loss({"images": data.images(), "ids": data.tokens()})
    assert all(v.isfinite() for v in losses.values())
    assert abs(losses["matching"] - math.log(2)) < 0.1 and abs(losses["masked language"] - math.log(config.vocab)) < 0.5


# ---------------------------------------------------------------- wrong input

@pytest.mark.parametrize("change, error, words", [
    (lambda x: x[0], ValueError, "expected one for each"),
    (lambda x: x[:3], ValueError, "4 texts for 3 pictures"),
    (lambda x: x[:, :2], ValueError, "images: expected shape"),
    (lambda x: x[..., :20], ValueError, "multiples of the patch 8, but got 24 x 20"),
    (lambda x: (x * 255).to(torch.uint8), TypeError, "images: expected a tensor of normalised"),
    (lambda x: x.abs() * 255, ValueError, "not 0 to 255"),
    (lambda x: x.where(x < 1, torch.nan), ValueError, "no NaN"),
])
def test_wrong_pictures(change, error, words):
    images, ids, _ = inputs()
    with pytest.raises(error, match=words):
        make()(change(images), ids)


@pytest.mark.parametrize("change, error, words", [
    (lambda x: x + 8, ValueError, "within the canvas of 24 x 32"),
    (lambda x: x.flip(1), ValueError, "within the canvas"),
    (lambda x: x - 4, ValueError, "multiples of the patch 8"),
    (lambda x: x - 8, ValueError, r"sizes: expected height and width .* got \[\[0, 24\]\]"),
    (lambda x: x // 8, ValueError, "multiples of the patch 8"),
    (lambda x: x[:, :1], ValueError, r"sizes: expected \(4, 2\)"),
    (lambda x: x[:3], ValueError, r"sizes: expected \(4, 2\)"),
    (lambda x: x.float(), TypeError, "sizes: expected a tensor of int64"),
    (lambda x: x.tolist(), TypeError, "sizes: expected a tensor of int64"),
])
def test_wrong_sizes(change, error, words):
    images, ids, sizes = inputs()
    with pytest.raises(error, match=words):
        make()(images, ids, change(sizes))


@pytest.mark.parametrize("change, error, words", [
    (lambda x: x.float(), TypeError, "ids: expected a tensor of int64"),
    (lambda x: torch.cat([x, x], 1), ValueError, "at most 10"),
    (lambda x: x + 1, ValueError, "ids from 0 to 29"),
    (lambda x: x.where(torch.arange(4)[:, None] != 2, 0), ValueError, "begins with padding, or is nothing else"),
    (lambda x: x.flip(1), ValueError, "begins with padding"),
])
def test_wrong_texts(change, error, words):
    images, ids, sizes = inputs()
    ids = ids.clone()
    ids[0, 1] = 29
    for call in (make(), make().step):
        with pytest.raises(error, match=words):
            call(images, change(ids), sizes)


def test_too_small_batches():
    images, ids, sizes = inputs()
    with pytest.raises(ValueError, match="not empty"):
        make()(images[:0], ids[:0], sizes[:0])
    for kind in (ViLT, ViLTRetrieval):
        for b in (0, 1):
            with pytest.raises(ValueError, match="batch: expected at least two"):
                make(kind=kind).loss({"images": images[:b], "ids": ids[:b]})
    for b in (2, 3):
        assert all(v.isfinite() for v in make().loss({"images": images[:b], "ids": ids[:b]}).values())


@pytest.mark.parametrize("call, words", [
    (lambda m, i, t, s: m.encoder(i, t, s, 2), "modality: expected 1 to 1"),
    (lambda m, i, t, s: m.encoder(i, t, s, 0), "modality: expected 1 to 1"),
    (lambda m, i, t, s: m.step(i, t, s, i[..., :24]), "false_images: expected that of images"),
    (lambda m, i, t, s: m.step(i, t, s, i, s + 8), "sizes: expected"),
    (lambda m, i, t, s: ViLT(SMALL, continues=torch.zeros(31, dtype=torch.bool)), "continues: expected"),
    (lambda m, i, t, s: ViLT(SMALL, continues=torch.zeros(30)), "continues: expected"),
    (lambda m, i, t, s: ViLT(SMALL, continues=[True]), "continues: expected a tensor of bool .* got list"),
    (lambda m, i, t, s: m.step(i, t, s, matched=torch.ones(3).bool()), "matched: expected 4 of bool"),
    (lambda m, i, t, s: m.step(i, t, s, matched=torch.ones(4)), "matched: expected 4 of bool"),
    (lambda m, i, t, s: ViLTRetrieval(replace(SMALL, width=8), m), "pretrained: expected the same sizes"),
    (lambda m, i, t, s: ViLTRetrieval(SMALL).loss({"images": i[:2], "ids": t}), "batch: .* 2 pictures, 4 texts"),
    (lambda m, i, t, s: ViLTRetrieval(SMALL, false_texts=0).loss({"images": i, "ids": t}), "one wrong caption"),
    (lambda m, i, t, s: ViLTRetrieval(SMALL).scores(i[:0], t), "images: expected shape"),
    (lambda m, i, t, s: make(continues=torch.zeros(20, dtype=torch.bool)).step(i, t, s), "ids from 0 to 19"),
    (lambda m, i, t, s: ViLTRetrieval(SMALL)(i, t, s), "ids: expected `b c l`"),
    (lambda m, i, t, s: ViLTRetrieval(SMALL)(i, t[:, None][:, :0], s), "not empty"),
    (lambda m, i, t, s: ViLTConfig(image=60), "image: expected a multiple of the patch 8"),
    (lambda m, i, t, s: ViLTConfig(modalities=1), "modalities: expected 2, or 3"),
    (lambda m, i, t, s: ViLTConfig(max_patches=0), "max_patches: expected at least 1"),
])
def test_wrong_calls(call, words):
    with pytest.raises(ValueError, match=words):
        call(make(), *inputs())


def test_answers():
    logits = torch.randn(3, 7)
    targets = torch.rand(3, 7)
    by_hand = -(targets * logits.sigmoid().log() + (1 - targets) * (1 - logits.sigmoid()).log()).sum(1).mean()
    torch.testing.assert_close(answer_loss(logits, targets), by_hand)
    for wrong, words in ((targets[:, :5], "shape"), (targets + 1, "values from 0 to 1"), (targets - 1, "values from 0"),
                         (targets * torch.nan, "values from")):
        with pytest.raises(ValueError, match=words):
            answer_loss(logits, wrong)
    with pytest.raises(ValueError, match="b > 0"):
        answer_loss(logits[:0], targets[:0])
