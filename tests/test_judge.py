"""What the judge does for exercises of other kinds than those that there are; test_exercises.py has the rest."""

import dataclasses
import os
import sys
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minimm.exercises import _judge
from minimm.exercises._exercise import Case, Exercise
from minimm.exercises._judge import judge
from minimm.exercises._registry import EXERCISES


def unit(features):
    return features / features.norm(dim=1, keepdim=True)


@pytest.fixture
def exercise(monkeypatch):
    def put(**fields):
        shared = dict(name="made", lesson="00", difficulty=1, minutes=1, prompt="made(x)", hints=("a", "b"), solution="", fact="so",
                      cases=lambda: [Case({"x": np.array([[0.5, -1, 2], [3, -4, 0]])}), Case({"x": np.array([[-1.0, 1, 1, -2]])})],
                      slips=(), tell=lambda came, expected: "not so.", shape="b d")
        monkeypatch.setitem(EXERCISES, "made", Exercise(**{**shared, **fields}))

    return put


def test_a_mask_is_asked_for(exercise):
    exercise(expected=lambda x: x > 0)
    assert judge("made", lambda x: x > 0).status == "right"
    for wrong in (lambda x: (x > 0).to(x.dtype), lambda x: (x > 0).long()):
        verdict = judge("made", wrong)
        assert verdict.status == "wrong" and "mask, bool" in verdict.message
    assert "not so" in judge("made", lambda x: x < 0).message


def test_whole_numbers_are_asked_for(exercise):
    exercise(expected=lambda x: x.argmax(1), shape="b")
    for right in (lambda x: x.argmax(1), lambda x: x.max(1).indices.int()):
        assert judge("made", right).status == "right"
    for wrong in (lambda x: x.argmax(1).to(x.dtype), lambda x: x.argmax(1) > 0):
        verdict = judge("made", wrong)
        assert verdict.status == "wrong" and "whole numbers" in verdict.message
    assert "not so" in judge("made", lambda x: x.argmin(1)).message


@pytest.mark.parametrize("student, name", [
    (lambda x: F.normalize(x, dim=1), "normalize"), (lambda x: x / x.norm(dim=1, keepdim=True), "norm"),
    (lambda x: x / torch.linalg.vector_norm(x, dim=1, keepdim=True), "linalg_vector_norm"), (lambda x: x.div(x.pow(2).sum(1)), "div"),
])
def test_what_would_do_the_work_is_refused_where_the_exercise_says_so(monkeypatch, student, name):
    one = dataclasses.replace(EXERCISES["unit_length"], without=("normalize", "norm", "linalg_vector_norm", "div"))
    monkeypatch.setitem(EXERCISES, "unit_length", one)
    verdict = judge("unit_length", student)
    assert verdict.status == "wrong" and "Write that part yourself" in verdict.message and name in verdict.message


def test_a_function_of_ones_own_may_have_any_name(monkeypatch):
    one = dataclasses.replace(EXERCISES["unit_length"], without=("norm", "sum"))
    monkeypatch.setitem(EXERCISES, "unit_length", one)

    def norm(row):
        return sum(x * x for x in row.tolist()) ** 0.5  # Python's sum is not torch's

    assert judge("unit_length", lambda features: torch.stack([row / norm(row) for row in features])).status == "right"


class Pretender:
    @property
    def __class__(self):
        return torch.Tensor


@pytest.mark.filterwarnings("ignore")  # torch's, about quantized and nested tensors
@pytest.mark.parametrize("result", [
    lambda x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8), lambda x: torch.nested.nested_tensor(list(x)),
    lambda x: Pretender(), lambda x: x.to_sparse(), lambda x: x.to("meta"), lambda x: x.to(torch.complex64),
])
def test_tensors_that_cannot_be_read_are_named(result):
    verdict = judge("unit_length", lambda x: result(unit(x)))
    assert verdict.status == "wrong" and "ordinary" in verdict.message


@pytest.mark.parametrize("view", [
    lambda x: torch._neg_view(-x), lambda x: x.conj(), lambda x: x[None].expand(2, -1, -1)[1], lambda x: torch.nn.Parameter(x),
    lambda x: x.as_subclass(type("Mine", (torch.Tensor,), {})), lambda x: x.T.contiguous().T,
])
def test_other_ways_to_hold_the_same_numbers_are_right(view):
    assert judge("unit_length", lambda x: view(unit(x))).status == "right"


class Late:
    def __del__(self):
        for _ in range(1000):
            pass


def test_a_whole_number_beyond_all_floats_is_refused():
    verdict = judge("recall_at_k", lambda similarity, k: 10**400)
    assert verdict.status == "wrong" and "infinity" in verdict.message


def test_a_stop_that_arrives_in_a_destructor_is_no_news(monkeypatch):
    def student(x):
        while True:
            Late()

    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.2)
    assert "did not end" in judge("unit_length", student).message
    assert not heard


def test_aborting_stays_inside():
    assert "end the program" in judge("unit_length", lambda x: os.abort()).message


@pytest.mark.parametrize("result", [
    lambda x: torch.zeros(1).expand(10**6, 10**6), lambda x: x.new_zeros(()).expand(2, 10**7),
])
def test_a_result_far_too_large_is_told_by_its_shape_and_not_copied(result):
    verdict = judge("unit_length", result)
    assert verdict.status == "wrong" and "must have the shape" in verdict.message


def test_an_import_is_waited_for(tmp_path, monkeypatch):
    """Broken off, it could not be repeated: torch imports much of itself when it is first needed."""
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.3)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "takes_long.py").write_text("import time\nfor _ in range(8):\n    time.sleep(0.1)\nunit = lambda x: x / x.norm(dim=1)[:, None]")

    def student(features):
        import takes_long

        return takes_long.unit(features)

    assert judge("unit_length", student).status == "right"
    assert "takes_long" in sys.modules

    def never_ends(features):
        import takes_long

        while takes_long:
            pass

    assert "did not end" in judge("unit_length", never_ends).message


def test_an_import_that_never_ends_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.1)
    monkeypatch.setattr(_judge, "IMPORT_LIMIT", 0.3)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "never_ends.py").write_text("while True:\n    pass")

    def student(features):
        import never_ends

    assert "did not end" in judge("unit_length", student).message


def test_what_may_stand_in_the_graph_can_be_asked_for(exercise):
    exercise(expected=lambda x: 2 * x * x, kept=lambda moments, x: f"at most {max(map(len, moments))}" if moments else None)

    def slope(x):
        return torch.autograd.grad((x**2).sum(), x)[0]

    def one_by_one(x):
        x = x.clone().requires_grad_()
        return (slope(x) + slope(x)) * x.detach() / 2

    def together(x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad((x**2).sum() + (x**2).sum(), x)[0] * x.detach() / 2

    assert judge("made", lambda x: 2 * x * x).status == "right"
    for way, most in ((one_by_one, 1), (together, 2)):
        verdict = judge("made", way)
        assert verdict.status == "wrong" and f"at most {most}" in verdict.message


def test_the_overlap_of_torchvision_is_no_answer():
    from torchvision.ops import box_iou

    verdict = judge("box_iou", lambda boxes, truth: box_iou(boxes, truth).diagonal())
    assert verdict.status == "wrong" and "box_iou. Write that part yourself" in verdict.message


def test_what_the_check_takes_itself_is_not_the_functions_time(exercise, monkeypatch):
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.3)
    exercise(expected=lambda x: time.sleep(0.2) or 2 * x)
    assert judge("made", lambda x: 2 * x).status == "right"
    assert "did not end" in judge("made", lambda x: time.sleep(0.1) or 2 * x).message
