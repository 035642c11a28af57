"""Examples of the downstream tasks and their batches."""

import pytest
import torch

from minimm import scenes
from minimm.scenes import tokenizer
from minimm.scenes.questions import ANSWERS
from minimm.scenes.tasks import ANSWER_IDS, TASKS, TaskBatches, as_words, batch_of, examples

DATA = scenes.load("test", 30)


def regions(index):
    """What a detector could give of scenes, by their numbers."""
    boxes = torch.tensor([1.0, 2, 20, 30]).expand(len(index), 3, 4) + index[:, None, None]
    return {"regions": index[:, None, None].expand(-1, 3, 5).float() + 1, "boxes": boxes,
            "region_mask": torch.arange(3) < 1 + index[:, None] % 3}


def test_examples_by_hand():
    cup = scenes.Thing("cup", "red", "small", "top left", 4, 4)
    star, moon = (scenes.Thing(icon, "blue", "large", place, x, 0)
                  for icon, place, x in (("star", "top right", 32), ("moon", "top left", 0)))
    # A cup alone; a moon and a star that look alike, so that no why-question tells them apart; a cup and a star.
    things = [(cup,), (moon, star), (cup, star)]
    made = tuple([scenes.Scene("night", of) for of in things])
    data = scenes.Scenes("test", 0, range(3), made, torch.zeros(3, 3, 64, 64, dtype=torch.uint8))
    numbers = {task: len(examples(data, task)) for task in TASKS}
    assert numbers == {"vqa": 5 + 7 + 7, "entailment": 9, "pairs": sum(map(len, data.statements[:2])), "why": 4}
    colour, icon, size = examples(data, "vqa")[:3]
    assert colour[0] == icon[0] == size[0] == (0,) and (colour.kind, icon.kind, size.kind) == ("colour", "icon", "size")
    assert colour.texts == ("what colour is the cup?",) and ANSWERS[colour.label] == "red"
    assert ANSWERS[icon.label] == "cup" and ANSWERS[size.label] == "small"
    assert [e.scenes for e in examples(data, "why")] == [(0,), (0,), (2,), (2,)]


def test_labels_are_those_of_the_scenes():
    flat = iter(examples(DATA, "vqa"))
    for i, of in enumerate(DATA.questions):
        for q in of:
            e = next(flat)
            assert (e.scenes, e.texts, ANSWERS[e.label], e.kind) == ((i,), (q.text,), q.answer, q.kind)
    for e in examples(DATA, "entailment"):
        text, label, _ = DATA.hypotheses[e.scenes[0]][("entailment", "neutral", "contradiction").index(e.kind)]
        assert e.texts == (text,) and e.kind == label == scenes.LABELS[e.label]
    for e in examples(DATA, "pairs"):
        left, right = e.scenes
        assert right == left + 1 and (*e.texts, e.label, e.kind) in DATA.statements[left]
    assert len(examples(DATA, "pairs")) == sum(map(len, DATA.statements[:-1]))


def test_why_is_read_in_one_piece():
    both = examples(DATA, "why")
    for answer, rationale in zip(both[::2], both[1::2]):
        assert (answer.kind, rationale.kind) == ("answer", "rationale") and answer.scenes == rationale.scenes
        why = DATA.why[answer.scenes[0]]
        assert answer.texts[answer.label] == f"{why.question} {why.answers[why.answer]}"
        assert [text[len(why.question) + 1:] for text in answer.texts] == list(why.answers)
        assert rationale.texts[rationale.label] == f"{answer.texts[answer.label]} {why.rationales[why.rationale]}"
        assert [text[len(answer.texts[answer.label]) + 1:] for text in rationale.texts] == list(why.rationales)


def test_no_statement_about_a_scene_that_is_not_there():
    part = DATA[10:15]
    assert [(e.scenes, *e.texts) for e in examples(part, "pairs")] == [
        ((i, i + 1), s.text) for i in range(4) for s in DATA.statements[10 + i]]
    assert examples(DATA[::2], "pairs") == () == examples(DATA[:1], "pairs")


@pytest.mark.parametrize("task, ids, pictures", [
    ("vqa", 2, {"images", "of"}), ("entailment", 2, {"images", "of"}), ("pairs", 2, {"left", "right"}),
    ("why", 3, {"images", "of"})])
def test_batches_are_a_function_of_the_step(task, ids, pictures):
    one, other = TaskBatches(DATA, task, 8, seed=3), TaskBatches(DATA, task, 8, seed=3)
    all_of = examples(DATA, task)
    an_epoch = len({e.scenes for e in all_of}) // 8
    assert an_epoch > 1
    later = [one(step) for step in range(an_epoch + 1)]
    for step in (an_epoch, 0, an_epoch - 1):
        batch = other(step)
        assert set(batch) == pictures | {"ids", "label"}
        assert torch.equal(batch["ids"], later[step]["ids"]) and torch.equal(batch["label"], later[step]["label"])
        assert batch["ids"].ndim == ids and len(batch["label"]) == len(batch["ids"]) >= 8
        assert batch["label"].dtype == torch.int64
        for side in pictures & {"left", "right"}:
            assert torch.equal(batch[side]["images"], later[step][side]["images"])
    # Every epoch all examples, in another order; another seed, another order.
    orders = [one.order(epoch) for epoch in (0, 1)] + [TaskBatches(DATA, task, 8, seed=4).order(0)]
    assert all(sorted(e for of in order for e in of) == sorted(all_of) for order in orders)
    assert orders[0] != orders[1] and orders[0] != orders[2]


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_holds_its_examples(task):
    batches = TaskBatches(DATA, task, 6)
    chosen, batch = [e for of in batches.order(0)[6:12] for e in of], batches(1)
    assert len(chosen) == len(batch["label"])
    for pictures in (batch["left"], batch["right"]) if task == "pairs" else (batch,):
        assert len(pictures["images"]) == 6 == len(pictures["of"].unique())
    for row, e in enumerate(chosen):
        assert batch["label"][row] == e.label
        rows = batch["ids"][row].view(len(e.texts), -1)
        assert [tokenizer.decode(r) for r in rows] == [t.replace("?", " ?").replace("  ", " ") for t in e.texts]
        for number, side in enumerate(("left", "right") if task == "pairs" else (None,)):
            pictures = batch[side] if side else batch
            shown = pictures["images"][pictures["of"][row]]
            assert torch.equal(shown, scenes.normalise(DATA.pictures[e.scenes[number]]))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("see", [None, regions])
def test_what_is_hidden_says_nothing(task, see):
    chosen = examples(DATA, task)[:10]
    whole = batch_of(DATA, chosen, see)
    blind, deaf = batch_of(DATA, chosen, see, "picture"), batch_of(DATA, chosen, see, "text")
    sides = ("left", "right") if task == "pairs" else (None,)
    for side in sides:
        seen, hidden, shown = ((b[side] if side else b) for b in (whole, blind, deaf))
        for name in set(seen) - {"ids", "label", "of"}:
            assert hidden[name].shape == seen[name].shape and hidden[name].dtype == seen[name].dtype
            assert len(hidden[name].unique()) == 1 < len(seen[name].unique())
            assert torch.equal(shown[name], seen[name])
    assert torch.equal(blind["ids"], whole["ids"])
    assert deaf["ids"].shape == (*whole["ids"].shape[:-1], 2)
    assert (deaf["ids"] == torch.tensor([tokenizer.cls_id, tokenizer.sep_id])).all()
    assert torch.equal(blind["label"], whole["label"]) and torch.equal(deaf["label"], whole["label"])


def test_another_way_to_see():
    index = scenes.Batches(DATA, 8)(2)["index"]
    batch = scenes.Batches(DATA, 8, see=regions)(2)
    assert set(batch) == {"regions", "boxes", "region_mask", "ids", "index"} and torch.equal(batch["index"], index)
    assert torch.equal(batch["regions"], regions(index)["regions"])
    pairs = TaskBatches(DATA, "pairs", 4, see=regions)
    batch, chosen = pairs(0), [of[0] for of in pairs.order(0)[:4]]
    assert torch.equal(batch["right"]["boxes"], regions(torch.tensor([e.scenes[1] for e in chosen]))["boxes"])


def test_answers_as_models_learn_them():
    batch = TaskBatches(DATA, "vqa", 20)(0)
    words = as_words(batch)
    questions = len(batch["ids"])
    assert questions == len(batch["label"]) > 20
    assert [tokenizer.decode(row) for row in words["answers"]] == [ANSWERS[i] for i in batch["label"]]
    assert (words["answers"][:, 0] == tokenizer.cls_id).all()
    assert torch.equal(words["question"], torch.arange(questions)) and torch.equal(words["weights"], torch.ones(questions))
    assert [tokenizer.decode(row) for row in ANSWER_IDS] == list(ANSWERS)


@pytest.mark.parametrize("call, words", [
    (lambda: examples(DATA, "vcr"), "task: expected one of vqa, entailment, pairs, why, but got 'vcr'"),
    (lambda: TaskBatches(DATA, "vcr", 2), "task: expected one of"),
    (lambda: TaskBatches(DATA, "pairs", 30), "size: expected 1 to 29"),
    (lambda: TaskBatches(DATA, "pairs", 0), "size: expected 1 to 29"),
    (lambda: TaskBatches(DATA[:1], "pairs", 1), "size: expected"),
    (lambda: TaskBatches(DATA, "pairs", 3, hide="pictures"), "hide: expected .*'picture', 'text'"),
    (lambda: batch_of(DATA, examples(DATA, "vqa")[:2], hide="words"), "hide: expected"),
    (lambda: batch_of(DATA, ()), "chosen: expected at least one example"),
])
def test_wrong_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
