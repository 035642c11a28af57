"""Real pictures and sentences: a tiny made corpus in the layout of NLVR, tiny models, numbers that are known."""

import json
import os
from dataclasses import replace

import pytest
import torch
from test_nlvr import make_split
from test_nlvr import real as with_corpus

from minimm._paths import data_dir
from minimm.corpora import nlvr
from minimm.corpora.nlvr_batches import Data, NLVRBatches, Words, batch_of, read, square
from minimm.evaluation.nlvr import always, failures, judge, measure, published
from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.models.vilt import ViLT, ViLTConfig
from minimm.scenes import tokenizer
from minimm.training import real

SIZES = {"albef": ALBEFConfig(image=16, vision_width=8, vision_layers=1, vision_heads=2, vision_hidden=16, text_width=8,
                              text_layers=1, fusion_layers=1, text_heads=2, text_hidden=16, queue=8,
                              stem=False),  # of such a width it would have one channel
         "vilt": ViLTConfig(image=16, width=8, layers=1, heads=2, hidden=16)}
TINY = {name: replace(recipe, steps=3, batch=4, warmup=1, precision="float32") for name, recipe in real.RECIPES.items()}


def starts():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {"albef": ALBEF(SIZES["albef"]), "vilt": ViLT(SIZES["vilt"])}


def example(sentence, label=True, identifier="0-0", directory="0"):
    return nlvr.Example(sentence, label, identifier, directory, ())


def made(n=8, box=8):
    """Examples whose sentence says nothing; what is true has a bright picture. The red of a pixel tells the order."""
    examples = [example("there is a box .", i % 2 == 0, f"{i}-0", str(i % 4)) for i in range(n)]
    pictures = torch.zeros(6, n, 3, 2 * box, 2 * box, dtype=torch.uint8)
    pictures[:, ::2] = 200
    pictures[:, :, 0] = torch.arange(6, dtype=torch.uint8)[:, None, None, None]
    return Data(examples, pictures)


@pytest.fixture
def corpus(tmp_path):
    make_split(tmp_path / "nlvr", "dev")
    make_split(tmp_path / "nlvr", "test", directories=2)
    return tmp_path / "nlvr"


# Words and pictures


def test_words_of_two_sentences_are_known():
    words = Words(["A tower, atleast 2.", "a tower", "a tower", "a Box", "cirlce cirlce"])
    assert words.vocabulary == ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "a", "tower")
    assert words.tokenize("A tower of boxes!") == ["a", "tower", "[UNK]", "[UNK]", "[UNK]"]
    assert words(["a tower", "a"]).tolist() == [[1, 5, 6, 2], [1, 5, 2, 0]]


def test_boxes_in_a_square():
    row = torch.tensor([1, 1, 9, 2, 2, 9, 3, 3], dtype=torch.uint8).expand(1, 3, 2, 8)
    expected = torch.tensor([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 128, 128], [3, 3, 128, 128]], dtype=torch.uint8)
    assert torch.equal(square(row)[0, 1], expected)
    with pytest.raises(ValueError, match="pictures: .*four times.*2 x 9 pixels"):
        square(torch.zeros(1, 3, 2, 9, dtype=torch.uint8))


def test_pictures_are_read_in_all_orders(corpus):
    data = read(corpus, "dev", 4)
    assert data.pictures.shape == (6, 12, 3, 8, 8)
    # The made files have the example's number as red, the order as green.
    assert data.pictures[5, 7, :, 0, 0].tolist() == [7, 5, 200] and len(data.examples) == 12


def test_an_epoch_shows_every_example_in_every_order():
    data, words = made(), Words(["there is a box .", "there is a box"])
    batches = NLVRBatches(data, [0, 3, 5], words, 6, seed=1)
    first, second = [batches(step) for step in range(3)], [batches(step) for step in range(3, 6)]
    for epoch in (first, second):
        images, labels = (torch.cat([batch[name] for batch in epoch]) for name in ("images", "label"))
        orders = ((images[:, 0, 0, 0] * 0.2 + 0.25) * 255).round().int().tolist()
        assert sorted(zip(labels.tolist(), orders)) == sorted([*((0, k) for k in range(6)), *((0, k) for k in range(6)),
                                                               *((1, k) for k in range(6))])
        assert torch.equal(images[:, 1, 0, 0] > 0, labels == 1)  # the picture is that of the label
    assert not all(torch.equal(a["images"], b["images"]) for a, b in zip(first, second))
    again = NLVRBatches(data, [0, 3, 5], words, 6, seed=1)(4)
    assert all(torch.equal(value, second[1][name]) for name, value in again.items())


def test_hidden_pictures_say_nothing():
    data, words = made(), Words(["there is a box .", "there is a box"])
    shown, hidden = (batch_of(data, [(0, 1), (1, 1)], words, hide) for hide in (False, True))
    assert not hidden["images"].any() and shown["images"].any()
    assert torch.equal(shown["ids"], hidden["ids"]) and shown["label"].tolist() == hidden["label"].tolist() == [1, 0]


# Starts


@pytest.mark.parametrize("name", ["albef", "vilt"])
def test_a_start_without_new_words_or_sizes_is_the_pretrained_model(name):
    start = starts()[name].eval()
    with torch.no_grad():
        images, ids = torch.randn(2, 3, 16, 16), tokenizer(["a red cup", "two stars"])
        model = real.RECIPES[name].make(start, tokenizer, 16).eval()
        if name == "albef":
            got, expected = model.online.vector({"images": images, "ids": ids}), start(images, ids).fused[:, 0]
        else:
            got, expected = model.vector({"images": images, "ids": ids}), start.encoder(images, ids).pooled
    # The course's table has more rows than its vocabulary has tokens.
    assert torch.allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("name, text", [("albef", "text.embed.tok.weight"), ("vilt", "text.tok.weight")])
def test_words_that_the_scenes_have_start_as_theirs(name, text):
    start, words = starts()[name], Words(["yellow tower", "tower yellow"])
    model = real.RECIPES[name].make(start, words, 32)
    backbone = model.online.backbone if name == "albef" else model.backbone
    old = (start.online if name == "albef" else start.encoder).state_dict()[text]
    new = backbone.state_dict()[text]
    assert len(new) == len(words) == 7
    assert torch.equal(new[words.ids["yellow"]], old[tokenizer.ids["yellow"]])
    assert not (new[words.ids["tower"]] == old).all(1).any() and not (new[words.ids["[UNK]"]] == old).all(1).any()
    model.loss({"images": torch.randn(2, 3, 32, 32), "ids": words(["tower", "yellow"]), "label": torch.tensor([0, 1])})


# Measures


def test_the_standard_error_counts_presentations():
    examples = [example("a", identifier=f"{i // 2}-{i % 2}") for i in range(4)]
    right = torch.tensor([[True, True, False, False]] * 6)
    got = measure(right, examples)
    # Two presentations, off by 2 x 0.5 each: sqrt(1 + 1) / 4. Four examples on their own would have a quarter.
    assert got == pytest.approx({"accuracy": 50, "standard error": 100 * 2 ** 0.5 / 4})
    alone = measure(right, [example("a", identifier=f"{i}-0") for i in range(4)])
    assert alone["standard error"] == pytest.approx(25)


def test_failures_by_hand():
    learnt = [example("There is a tower"), example("there is a tower.")]
    asked = [example("There is a tower"), example("there is no yellow tower", False)]
    right = torch.tensor([[True, True]] * 3 + [[True, False]] * 3)
    got = failures(right, asked, Words([e.sentence for e in learnt]), learnt)
    assert got["orders agree"] == 50
    both = {"examples": 2, "true": 50, "accuracy": 75}
    one, other = {"examples": 1, "true": 100, "accuracy": 100}, {"examples": 1, "true": 0, "accuracy": 50}
    assert got["kinds"] == {"a tower": both, "up to 10 words": both, "is true": one, "a sentence of training": one,
                            "is false": other, "a new sentence": other, "a colour": other, "no or not": other,
                            "an unknown word": other}


def test_always_the_same_answer_is_that_of_training():
    many = [example("a", False), example("a", False), example("a", True)]
    assert always(many, [example("a", True), example("a", True), example("a", True), example("a", False)]) == 25


def test_the_published_numbers_are_those_of_the_card():
    assert published()["neural module networks"] == {"dev": 63.1, "test": 66.1} and len(published()) == 4


@with_corpus
def test_the_majority_of_the_real_corpus_is_as_published():
    dev, test = (nlvr.load(os.environ["MINIMM_NLVR"], split) for split in ("dev", "test"))
    stated = published()['always "true"']
    assert (always(dev, dev), always(dev, test)) == pytest.approx((stated["dev"], stated["test"]), abs=0.05)


# Runs


@pytest.mark.parametrize("name", ["albef", "vilt"])
def test_learns_from_pictures_what_no_sentence_tells(name):
    data, recipe = made(), replace(TINY[name], steps=30, batch=8, lr=1e-2)
    (model, words, run), (_, _, blind) = (
        real.fine_tune(recipe, starts()[name], data, [0, 1, 2, 3], [4, 5, 6, 7], hide) for hide in (False, True))
    right = judge(model, data, [4, 5, 6, 7], words)
    assert right.shape == (6, 4) and right.all() and run.evaluations == {30: {"train": 100, "held out": 100}}
    assert judge(model, data, [4, 5, 6, 7], words, hide=True).double().mean() == 0.5
    # A batch is not quite half true.
    assert min(blind.losses["answer"]) > 0.6 > run.losses["answer"][-1]
    assert blind.evaluations == {30: {"train": 50, "held out": 50}}


def test_all_of_it_run_by_run(corpus, tmp_path, monkeypatch):
    options = {"out": tmp_path / "runs", "rows": TINY, "starts": starts(), "box": 8, "folds": 3}
    calls, fine_tune = [], real.fine_tune

    def counted(recipe, start, data, numbers, *arguments, **keywords):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(({data.examples[i].directory for i in numbers}, keywords.get("hide")))
        return fine_tune(recipe, start, data, numbers, *arguments, **keywords)

    monkeypatch.setattr(real, "fine_tune", counted)
    with pytest.raises(KeyboardInterrupt):
        real.nlvr(corpus, **options)
    calls.append(None)  # no longer 4: the next call goes through
    result = json.loads(json.dumps(real.nlvr(corpus, **options)))
    assert len(calls) == 1 + 2 * 5  # nothing was made twice
    for held, (learnt, _) in zip(result["albef"]["folds"], calls[:3]):
        assert not learnt & set(held["directories"]) and len(learnt) == 2
    assert [call[1] for call in calls if call and len(call[0]) == 3] == [False, True] * 2

    assert (result["dev"]["examples"], result["test"]["examples"]) == (12, 8) and "CNN and RNN" in result["published"]
    for name in ("albef", "vilt"):
        row = result[name]
        assert row["held out"] == pytest.approx(sum(fold["accuracy"] for fold in row["folds"]) / 3)
        assert list(row["curve"]) == ["3"] and 0 <= row["test"]["accuracy"] <= 100
        assert row["sentence alone"]["orders agree"] == 100  # it has not seen the order
    assert json.loads(json.dumps(real.nlvr(corpus, **options))) == result and len(calls) == 11
    assert not list((tmp_path / "runs").glob("*.pt"))

    other = starts()
    with torch.no_grad():
        other["vilt"].encoder.cls.add_(1)
    real.nlvr(corpus, **{**options, "starts": other})
    assert len(calls) == 11 + 5  # another start, other runs


def test_a_result_of_other_rows_is_known(monkeypatch):
    result = {name: {"recipe": {**real.as_told(name, recipe), "box": 48}} for name, recipe in real.RECIPES.items()}
    assert real.is_now(json.loads(json.dumps(result)))
    assert not real.is_now({}) and not real.is_now({"albef": result["albef"]})
    monkeypatch.setitem(real.RECIPES, "vilt", replace(real.RECIPES["vilt"], lr=1.0))
    assert not real.is_now(result)


def test_what_is_recorded_is_of_the_rows_as_they_are():
    recorded = json.loads((data_dir() / "results" / "nlvr.json").read_text(encoding="utf-8"))
    assert real.is_now(recorded)
    assert recorded["published"] == published()
    assert (recorded["dev"]["examples"], recorded["test"]["examples"]) == (989, 990)
