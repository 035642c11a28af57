"""Task heads on all five architectures."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from minimm.models import heads, multitask
from minimm.models.albef import ALBEF, Body
from minimm.models.clip import CLIP
from minimm.models.vilbert import ViLBERT, ViLBERTConfig
from minimm.models.vilt import ViLT, ViLTConfig
from minimm.models.vse import VSE, VSEConfig
from test_albef import SMALL
from test_clip import SMALL as SMALL_CLIP

B = 3


def backbones():
    torch.manual_seed(0)
    vilt = ViLTConfig(image=16, width=12, layers=1, heads=2, hidden=16, context=10, vocab=30, modalities=3)
    vilbert = ViLBERTConfig(context=10, vocab=30, text_width=12, text_layers=1, text_heads=2, text_hidden=16, region_features=6,
                            image=16, vision_width=8, vision_layers=1, vision_heads=2, vision_hidden=16, co_width=10,
                            co_heads=2, text_co=(0,), vision_co=(0,))
    return {"CLIP": CLIP(SMALL_CLIP), "VSE": VSE(VSEConfig(embed_dim=7, image=16, cnn_width=8, vocab=30, word_dim=5)),
            "ViLBERT": ViLBERT(vilbert), "ViLT": ViLT(vilt).encoder, "ALBEF": ALBEF(SMALL).online}


# For the decoder, which looks at text with the layers that looked at pictures.
ONE_WIDTH = replace(SMALL, vision_width=12)
NAMES = ("CLIP", "VSE", "ViLBERT", "ViLT", "ALBEF")


def texts(seed=1, b=B):
    ids = torch.randint(4, 30, (b, 6), generator=torch.Generator().manual_seed(seed))
    ids[:, 0], ids[:, -1] = 1, 2
    return ids


def picture(name, seed=1, b=B):
    generator = torch.Generator().manual_seed(seed)
    if name != "ViLBERT":
        return {"images": torch.randn(b, 3, 16, 16, generator=generator)}
    corners = torch.rand(b, 4, 2, generator=generator) * 7
    return {"regions": torch.rand(b, 4, 6, generator=generator), "boxes": torch.cat([corners, corners + 8], -1)}


@pytest.mark.parametrize("name", NAMES)
def test_joint(name):
    model = backbones()[name].eval()
    with torch.no_grad():
        vector = heads.joint(model, picture(name), texts())
        assert vector.shape == (B, heads.joint_width(model))
        for changed in (heads.joint(model, picture(name, 2), texts()), heads.joint(model, picture(name), texts(2))):
            assert (changed - vector).abs().amax(1).min() > 1e-6  # both picture and text count
        # Each pair is on its own.
        alone = heads.joint(model, {k: t[1:2] for k, t in picture(name).items()}, texts()[1:2])
        torch.testing.assert_close(alone, vector[1:2])


def test_unknown_model():
    with pytest.raises(TypeError, match="got a Linear"):
        heads.joint(nn.Linear(2, 2), {}, texts())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", [heads.vilt_head, heads.vilbert_head, heads.albef_head])
def test_questions_and_entailment(name, head):
    model = heads.Classifier(backbones()[name], 5, head)
    batch = {**picture(name), "ids": texts()}
    assert model(batch).shape == (B, 5)
    soft = torch.rand(B, 5)
    loss = model.loss({**batch, "answers": soft})["answer"]
    assert 0 < loss < 20
    loss.backward()
    assert all(w.grad is not None for w in model.head.parameters())
    assert 0 < model.loss({**batch, "label": torch.tensor([4, 0, 2])})["answer"] < 5


@pytest.mark.parametrize("name", NAMES)
def test_two_pictures(name):
    model = heads.Pairs(backbones()[name], 2).eval()
    if name == "ViLT":
        nn.init.normal_(model.backbone.modality.weight)
    batch = {"left": picture(name, 1), "right": picture(name, 2), "ids": texts(), "label": torch.tensor([0, 1, 1])}
    assert math.isclose(model.loss(batch)["answer"].item(), math.log(2), abs_tol=0.3)
    with torch.no_grad():
        swapped = {**batch, "left": batch["right"], "right": batch["left"]}
        vector, other = model.vector(batch), model.vector(swapped)
        half = vector.shape[1] // 2
        if name == "ViLT":  # which picture it is stands in its modality embedding
            assert (other[:, half:] - vector[:, :half]).abs().max() > 1e-6
        else:
            torch.testing.assert_close(torch.cat([other[:, half:], other[:, :half]], 1), vector)


@pytest.mark.parametrize("name", NAMES)
def test_choices(name):
    model = heads.Choices(backbones()[name]).eval()
    ids = torch.stack([texts(seed) for seed in range(4)], dim=1)  # b c l
    batch = {**picture(name), "ids": ids, "label": torch.tensor([3, 0, 1])}
    with torch.no_grad():
        scores = model(batch)
        order = torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(model({**batch, "ids": ids[:, order]}), scores[:, order])
        assert math.isclose(model.loss(batch)["choice"].item(), math.log(4), abs_tol=0.5)


def test_distilled():
    classifier = heads.Classifier(Body(SMALL), 3, heads.albef_head)
    model = heads.Distilled(classifier, alpha=0.4, alpha_steps=0)
    batch = {**picture("ALBEF"), "ids": texts(), "label": torch.tensor([0, 2, 1])}
    logits, teacher = model(batch), model.momentum(batch)
    truth = nn.functional.cross_entropy(logits, batch["label"])
    soft = nn.functional.cross_entropy(logits, teacher.softmax(-1).detach())
    torch.testing.assert_close(model.eval().loss(batch)["answer"], 0.6 * truth + 0.4 * soft)
    with torch.no_grad():
        classifier.head[0].weight += 1
    model.train().loss(batch)["answer"].backward()
    moved = model.momentum.head[0].weight - classifier.head[0].weight
    torch.testing.assert_close(moved, torch.full_like(moved, -0.995))
    assert model.momentum.head[0].weight.grad is None


def test_albef_pairs():
    torch.manual_seed(0)
    encoders = ALBEF(SMALL).online
    model = heads.ALBEFPairs(heads.PairBody(SMALL).start_from(encoders), 2, heads.albef_head).eval()
    blocks = model.backbone.text.fusion
    assert len(blocks) == 2 * SMALL.fusion_layers
    assert blocks[0].xattn.k.weight is blocks[1].xattn.k.weight and blocks[0].xattn.q.weight is not blocks[1].xattn.q.weight
    torch.testing.assert_close(blocks[1].mlp.fc1.weight, encoders.text.fusion[0].mlp.fc1.weight)
    batch = {"left": picture("ALBEF", 1), "right": picture("ALBEF", 2), "ids": texts(), "label": torch.tensor([0, 1, 1])}
    assert math.isclose(model.loss(batch)["answer"].item(), math.log(2), abs_tol=0.3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
        here, swapped = model(batch), model({**batch, "left": batch["right"], "right": batch["left"]})
        assert (here - swapped).abs().max() > 1e-3  # the layers take turns, so the order counts
        other = model({**batch, "left": picture("ALBEF", 3)}) - here
        assert other.abs().max() > 1e-3


def test_both_layers_of_a_pair_start_as_the_one_that_they_stand_for():
    torch.manual_seed(0)
    body = ALBEF(replace(SMALL, fusion_layers=3)).online
    pairs = heads.PairBody(body.config).start_from(body)
    for number, layer in enumerate(body.text.fusion):
        for twin in pairs.text.fusion[2 * number:2 * number + 2]:
            for name, weight in layer.state_dict().items():
                torch.testing.assert_close(twin.state_dict()[name], weight, rtol=0, atol=0)


ANSWERS = torch.tensor([[1, 5, 2, 0], [1, 6, 7, 2], [1, 5, 8, 2], [1, 9, 2, 0], [1, 10, 2, 0]])


def answer_batch():
    return {**picture("ALBEF"), "ids": texts(), "answers": ANSWERS[[0, 3, 1, 2]], "question": torch.tensor([0, 0, 1, 2]),
            "weights": torch.tensor([0.7, 0.3, 1.0, 1.0])}


def test_answers_are_learnt_word_by_word():
    torch.manual_seed(0)
    albef = ALBEF(ONE_WIDTH)
    model = heads.ALBEFAnswers(heads.Answerer(ONE_WIDTH).start_from(albef.online), alpha_steps=0)
    torch.testing.assert_close(model.online.decoder.fusion[0].mlp.fc1.weight, albef.online.text.fusion[0].mlp.fc1.weight)
    batch = answer_batch()
    # All words alike: ln v for every word that is asked for; [CLS] is not, padding is not.
    with torch.no_grad():
        model.eval().online.mlm.ln.weight.zero_()
        model.momentum.mlm.ln.weight.zero_()
    words = torch.tensor([2.0, 2, 3, 3])
    expected = (batch["weights"] * words).sum() * math.log(30) / 3
    torch.testing.assert_close(model.loss(batch)["answer"], expected)


def test_an_answer_sees_only_what_stands_before():
    torch.manual_seed(0)
    net = heads.Answerer(SMALL).eval()
    with torch.no_grad():
        states, mask = net.question(picture("ALBEF"), texts())
        answers = ANSWERS[[0, 1, 2]]
        logits = net(states, mask, answers)
        changed = answers.clone()
        changed[:, 2] = 20
        torch.testing.assert_close(net(states, mask, changed)[:, :2], logits[:, :2])
        assert (net(states, mask, changed)[:, 2] - logits[:, 2]).abs().max() > 1e-6


def test_ranking_a_list_of_answers():
    torch.manual_seed(0)
    model = heads.ALBEFAnswers(heads.Answerer(SMALL)).eval()
    images, ids = picture("ALBEF")["images"], texts()
    scores, numbers = model.rank({"images": images}, ids, ANSWERS, len(ANSWERS))
    assert scores.shape == numbers.shape == (B, 5)
    assert (scores.diff(dim=1) <= 0).all() and (numbers.sort(1).values == torch.arange(5)).all()
    # By hand for one question and one answer: every word's log-probability, the first one twice.
    with torch.no_grad():
        states, mask = model.online.question({"images": images[:1]}, ids[:1])
        said = model.online(states, mask, ANSWERS[1:2]).log_softmax(-1)[0]
    by_hand = 2 * said[0, 6] + said[1, 7] + said[2, 2]
    torch.testing.assert_close(scores[0, numbers[0] == 1][0], by_hand)
    few, chosen = model.rank({"images": images}, ids, ANSWERS, 2)
    assert few.shape == (B, 2) and all(set(c.tolist()) <= set(range(5)) for c in chosen)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pictures", [1, 2])
def test_pictures_and_texts_in_different_numbers(name, pictures):
    """One picture is not stretched over all texts in silence."""
    backbone, few, ids = backbones()[name], picture(name, b=pictures), texts()
    label = torch.tensor([0, 1, 1])
    two = {"left": picture(name), "right": few}
    for model, batch in ((heads.Classifier(backbone, 2), few), (heads.Pairs(backbone, 2), two),
                         (heads.Choices(backbone), few)):
        choices = isinstance(model, heads.Choices)
        words = f"of: expected numbers from 0 to {pictures - 1}, but got 0 to 2" if choices else \
            f"ids: expected one for each, but got 3 texts for {pictures} pictures"
        with pytest.raises(ValueError, match=words):
            model.loss({**batch, "ids": ids[:, None].repeat(1, 2, 1) if choices else ids, "label": label})


@pytest.mark.parametrize("name", NAMES)
def test_several_texts_about_one_picture(name):
    """`of` says which picture a text is about: the same as to bring the picture again for each of them."""
    backbone, few, of = backbones()[name].eval(), picture(name, b=2), torch.tensor([1, 0, 1])
    again = {key: t[of] for key, t in few.items()}
    for model, ids in ((heads.Classifier(backbone, 2), texts()), (heads.Choices(backbone), texts(b=6).view(3, 2, 6))):
        torch.testing.assert_close(model({**few, "of": of, "ids": ids}), model({**again, "ids": ids}))
        with pytest.raises(ValueError, match="of: expected numbers from 0 to 1"):
            model({**few, "of": of + 1, "ids": ids})
        with pytest.raises(ValueError, match="of: expected"):
            model({**few, "of": of[:2], "ids": ids[:, :1] if ids.ndim == 3 else ids})


@pytest.mark.parametrize("name", NAMES)
def test_wrong_texts(name):
    backbone, batch, ids = backbones()[name], picture(name), texts()
    model, choices = heads.Classifier(backbone, 2), heads.Choices(backbone)
    for wrong in (ids * 0, torch.cat([ids[:2], 0 * ids[:1]])):
        for head, its_ids in ((model, wrong), (choices, torch.stack([ids, wrong], 1))):
            with pytest.raises(ValueError, match="ids: expected"):
                head({**batch, "ids": its_ids})
    if name != "VSE":  # a GRU reads on
        with pytest.raises(ValueError, match="ids: expected at most 10"):
            model({**batch, "ids": ids.repeat(1, 3)})
    for wrong in (ids, ids[:, None][:, :0]):
        with pytest.raises(ValueError, match="ids: expected `b c l`"):
            choices({**batch, "ids": wrong})


@pytest.mark.parametrize("change, error, words", [
    ({"label": torch.tensor([0, 1])}, ValueError, "label: expected shape"),
    ({"label": torch.tensor([0, 1, 5])}, ValueError, "label: expected numbers from 0 to 4"),
    ({"label": torch.tensor([0.0, 1, 2])}, TypeError, "label: expected a tensor of int64"),
    ({"label": [0, 1, 2]}, TypeError, "label: expected a tensor of int64, but got list"),
    ({"answers": torch.ones(3, 5).long()}, TypeError, "soft_targets: expected a floating-point tensor"),
    ({"answers": torch.ones(3, 4)}, ValueError, "soft_targets: expected"),
    ({"answers": torch.full((3, 5), 2.0)}, ValueError, "soft_targets: expected values from 0 to 1"),
])
def test_wrong_labels(change, error, words):
    model = heads.Classifier(backbones()["ALBEF"], 5)
    with pytest.raises(error, match=words):
        model.loss({**picture("ALBEF"), "ids": texts(), **change})


def test_wrong_answers():
    model = heads.ALBEFAnswers(heads.Answerer(SMALL)).eval()
    answers = answer_batch()["answers"]
    for change, error, words in (
            ({"question": torch.tensor([0, 0, 1, 3])}, ValueError, "question: expected numbers from 0 to 2"),
            ({"question": torch.tensor([0, 0, 1])}, ValueError, r"question: expected shape \(4,\)"),
            ({"question": torch.zeros(0).long(), "answers": answers[:0]}, ValueError, "question: expected shape"),
            ({"weights": torch.ones(3)}, ValueError, r"weights: expected shape \(4,\)"),
            ({"weights": torch.ones(4, 1)}, ValueError, r"weights: expected shape \(4,\)"),
            ({"weights": torch.full((4,), torch.nan)}, ValueError, "weights: expected numbers from 0 on"),
            ({"answers": answers.repeat(1, 4)}, ValueError, "answers: expected at most 10"),
            ({"answers": answers + 25}, ValueError, "answers: expected ids from 0 to 29"),
            ({"answers": answers.float()}, TypeError, "answers: expected a tensor of int64"),
            ({"answers": torch.cat([answers[:3], 0 * answers[:1]])}, ValueError, "answers: .* begin with"),
            ({"ids": 0 * texts()}, ValueError, "ids: expected"),
            ({"images": torch.randn(1, 3, 16, 16)}, ValueError, "3 texts for 1 pictures")):
        with pytest.raises(error, match=words):
            model.loss({**answer_batch(), **change})
    # Nothing but [CLS]: no word is asked for, and the loss is 0.
    assert model.loss({**answer_batch(), "answers": answers[:, :1]})["answer"] == 0
    images = picture("ALBEF")["images"]
    with pytest.raises(ValueError, match="k: expected 1 to 5"):
        model.rank({"images": images}, texts(), ANSWERS, 6)
    with pytest.raises(ValueError, match=r"answers: expected \[CLS\] and words"):
        model.rank({"images": images}, texts(), ANSWERS[:, :1], 2)


def test_weights_of_another_size():
    for start in (lambda: heads.Answerer(SMALL).start_from(ALBEF(SMALL).online),
                  lambda: heads.Answerer(replace(ONE_WIDTH, vocab=40)).start_from(ALBEF(ONE_WIDTH).online),
                  lambda: heads.Answerer(ONE_WIDTH).start_from(ALBEF(replace(ONE_WIDTH, index_targets=True)).online)):
        with pytest.raises(ValueError, match="encoders: expected"):
            start()
    for changes in ({"vision_width": 4}, {"fusion_layers": 2}):
        with pytest.raises(ValueError, match="body: expected the same sizes"):
            heads.PairBody(replace(SMALL, **changes)).start_from(ALBEF(SMALL).online)


@pytest.mark.parametrize("side", ["left", "right"])
def test_two_pictures_in_different_numbers(side):
    model = heads.ALBEFPairs(heads.PairBody(SMALL), 2)
    batch = {"left": picture("ALBEF"), "right": picture("ALBEF"), "ids": texts()}
    with pytest.raises(ValueError, match=f"{side}: expected one for each, but got 1 pictures for 3 texts"):
        model({**batch, side: picture("ALBEF", b=1)})


def test_the_heads_of_the_multi_task_model():
    model = multitask.ViLBERTTasks(backbones()["ViLBERT"], answers=7, gqa_answers=6).eval()
    out = model(picture("ViLBERT"), texts())
    assert {name: tuple(t.shape) for name, t in out.items()} == {
        "vqa": (B, 7), "gqa": (B, 6), "match": (B, 1), "entailment": (B, 3), "region": (B, 5, 1), "word": (B, 6, 1)}
    task = multitask.ViLBERTTasks(ViLBERT(replace(model.backbone.config, tasks=20)), 7, 6).eval()
    assert task(picture("ViLBERT"), texts(), task=torch.tensor([1, 2, 3]))["word"].shape == (B, 7, 1)
