"""Measures, on cases that one can work out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minimm import scenes
from minimm.evaluation import foils, probes, zero_shot
from minimm.evaluation.embed import embed, evaluating
from minimm.evaluation.pairs import ceiling, match, rerank, reranked, score_pairs, scorer
from minimm.evaluation.retrieval import best_possible, ranks, recall, retrieval
from minimm.evaluation.tasks import accuracy, chance, predictions
from minimm.models import heads
from minimm.models.albef import ALBEF, ALBEFConfig, Body
from minimm.models.vilbert import ViLBERT, ViLBERTConfig
from minimm.models.vilt import ViLT, ViLTConfig, ViLTRetrieval
from minimm.scenes.statements import FORMS


def test_ranks_by_hand():
    #                     text 0  1    2    3      (texts 0, 1 of picture 0; 2 of picture 1; 3 of picture 2)
    similarity = torch.tensor([[0.1, 0.9, 0.8, 0.7],
                               [0.9, 0.2, 0.6, 0.5],
                               [0.3, 0.4, 0.5, 0.1]])
    of_picture, of_text = ranks(similarity, [0, 0, 1, 2])
    assert of_picture.tolist() == [0, 1, 3] and of_text.tolist() == [2, 0, 1, 2]


def test_a_model_that_finds_all_equal_gets_nothing():
    assert retrieval(torch.zeros(20, 20)).text.r1 == 0 and retrieval(torch.zeros(20, 20)).image.r10 == 0


def test_transposed_similarity_swaps_the_directions():
    similarity = torch.randn(30, 30)
    assert retrieval(similarity).text == retrieval(similarity.T).image


def test_median_is_rounded_down():
    assert recall([0, 0, 1, 2]).median == 1 and recall([1, 3]).median == 3 and recall([0, 4]).mean == 3


@pytest.mark.parametrize("similarity, of_text, words", [
    (torch.zeros(2, 3), None, "square"), (torch.zeros(2, 3), [0, 0, 0], "without a sentence"),
    (torch.zeros(2, 3), [0, 1], "image_of_text"), (torch.full((2, 2), torch.nan), None, "NaN"),
    (torch.zeros(0, 0), None, "not empty")])
def test_wrong_similarities(similarity, of_text, words):
    with pytest.raises(ValueError, match=words):
        ranks(similarity, of_text)


def test_best_possible_by_brute_force():
    data = scenes.load("test", 300)
    captions = [c[0] for c in data.captions]
    fit = torch.tensor([[scenes.fits(c, s) for c in captions] for s in data.scenes])  # scene, caption
    assert fit.diagonal().all(), "a caption must fit its own scene"
    text, image = best_possible(captions, data.scenes)
    assert text == pytest.approx(100 * (1 / fit.sum(1)).mean().item())
    assert image == pytest.approx(100 * (1 / fit.sum(0)).mean().item())


def test_best_possible_is_high_enough_on_the_gallery_of_record():
    data = scenes.load("test", 1000)
    assert min(best_possible([c[0] for c in data.captions], data.scenes)) >= 92


def test_zero_shot_ensemble():
    features = {"a cup": [3.0, 0.0], "no cup": [0.0, 1.0], "a star": [0.0, 2.0], "no star": [0.0, 5.0]}
    weights = zero_shot.classifier(torch.tensor, lambda texts: [features[t] for t in texts], ["cup", "star"],
                                   ["a {}", "no {}"])
    # The long feature of "a cup" counts no more than the short one of "no cup".
    torch.testing.assert_close(weights, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))
    assert zero_shot.predict(torch.tensor([[9.0, 1.0], [0.0, 0.1]]), weights).tolist() == [0, 1]
    for names, templates in (([], ["{}"]), (["cup"], []), (["cup"], ["a cup"])):
        with pytest.raises(ValueError, match="names|templates"):
            zero_shot.classifier(torch.tensor, list, names, templates)


def test_probe_reads_what_is_there_and_nothing_else():
    data = scenes.load("test", 1000)
    there = probes.presence(data.scenes, "colour")
    generator = torch.Generator().manual_seed(0)
    mixed = there @ torch.randn(7, 10, generator=generator)  # colours, linearly, and no icon
    parts = [(mixed[:600], data.scenes[:600]), (mixed[600:], data.scenes[600:])]
    assert probes.probe(*parts, "colour").accuracy > 99
    icon = probes.probe(*parts, "icon")
    assert icon.accuracy < icon.chance + 8
    with pytest.raises(ValueError, match="attribute"):
        probes.presence(data.scenes, "shape")
    with pytest.raises(ValueError, match="one feature for each scene"):
        probes.probe((mixed[:5], data.scenes[:6]), parts[1], "icon")


def test_linear_scores_tell_classes_apart_in_any_unit():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 3
    features = torch.eye(3)[labels] @ torch.randn(3, 5, generator=generator) + 0.01 * torch.randn(120, 5, generator=generator)
    targets = torch.nn.functional.one_hot(labels[:60])
    scores = probes.linear_scores(features[:60], targets, features[60:])
    assert scores.shape == (60, 3) and (scores.argmax(1) == labels[60:]).all()
    moved = 1000 * features + 7  # standardised, it is the same
    torch.testing.assert_close(probes.linear_scores(moved[:60], targets, moved[60:]), scores, rtol=0.05, atol=0.05)


def test_found_by_hand():
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.1, 0.2, 0.3]])
    assert probes.found(scores, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])) == pytest.approx(200 / 3)


@pytest.mark.parametrize("kind", foils.KINDS)
def test_foils_are_true_and_false(kind):
    data = scenes.load("test", 600)
    pairs = foils.foils(data.scenes, kind)
    assert len(pairs) > 25
    for foil in pairs:
        things = data.scenes[foil.scene].things
        assert foil.true != foil.false
        scenes.tokenizer.tokenize(foil.true), scenes.tokenizer.tokenize(foil.false)
        if kind == "binding":
            assert sorted(foil.true.replace(",", "").split()) == sorted(foil.false.split())
            told = foil.true.split()
            assert all(any(t.colour == told[k + 1] and t.icon == told[k + 2] for t in things) for k in (0, 4))
            told = foil.false.split()
            assert not any(t.colour == told[1] and t.icon == told[2] for t in things)
        if kind == "icon":
            assert any(t.icon == foil.true.split()[1] for t in things)
            assert not any(t.icon == foil.false.split()[1] for t in things)
    with pytest.raises(ValueError, match="kind"):
        foils.foils(data.scenes, "taste")


def test_told_apart():
    pairs = [foils.Foil(0, "t", "f"), foils.Foil(1, "f", "t"), foils.Foil(1, "t", "t")]
    vectors = {"t": [1.0, 0.0], "f": [0.0, 1.0]}
    images = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.1]]), dim=-1)
    assert foils.told_apart(images, torch.tensor, lambda texts: [vectors[t] for t in texts], pairs) == 50


def test_embed_in_batches():
    x = torch.randn(7, 3)
    torch.testing.assert_close(embed(lambda part: part * 2, x, size=3), x * 2)
    with pytest.raises(ValueError, match="inputs"):
        embed(lambda part: part, x[:0])


# Tasks --------------------------------------------------------------------------------------------------------------

DATA = scenes.load("test", 12)
NARROW = dict(dropout=0.5, vocab=len(scenes.tokenizer))  # so that training mode would show
ALBEF_SIZES = ALBEFConfig(patch=16, vision_width=8, vision_layers=1, vision_heads=2, vision_hidden=8, text_width=8,
                          text_layers=1, fusion_layers=1, text_heads=2, text_hidden=8, stem=False, queue=8, **NARROW)
VILT_SIZES = ViLTConfig(patch=16, width=8, layers=1, heads=2, hidden=8, modalities=3, **NARROW)
VILBERT_SIZES = ViLBERTConfig(text_width=8, text_layers=1, text_heads=2, text_hidden=8, region_features=5,
                              vision_width=8, vision_layers=1, vision_heads=2, vision_hidden=8, co_width=16,
                              co_heads=2, text_co=(0,), vision_co=(0,), **NARROW)


def built(make):
    """A model whose weights are large enough for its answers to differ, the same ones on every call."""
    torch.manual_seed(1)
    model = make()
    for weight in model.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.7)
    return model.train()


def see_regions(index):
    """Regions of scenes, by their numbers; region_classes are there for pre-training only."""
    return {"regions": index[:, None, None] * torch.linspace(-1, 1, 10).view(2, 5),
            "boxes": torch.tensor([0.0, 1, 20, 30]).expand(len(index), 2, 4),
            "region_mask": torch.ones(len(index), 2, dtype=torch.bool), "region_classes": torch.ones(len(index), 2, 1)}


class Told(nn.Module):
    """A model that is told the right answer and gives it, plus `off`."""

    def __init__(self, choices, off=0):
        super().__init__()
        self.choices, self.off, self.weight = choices, off, nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        assert not self.training
        return F.one_hot((batch["label"] + self.off) % self.choices, self.choices)


@pytest.mark.parametrize("task, choices", [("vqa", len(scenes.ANSWERS)), ("entailment", 3), ("pairs", 2), ("why", 4)])
def test_all_right_and_all_wrong(task, choices):
    for off, percent in ((0, 100), (1, 0)):
        model = Told(choices, off)
        found = accuracy(DATA, task, predictions(model, DATA, task, size=7))
        assert model.training and found.pop("examples") > 5 and set(found.values()) == {percent}


def test_accuracies_by_hand():
    asked = scenes.examples(DATA, "vqa")
    label = torch.tensor([e.label for e in asked])
    label[[i for i, e in enumerate(asked) if e.kind == "colour" and e.scenes[0] < 3]] += 1
    found = accuracy(DATA, "vqa", label)
    assert found["colour"] == 75 and found["icon"] == 100
    assert found["all"] == pytest.approx(100 * (1 - 3 / len(asked))) and found["examples"] == len(asked)
    assert list(found) == ["all", "colour", "icon", "size", "count", "existence", "relation", "comparison", "examples"]
    label = torch.zeros(36).long()  # always "entailment", the first of three
    assert accuracy(DATA, "entailment", label) == pytest.approx(
        {"all": 100 / 3, "entailment": 100, "neutral": 0, "contradiction": 0, "examples": 36})


def test_answer_and_rationale_must_both_be_right():
    label = torch.tensor([e.label for e in scenes.examples(DATA, "why")])
    n = len(label) // 2
    label[[0, 2, 3, 5]] += 1  # of the first three questions: the answer; both; the rationale
    found = accuracy(DATA, "why", label)
    assert found == pytest.approx({"answer": 100 - 200 / n, "rationale": 100 - 200 / n, "both": 100 - 300 / n,
                                   "examples": n})


def test_chance_by_hand():
    data, train = scenes.load("test", 60), scenes.load("train", 200)
    found = chance(data, "vqa", train)
    answers = [q.answer for of in train.questions for q in of if q.kind == "size"]
    most = max(("small", "large"), key=answers.count)
    of_test = [q.answer for of in data.questions for q in of if q.kind == "size"]
    assert found["size"] == pytest.approx(100 * of_test.count(most) / len(of_test))
    assert found["colour"] < 40 < found["existence"] and found["icon"] < found["all"] < 60
    for task, percent in (("entailment", 100 / 3), ("pairs", 50), ("why", 25)):
        model = Told(4)
        expected = chance(data, task, train)
        assert list(expected) == list(accuracy(data, task, predictions(model, data, task)))
        if task == "why":
            assert expected.pop("both") == 6.25
        expected.pop("examples")
        assert set(expected.values()) == {percent}
    assert list(chance(data, "pairs", train)) == ["all", *FORMS, "examples"]
    alone = next(i for i, scene in enumerate(train.scenes) if len(scene.things) == 1)
    with pytest.raises(ValueError, match="train: .*no question of the kind comparison, relation"):
        chance(data, "vqa", train[alone:alone + 1])


HEADS = {
    "ViLT": ("entailment", lambda: heads.Classifier(ViLT(VILT_SIZES).encoder, 3)),
    "ViLBERT": ("entailment", lambda: heads.Classifier(ViLBERT(VILBERT_SIZES), 3)),
    "two pictures": ("pairs", lambda: heads.Pairs(ViLT(VILT_SIZES).encoder, 2)),
    "two pictures, ViLBERT": ("pairs", lambda: heads.Pairs(ViLBERT(VILBERT_SIZES), 2)),
    "two pictures, ALBEF": ("pairs", lambda: heads.Distilled(heads.ALBEFPairs(heads.PairBody(ALBEF_SIZES), 2))),
    "why": ("why", lambda: heads.Choices(ViLT(VILT_SIZES).encoder)),
    "answers": ("vqa", lambda: heads.Classifier(Body(ALBEF_SIZES), len(scenes.ANSWERS))),
    "said answers": ("vqa", lambda: heads.ALBEFAnswers(heads.Answerer(ALBEF_SIZES))),
}


@pytest.mark.parametrize("name", HEADS)
def test_predictions_of_every_head(name):
    (task, make), data = HEADS[name], scenes.load("test", 40)
    model, see = built(make), see_regions if "ViLBERT" in name else None
    predicted = predictions(model, data, task, see, size=9)
    assert model.training and all(part.training for part in model.modules())
    batch = scenes.batch_of(data, scenes.examples(data, task), see)
    with torch.no_grad():
        model.eval()
        if name == "said answers":
            expected = model.rank(batch, batch["ids"], scenes.ANSWER_IDS, 8)[1][:, 0]
        else:
            expected = model(batch).argmax(1)
    assert torch.equal(predicted, expected) and len(predicted.unique()) > 1
    blind = predictions(model, data, task, see, hide="picture")
    texts = [e.texts for e in scenes.examples(data, task)]
    assert all(len({p for t, p in zip(texts, blind.tolist()) if t == text}) == 1 for text in texts)
    assert len(predictions(model, data[:4], task, see, hide="text")) == len(scenes.examples(data[:4], task))


def test_a_model_that_fails_gets_its_mode_back():
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError), evaluating(model):
        assert not model.training
        model(None)
    assert model.training
    with evaluating(model.eval()) as device:
        assert device == torch.device("cpu")
    assert not model.training


@pytest.mark.parametrize("call, words", [
    (lambda: predictions(Told(2), DATA[:1], "pairs"), "data: expected at least one example of pairs"),
    (lambda: predictions(Told(2), DATA, "vcr"), "task: expected one of"),
    (lambda: accuracy(DATA, "entailment", torch.zeros(35)), "predicted: expected a tensor, a label for each of 36"),
    (lambda: accuracy(DATA, "entailment", [0] * 36), "predicted: .* got list"),
    (lambda: accuracy(DATA[:1], "pairs", torch.zeros(0)), "predicted: expected"),
    (lambda: chance(DATA, "vcr", DATA), "task: expected one of"),
])
def test_wrong_tasks(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# Pairs --------------------------------------------------------------------------------------------------------------

#                        text 0  1    2    3
FIRST = torch.tensor([[0.9, 0.8, 0.1, 0.0],
                      [0.7, 0.6, 0.5, 0.1],
                      [0.8, 0.3, 0.2, 0.1],
                      [0.1, 0.2, 0.3, 0.4]])
SECOND = torch.arange(16.0).view(4, 4)


def test_rerank_by_hand():
    asked = []

    def score(pictures, texts):
        asked.extend(zip(pictures.tolist(), texts.tolist()))
        assert len(pictures) <= 5
        return SECOND[pictures, texts]

    of_picture, of_text = rerank(score, FIRST, 2, size=5)
    no = float("-inf")
    assert of_picture.tolist() == [[0, 1, no, no], [4, 5, no, no], [8, 9, no, no], [no, no, 14, 15]]
    # for text 0 pictures 0 and 2, for text 1 0 and 1, for text 2 1 and 3, for text 3 the last and one of the tied
    assert of_text[:3].tolist() == [[0, no, 8, no], [1, 5, no, no], [no, 6, no, 14]]
    assert of_text[3, 3] == 15 and of_text[3].isfinite().sum() == 2
    assert len(asked) == len(set(asked)) == 10 and max(asked) == (3, 3)  # each pair once
    # Text 2 is not among the candidates of picture 2, nor the other way round. Text 1 beats text 0 for picture 0.
    found = reranked(of_picture, of_text)
    assert found.text.r1 == 50 and found.image.r1 == 50
    assert ceiling(FIRST, 2) == (75, 75) and ceiling(FIRST, 1) == (50, 50) and ceiling(FIRST, 4) == (100, 100)


def test_a_perfect_scorer_reaches_the_ceiling():
    generator = torch.Generator().manual_seed(0)
    owner = torch.arange(40).repeat_interleave(2)  # two texts a picture
    first = torch.randn(40, 80, generator=generator)
    first[owner, torch.arange(80)] += 1
    for k in (1, 5, 20):
        of_picture, of_text = rerank(lambda pictures, texts: (owner[texts] == pictures).float(), first, k)
        found, best = reranked(of_picture, of_text, owner), ceiling(first, k, owner)
        assert (found.text.r1, found.image.r1) == best and 0 < best[0] < 100
    assert best[0] > best[1] and reranked(first, first.T, owner) == retrieval(first, owner)
    assert ceiling(first, 5, owner) == (retrieval(first, owner).text.r5, retrieval(first, owner).image.r5)


def test_score_all_pairs():
    wanted = torch.ones(3, 4, dtype=torch.bool)
    assert torch.equal(score_pairs(lambda pictures, texts: SECOND[pictures, texts], wanted, size=5), SECOND[:3])


PAIR_MODELS = {"ViLT": (lambda: ViLT(VILT_SIZES), None), "ViLT, fine-tuned": (lambda: ViLTRetrieval(VILT_SIZES), None),
               "ViLBERT": (lambda: ViLBERT(VILBERT_SIZES), see_regions), "ALBEF": (lambda: ALBEF(ALBEF_SIZES), None)}


@pytest.mark.parametrize("name", PAIR_MODELS)
def test_scorers(name):
    make, see = PAIR_MODELS[name]
    model, ids, pictures = built(make), DATA.tokens()[:5], DATA.images()[:4]
    found = score_pairs(scorer(model, DATA, ids, see), torch.ones(4, 5, dtype=torch.bool), size=7)
    assert model.training and found.std() > 1e-3
    model.eval()
    with torch.no_grad():
        if name == "ViLT":
            expected = torch.cat([model(picture.expand(5, -1, -1, -1), ids).matching_logits.diff(dim=1).T
                                  for picture in pictures])
        elif name == "ViLT, fine-tuned":
            expected = model.scores(pictures, ids)
        elif name == "ALBEF":
            expected = model.rerank(pictures, ids, 4)[2].T
        else:
            seen = see_regions(torch.arange(4).repeat_interleave(5))
            del seen["region_classes"]
            expected = model.score(ids=ids.repeat(4, 1), **seen).view(4, 5)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("call, error, words", [
    (lambda: rerank(None, FIRST, 0), ValueError, "k: expected 1 to 4"),
    (lambda: rerank(None, FIRST[:3], 4), ValueError, "k: expected 1 to 3"),
    (lambda: ceiling(FIRST[:3], 2), ValueError, "square"),
    (lambda: score_pairs(None, torch.zeros(2, 2, dtype=torch.bool)), ValueError, "wanted: expected .*at least one"),
    (lambda: score_pairs(None, torch.ones(2, 2)), ValueError, "wanted: expected bool"),
    (lambda: match(nn.Linear(2, 2), {}, None), TypeError, "got a Linear"),
])
def test_wrong_pairs(call, error, words):
    with pytest.raises(error, match=words):
        call()
