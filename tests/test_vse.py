"""VSE++: the traps of its loss and of its encoders, its inputs; its numbers are in test_golden.py."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from minimm.models.vse import VSE, ImageEncoder, TextEncoder, VSEConfig
from minimm.objectives.contrastive import inner_product
from minimm.objectives.hinge import max_of_hinges, order_similarity, sum_of_hinges
from minimm.training import fit

SMALL = VSEConfig(embed_dim=12, image=16, cnn_width=16, vocab=30, word_dim=8, warm_up=0)
LAYOUTS = Path(__file__).parent / "layouts"
MARGIN = 0.2


def make(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return VSE(config).eval()


def inputs(b=4, seed=1):
    """Pictures, and texts of 3 to 7 words in no order of their lengths."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 30, (b, 7), generator=generator)
    for i, row in enumerate(ids):
        row[3 + 2 * (i % 3):] = 0
    return torch.randn(b, 3, 16, 16, generator=generator), ids


def batches(step):
    images, ids = inputs(seed=step)
    return {"images": images, "ids": ids}


def one_by_one(scores, margin, hardest):
    """The loss from its definition, a pair at a time."""
    total, b = 0.0, len(scores)
    for i in range(b):
        texts = [max(0.0, margin - scores[i][i] + scores[i][j]) for j in range(b) if j != i]
        images = [max(0.0, margin - scores[i][i] + scores[j][i]) for j in range(b) if j != i]
        total += max(texts) + max(images) if hardest else sum(texts) + sum(images)
    return total


# The traps of the loss


@pytest.mark.parametrize("hinges, hardest", [(sum_of_hinges, False), (max_of_hinges, True)])
def test_the_definition_in_both_directions(hinges, hardest):
    scores = 0.3 * torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).double()
    for margin in (0.0, 0.2, 1.0):
        for s in (scores, scores.T):
            assert math.isclose(hinges(s, margin), one_by_one(s.tolist(), margin, hardest), rel_tol=1e-12)


def test_the_hardest_in_each_direction():
    # Sentence 1 is the hardest for picture 0, and no picture is hard for any sentence: each along its own axis.
    scores = torch.tensor([[0.5, 0.6, 0.4], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    for s in (scores, scores.T):
        assert math.isclose(max_of_hinges(s, MARGIN), MARGIN + 0.1, rel_tol=1e-6)
        assert math.isclose(sum_of_hinges(s, MARGIN), (MARGIN + 0.1) + (MARGIN - 0.1), rel_tol=1e-6)


@pytest.mark.parametrize("hinges", [sum_of_hinges, max_of_hinges])
def test_the_loss_is_a_sum_over_the_batch(hinges):
    scores = 0.3 * torch.randn(4, 4)
    far = torch.full((4, 4), -9.0)  # two batches that have nothing to do with each other
    twice = torch.cat([torch.cat([scores, far], 1), torch.cat([far, scores], 1)])
    torch.testing.assert_close(hinges(twice), 2 * hinges(scores))


@pytest.mark.parametrize("hinges", [sum_of_hinges, max_of_hinges])
def test_a_pair_is_not_its_own_negative(hinges):
    assert hinges(2 * torch.eye(5) - 1, MARGIN) == 0  # 5 * 2 * margin if the diagonal were cleared before the hinge


def test_the_collapsed_loss():
    same = torch.nn.functional.normalize(torch.ones(6, 8), dim=1)
    scores = inner_product(same, same)
    assert math.isclose(max_of_hinges(scores, MARGIN), 2 * MARGIN * 6, rel_tol=1e-6)
    assert math.isclose(sum_of_hinges(scores, MARGIN), 2 * MARGIN * 6 * 5, rel_tol=1e-6)


def test_of_equally_hard_negatives_one_gets_the_gradient():
    scores = torch.zeros(5, 5, requires_grad=True)  # all tied
    max_of_hinges(scores, MARGIN).backward()
    wrong = scores.grad[~torch.eye(5, dtype=torch.bool)]
    assert set(wrong.tolist()) <= {0.0, 1.0, 2.0} and wrong.sum() == 2 * 5  # whole ones, one a row and one a column
    assert scores.grad.diagonal().tolist() == [-2.0] * 5


def test_captions_of_one_picture():
    scores = torch.eye(4)
    scores[0, 1] = scores[1, 0] = 1.0  # pairs 0 and 1 are two captions of one picture
    index = torch.tensor([7, 7, 3, 5])
    for hinges in (sum_of_hinges, max_of_hinges):
        assert math.isclose(hinges(scores, MARGIN), 4 * MARGIN, rel_tol=1e-6)  # as the authors: they count as wrong
        assert hinges(scores, MARGIN, index) == 0
        assert hinges(torch.ones(2, 2), MARGIN, torch.tensor([1, 1])) == 0  # nothing left that could be wrong
    images, ids = inputs()
    batch = {"images": images, "ids": ids, "index": torch.tensor([0, 0, 0, 0])}
    assert make(replace(SMALL, spare_same_picture=True)).loss(batch)["hinges"] == 0
    assert make().loss(batch)["hinges"] > 0


def test_hard_negatives_alone_change_the_loss_alone():
    images, ids = inputs()
    plus, plain = make(), make(replace(SMALL, max_violation=False))
    for a, b in zip(plus(images, ids), plain(images, ids)):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    scores = plus(images, ids).scores
    assert plus.loss({"images": images, "ids": ids})["hinges"] == max_of_hinges(scores, MARGIN)
    assert plain.loss({"images": images, "ids": ids})["hinges"] == sum_of_hinges(scores, MARGIN)
    # The authors' VSE0 also leaves the pictures at their length.
    vse0 = make(replace(SMALL, max_violation=False, no_imgnorm=True))
    assert (vse0.encode_image(images).norm(dim=1) - 1).abs().max() > 0.1


def test_training_goes_on_in_training_mode_after_an_evaluation():
    modes = []

    class Watched(VSE):
        def loss(self, batch):
            modes.append(self.vision.training)
            return super().loss(batch)

    torch.manual_seed(0)
    fit(Watched(SMALL), batches, 3, warmup=0, precision="float32", every=1,
        evaluate=lambda model: modes.append(model.training))
    assert modes == [True, False] * 3


def test_order_similarity():
    images, texts = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.5, 2.0], [4.0, 6.0], [1.0, 0.0]])
    expected = torch.tensor([[0, -5.0, 0], [-4.25**0.5, -52**0.5, -1]])
    torch.testing.assert_close(order_similarity(images, texts), expected)
    images.requires_grad_()
    order_similarity(images, texts).sum().backward()  # where the order holds a written-out root gives 0 / 0
    assert images.grad.isfinite().all()


def test_permuted_batch():
    model, (images, ids) = make(), inputs(6)
    order = torch.tensor([2, 5, 0, 3, 1, 4])
    with torch.no_grad():
        torch.testing.assert_close(model(images[order], ids[order]).scores, model(images, ids).scores[order][:, order])
        torch.testing.assert_close(*(model.loss({"images": images[o], "ids": ids[o]})["hinges"]
                                     for o in (order, slice(None))))


# The warm start


def test_the_max_takes_over_after_the_warm_up_and_a_resumed_run_knows_it(tmp_path):
    config = replace(SMALL, warm_up=2)
    batch, model = batches(9), make(config)
    scores = model(batch["images"], batch["ids"]).scores
    for step in range(4):
        expected = (sum_of_hinges if step < 2 else max_of_hinges)(scores, MARGIN)
        assert model.loss(batch)["hinges"] == expected
        model.after_step()

    def killed(step):
        if step == 3:
            raise KeyboardInterrupt
        return batches(step)

    settings = {"warmup": 0, "precision": "float32", "save_every": 1}
    whole, resumed = make(config), make(config)
    run = fit(whole, batches, 5, **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(make(config), killed, 5, checkpoint=tmp_path / "run.pt", **settings)
    again = fit(resumed, batches, 5, checkpoint=tmp_path / "run.pt", **settings)
    assert again.losses == run.losses and whole.steps == resumed.steps == 5
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_evaluation_does_not_count_as_steps():
    model = make(replace(SMALL, warm_up=1))
    for _ in range(3):
        model.loss(batches(0))
    assert model.steps == 0


# The encoders


def test_padding_does_not_count():
    model, (_, ids) = make(), inputs()
    with torch.no_grad():
        features = model.encode_text(ids)
        padded = torch.cat([ids, torch.zeros(4, 5, dtype=torch.int64)], 1)
        torch.testing.assert_close(model.encode_text(padded), features)
        model.text.embed.weight[0] += 1.0
        torch.testing.assert_close(model.encode_text(ids), features)
        for row, feature in zip(ids, features):  # alone, and without any padding
            torch.testing.assert_close(model.encode_text(row[None, row != 0])[0], feature)


def test_the_state_at_the_last_word_is_the_feature():
    model, (_, ids) = make(), inputs()
    with torch.no_grad():
        for row in ids:
            _, last = model.text.rnn(model.text.embed(row[None, row != 0]))
            torch.testing.assert_close(model.encode_text(row[None])[0], last[0, 0] / last[0, 0].norm())
        changed = ids.clone()
        changed[:, 0] = (changed[:, 0] - 4 + 1) % 26 + 4
        # The first word is heard.
        assert (model.encode_text(changed) - model.encode_text(ids)).abs().amax(1).min() > 1e-4


def test_packed_sequences_give_the_same():
    model, (_, ids) = make(), inputs()
    packed = nn.utils.rnn.pack_padded_sequence(model.text.embed(ids), (ids != 0).sum(1), batch_first=True,
                                               enforce_sorted=False)
    _, last = model.text.rnn(packed)
    torch.testing.assert_close(model.encode_text(ids), nn.functional.normalize(last[-1], dim=1))


def test_a_text_may_be_as_long_as_you_like():
    assert make().encode_text(torch.full((1, 500), 5)).shape == (1, 12)


def test_lengths_and_signs():
    images, ids = inputs()
    with torch.no_grad():
        out = make()(images, ids)
        for features in out[:2]:
            torch.testing.assert_close(features.norm(dim=1), torch.ones(4))
        torch.testing.assert_close(out.scores, out.image_features @ out.text_features.T)
        model = make(replace(SMALL, use_abs=True, measure="order"))
        absolute = model(images, ids)
        torch.testing.assert_close(absolute.image_features, out.image_features.abs())
        torch.testing.assert_close(absolute.text_features, out.text_features.abs())
        torch.testing.assert_close(absolute.scores, order_similarity(out.image_features.abs(), out.text_features.abs()))


def test_the_features_of_the_cnn_have_length_one_but_precomputed_ones_are_taken_as_they_are():
    images, _ = inputs()
    model = make()
    torch.testing.assert_close(model.vision.features(images).norm(dim=1), torch.ones(4))
    precomputed = make(replace(SMALL, cnn="precomputed", cnn_width=10))
    x = 3 * torch.randn(4, 10)
    assert precomputed.vision.features(x) is x
    expected = nn.functional.normalize(precomputed.vision.fc(x), dim=1)
    torch.testing.assert_close(precomputed.encode_image(x), expected)


def test_a_cnn_that_returns_zeros_gives_no_nan():
    model, (images, _) = make(), inputs()
    model.vision.cnn = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 16))
    nn.init.zeros_(model.vision.cnn[1].weight), nn.init.zeros_(model.vision.cnn[1].bias)
    assert model.encode_image(images).isfinite().all()


def test_a_frozen_cnn():
    torch.manual_seed(0)
    model, batch = VSE(replace(SMALL, finetune=False)), batches(0)
    model.loss(batch)["hinges"].backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {name for name in dict(model.named_parameters()) if not name.startswith("vision.cnn.")}
    assert model.vision.cnn[1].running_mean.abs().sum() > 0  # as with the authors, the statistics move nevertheless


def test_initialisation():
    torch.manual_seed(0)
    model = VSE(VSEConfig())
    words, fc, bound = model.text.embed.weight, model.vision.fc, (6 / (128 + 128)) ** 0.5
    assert 0.099 < words.max() <= 0.1 and -0.1 <= words.min() < -0.099
    assert 0.99 * bound < fc.weight.max() <= bound and fc.bias.abs().max() == 0
    assert model.text.rnn.bias_ih_l0.abs().max() > 0  # the GRU starts as PyTorch's do


def test_no_half_precision_in_lengths_and_scores():
    model, (images, ids) = make(), inputs()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = model(images, ids)
    assert {x.dtype for x in out} == {torch.float32}
    torch.testing.assert_close(out.image_features.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(out.scores, out.image_features @ out.text_features.T)


@pytest.mark.parametrize("cnn, file", [("resnet152", "vsepp"), ("vgg19", "vsepp_vgg19")])
def test_published_sizes_and_names(cnn, file):
    layout = json.loads((LAYOUTS / f"{file}.json").read_text())
    config = VSEConfig.paper(cnn)
    with torch.device("meta"):
        model = VSE(config)
    ours = {name: list(tensor.shape) for name, tensor in model.state_dict().items() if name != "steps"}
    theirs = {name.replace("0.", "vision.", 1) if name.startswith("0.") else name.replace("1.", "text.", 1):
              [config.vocab if n == -1 else n for n in shape] for name, (shape, _) in layout["tensors"].items()}
    assert {name.replace(".module", ""): shape for name, shape in theirs.items()} == ours
    number = sum(math.prod(config.vocab if n == -1 else n for n in shape)
                 for name, (shape, _) in layout["tensors"].items() if name not in layout["buffers"])
    assert sum(p.numel() for p in model.parameters()) == number
    assert number == layout["counts"]["parameters_unique"] + 300 * config.vocab


def test_published_sizes_of_precomputed_features():
    model = VSE(VSEConfig.paper("precomputed", vocab=100))
    assert model.vision.fc.weight.shape == (1024, 4096) and not hasattr(model.vision, "cnn")
    assert model.encode_image(torch.randn(2, 4096)).shape == (2, 1024)


@pytest.mark.parametrize("cnn, width", [("resnet152", 2048), ("vgg19", 4096)])
def test_the_published_networks_end_where_the_authors_cut_them(cnn, width):
    with torch.device("meta"):  # shapes without numbers
        encoder = ImageEncoder(VSEConfig.paper(cnn))
        images = torch.zeros(2, 3, 224, 224)
        assert encoder.cnn(images).shape == (2, width) and encoder.fc(encoder.cnn(images)).shape == (2, 1024)
    assert not any(p.requires_grad for p in encoder.cnn.parameters())


def test_course_size_fits_the_scenes():
    from minimm import scenes
    data, config = scenes.load("test", 20), VSEConfig()
    assert len(scenes.tokenizer) <= config.vocab and config.pad_id == scenes.tokenizer.pad_id
    assert config.image == scenes.SIDE
    model = make(config)
    with torch.no_grad():
        assert model(data.images(), data.tokens()).scores.shape == (20, 20)
        assert model.vision.features(data.images()).shape == (20, config.cnn_width)


# Bad input


@pytest.mark.parametrize("change, error, words", [
    (lambda x: x[0], ValueError, "images: expected shape"),
    (lambda x: x[:, :2], ValueError, "images: expected shape"),
    (lambda x: x[..., :8], ValueError, "images: expected shape"),
    (lambda x: x[:0], ValueError, "images: expected shape"),
    (lambda x: (x * 255).to(torch.uint8), TypeError, "images: expected a tensor of normalised"),
    (lambda x: x.where(x < 1, torch.nan), ValueError, "no NaN"),
])
def test_wrong_pictures(change, error, words):
    with pytest.raises(error, match=words):
        make().encode_image(change(inputs()[0]))


@pytest.mark.parametrize("change, error, words", [
    (lambda x: x[:, :9], ValueError, r"images: expected features of shape \(b, 10\)"),
    (lambda x: x[0], ValueError, "images: expected features"),
    (lambda x: x[:0], ValueError, "images: expected features"),
    (lambda x: x.long(), TypeError, "images: expected floating-point features"),
    (lambda x: x / 0, ValueError, "NaN or infinity"),
    (lambda x: x.tolist(), TypeError, "images: expected floating-point features, but got list"),
])
def test_wrong_features(change, error, words):
    with pytest.raises(error, match=words):
        make(replace(SMALL, cnn="precomputed", cnn_width=10)).encode_image(change(torch.randn(4, 10)))


@pytest.mark.parametrize("change, error, words", [
    (lambda x: x[0], ValueError, "ids: expected shape"),
    (lambda x: x[:0], ValueError, "ids: expected shape"),
    (lambda x: x[:, :0], ValueError, "ids: expected shape"),
    (lambda x: x.float(), TypeError, "ids: expected a tensor of int64"),
    (lambda x: x + 20, ValueError, "ids from 0 to 29"),
    (lambda x: x - 1, ValueError, "ids from 0 to 29"),
    (lambda x: torch.cat([x[:3], 0 * x[:1]]), ValueError, "text without a word"),
    (lambda x: x.flip(1), ValueError, "padding in front"),
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
    for hinges in (sum_of_hinges, max_of_hinges):
        for scores, options, words in (
                (torch.zeros(2, 3), {}, "square"), (torch.zeros(1, 1), {}, "at least two pairs"),
                (torch.zeros(0, 0), {}, "at least two pairs"),
                (torch.zeros(2, 2), {"margin": -0.1}, "margin: expected 0 or more"),
                (torch.zeros(2, 2), {"index": torch.arange(3)}, r"index: expected \(2,\)")):
            with pytest.raises(ValueError, match=words):
                hinges(scores, **options)
    for similarity in (order_similarity, inner_product):
        with pytest.raises(ValueError, match="one width"):
            similarity(torch.zeros(2, 3), torch.zeros(2, 4))


@pytest.mark.parametrize("field, value, words", [
    ("cnn", "resnet", "cnn: expected small, resnet152"), ("measure", "dot", "measure: expected cosine or order"),
    ("pad_id", 30, "pad_id"), ("margin", -1, "margin"), ("warm_up", -1, "warm_up")])
def test_wrong_sizes(field, value, words):
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **{field: value})


@pytest.mark.cuda
def test_cuda_gives_the_same():
    model, (images, ids) = make(), inputs()
    with torch.no_grad():
        here = model(images, ids).scores
        there = model.cuda()(images.cuda(), ids.cuda()).scores.cpu()
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)
