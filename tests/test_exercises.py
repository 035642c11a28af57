"""The checks refuse what is wrong, accept what is right, survive everything, and give nothing away."""

import functools
import importlib.util
import math
import os
import random
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import minimm.exercises
from minimm.exercises import _judge, check, hint, show_solution
from minimm.exercises._exercise import furthest_row, lengths_in_words
from minimm.exercises._judge import judge
from minimm.exercises._registry import EXERCISES
from minimm.objectives import contrastive

NAMES = list(EXERCISES)
TENSORS = [name for name in NAMES if isinstance(next(iter(EXERCISES[name].cases()[0].inputs.values())), np.ndarray)]


def solution(name):
    space = {"torch": torch, "__name__": "notebook"}
    exec(EXERCISES[name].solution, space)
    return space[name]


# Right and wrong ways to do each exercise: a module a lesson in tests/ways. A wrong way comes with a word that the message
# must contain.

RIGHT, WRONG = {}, {}
for path in sorted((Path(__file__).parent / "ways").glob("*.py")):
    spec = importlib.util.spec_from_file_location(f"ways_{path.stem}", path)
    ways = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ways)
    RIGHT |= ways.RIGHT
    WRONG |= ways.WRONG

unit_by_loop, unit_by_columns, loss_by_einsum = *RIGHT["unit_length"][:2], RIGHT["contrastive_loss"][0]


def test_every_exercise_has_its_right_and_wrong_ways():
    assert set(RIGHT) == set(WRONG) == set(NAMES)
    assert all(len(RIGHT[name]) >= 2 and len(WRONG[name]) >= 4 for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_complete(name):
    one = EXERCISES[name]
    assert name == one.name and one.difficulty in (1, 2, 3) and one.minutes > 0 and re.fullmatch(r"\d\d", one.lesson)
    assert f"{name}(" in one.prompt and len(one.hints) >= 2 and one.fact


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_is_accepted_quickly(name):
    start = time.perf_counter()
    verdict = judge(name, solution(name))
    assert verdict.status == "right", verdict.message
    assert EXERCISES[name].fact in verdict.message
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name, way", [(name, way) for name in NAMES for way in range(len(RIGHT.get(name, [])))])
def test_other_right_ways_are_accepted(name, way):
    verdict = judge(name, RIGHT[name][way])
    assert verdict.status == "right", verdict.message


@pytest.mark.parametrize("name, way", [(name, way) for name in NAMES for way in WRONG.get(name, [])])
def test_wrong_ways_are_refused_and_named(name, way):
    student, word = WRONG[name][way]
    verdict = judge(name, student)
    assert verdict.status == "wrong", verdict.message
    assert re.search(word, verdict.message), verdict.message
    assert re.search(r"case \d+ \(", verdict.message)
    first = next(iter(EXERCISES[name].cases()[0].inputs.items()))
    if "case 1 (" in verdict.message:
        told = f" {' x '.join(map(str, first[1].shape))}" if isinstance(first[1], np.ndarray) else f" = {first[1]:.3g}"
        assert f"{first[0]}{told}" in verdict.message  # the input's shape, or the number that it is
    assert_gives_nothing_away(name, verdict.message)


def assert_gives_nothing_away(name, message):
    one = EXERCISES[name]
    code = [line.split("#")[0].strip() for line in one.solution.strip().splitlines()[1:]]
    assert not [line for line in code if line in message]
    case = one.cases()[(int((re.search(r"case (\d+) \(", message) or "01")[1]) - 1) // 2]  # each runs in two dtypes
    for expected in np.ravel(one.expected(**case.inputs)):
        if abs(expected - round(expected)) > 1e-6:  # 0, 1 and 100 are ordinary words
            assert not re.search(rf"(?<![\d.-]){re.escape(f'{expected:.3g}')}", message), message


def test_wrong_numbers_do_not_bring_the_right_ones_along():
    for value in (0.0, 1.0, -3.25):
        assert_gives_nothing_away("contrastive_loss", judge("contrastive_loss", lambda i, t, s: s * 0 + value).message)
        assert_gives_nothing_away("recall_at_k", judge("recall_at_k", lambda s, k: value).message)


@pytest.mark.parametrize("name", NAMES)
def test_every_known_slip_is_refused_and_recognised(name):
    """Fed as an answer, each slip's own formula must come back with its own words."""
    one = EXERCISES[name]
    for words, formula in one.slips:
        results = []  # of the cases in which the slip shows
        for case in one.cases():
            with np.errstate(all="ignore"):
                came = np.asarray(formula(**case.inputs))
            if not _judge._close(came, np.asarray(one.expected(**case.inputs)), torch.float64):
                results.append((case.inputs, came, torch.float64))
        assert results, f"shows in no case: {words}"
        assert _judge._slip(one, results) == words


@pytest.mark.parametrize("name", NAMES)
def test_cases_are_telling(name):
    cases = EXERCISES[name].cases()
    for case in cases[:2]:
        shape = np.shape(next(iter(case.inputs.values())))
        if name == "rollout":  # tokens look at tokens: its matrices are square
            shape = shape[:-1]
        assert len(set(shape)) == len(shape)  # no size twice: a swapped axis shows
    again = EXERCISES[name].cases()
    assert all(np.array_equal(x, y) for a, b in zip(cases, again) for x, y in zip(a.inputs.values(), b.inputs.values()))


def test_expected_values_of_the_loss_do_what_the_paper_says():
    one = EXERCISES["contrastive_loss"]
    values = [float(one.expected(**case.inputs)) for case in one.cases()]
    assert values[4] == pytest.approx(values[0])  # the order of the batch
    assert values[5] == pytest.approx(values[0])  # the modalities swapped
    assert values[6] == pytest.approx(values[0])  # longer features
    assert values[7] == pytest.approx(np.log(6))  # chance


# Functions that are not filled in, or that misbehave, for every exercise.

def not_filled(*inputs):
    raise NotImplementedError


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("student", [not_filled, lambda *_: None, lambda *_: ..., lambda *_: NotImplemented])
def test_unfilled_is_not_yet(name, student):
    verdict = judge(name, student)
    assert verdict.status == "not yet" and "not yet" in verdict.message
    assert_gives_nothing_away(name, verdict.message)


def helper_that_fails(tensor):
    return tensor.reshape(999, 999)


@pytest.mark.parametrize("name", NAMES)
def test_an_exception_is_told_with_its_line(name):
    def student(first, *rest):
        return torch.exp(helper_that_fails(torch.as_tensor(first)))

    verdict = judge(name, student)
    assert verdict.status == "error"
    assert "RuntimeError" in verdict.message and "return tensor.reshape(999, 999)" in verdict.message
    assert "Traceback" not in verdict.message and len(verdict.message) < 500


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


def raising(problem):
    def student(*_):
        raise problem

    return student


@pytest.mark.parametrize("problem", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Unprintable(), MemoryError()])
def test_whatever_is_raised_stays_inside(problem):
    verdict = judge("unit_length", raising(problem))
    assert verdict.status == "error" and type(problem).__name__ in verdict.message


@pytest.mark.parametrize("leave", [sys.exit, exit, quit, os._exit])
def test_leaving_python_stays_inside(leave):
    name = leave.name if hasattr(leave, "name") else leave.__name__  # looked up when called, as a reader's code does

    def student(*_):
        {"exit": lambda: exit(), "quit": lambda: quit(), "_exit": lambda: os._exit(1)}.get(name, sys.exit)()

    def direct(*_):
        sys.exit(1)

    verdict = judge("unit_length", direct if leave is sys.exit else student)
    assert verdict.status == "error" and "end the program" in verdict.message
    assert not sys.stdin.closed


def test_endless_recursion_is_told():
    def student(features):
        return student(features)

    assert "RecursionError" in judge("unit_length", student).message


def loop(*_):
    while True:
        pass


def loop_that_swallows(*_):
    while True:
        try:
            sum(range(100))
        except:  # noqa: E722
            pass


@pytest.mark.parametrize("student", [
    loop,
    pytest.param(loop_that_swallows, marks=pytest.mark.skipif(
        sys.version_info < (3, 11), reason="Python 3.10 takes no exception between the end of a try and its next round"
    )),
])
def test_an_endless_loop_is_stopped(student, monkeypatch):
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.3)
    before = threading.active_count()
    verdict = judge("recall_at_k", student)
    assert verdict.status == "error" and "loop" in verdict.message
    assert threading.active_count() == before


def test_the_time_limit_holds_for_all_cases_together(monkeypatch):
    assert _judge.TIME_LIMIT < 4.5  # a check takes under 5 s, half a second of them to stop the function
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.5)
    verdict = judge("unit_length", lambda features: time.sleep(0.1) or unit_by_loop(features))
    assert verdict.status == "error" and "did not end" in verdict.message


def test_what_cannot_be_stopped_is_left_behind(monkeypatch):
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.2)
    start = time.perf_counter()
    verdict = judge("unit_length", lambda features: time.sleep(2.0))
    assert verdict.status == "error" and "restart the kernel" in verdict.message
    assert time.perf_counter() - start < 1.8


@pytest.mark.parametrize("name", TENSORS)
def test_changing_an_input_is_named(name):
    right = RIGHT[name][0]

    def student(first, *rest):
        result = right(first, *rest)
        first.zero_()
        return result

    def in_transposed(first, *rest):
        result = right(first, *rest)
        first.t_() if first.ndim == 2 else first.transpose_(0, 1)
        return result

    for way in (student, in_transposed):
        verdict = judge(name, way)
        assert verdict.status == "wrong" and "in place" in verdict.message
        assert next(iter(EXERCISES[name].cases()[0].inputs)) in verdict.message


def test_division_in_place_is_named_even_when_the_result_is_right():
    def student(features):
        features /= features.norm(dim=1, keepdim=True)
        return features

    assert "in place" in judge("unit_length", student).message


@pytest.mark.parametrize("name", NAMES)
def test_constants_and_inputs_are_refused(name):
    right = EXERCISES[name].cases()[0]
    constant = torch.tensor(EXERCISES[name].expected(**right.inputs))
    for student in (
        lambda *inputs: constant,  # right for the first case
        lambda *inputs: constant.to(torch.as_tensor(inputs[0]).dtype),
        lambda *inputs: 0.0,
        lambda *inputs: torch.zeros_like(constant),
        lambda *inputs: torch.tensor(0.0),
        lambda *inputs: inputs[-1],
        lambda *inputs: inputs,
    ):
        assert judge(name, student).status == "wrong"
    verdict = judge(name, lambda *inputs: inputs[0])
    assert verdict.status == "wrong" and "handed back" in verdict.message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change, word", [
    (lambda x: x.detach().numpy() if x.ndim else [x.item()], "numpy array|a list"),
    (lambda x: x.tolist() if x.ndim else (x,), "a list|a tuple"),
    (lambda x: x[None], "shape"),
    (lambda x: x * torch.nan, "NaN"),
    (lambda x: x / 0, "infinity|NaN"),
    (lambda x: x.to(torch.complex64), "dtype|complex"),
    (lambda x: (y for y in [x]), "generator"),
    (lambda x: x.to("meta"), "meta"),
])
def test_the_wrong_kind_of_result_is_named(name, change, word):
    verdict = judge(name, lambda *inputs: change(torch.as_tensor(solution(name)(*inputs))))
    assert verdict.status == "wrong" and re.search(word, verdict.message), verdict.message
    assert "a constant" not in verdict.message  # NaN everywhere is not one


@pytest.mark.parametrize("name", ["unit_length", "contrastive_loss", "zero_shot_classifier"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_the_wrong_dtype_is_named(name, dtype):
    verdict = judge(name, lambda *inputs: solution(name)(*inputs).to(dtype))
    assert verdict.status == "wrong" and "dtype" in verdict.message and str(dtype)[6:] in verdict.message


def from_the_library(features):
    return furthest_row(features.numpy(), features.numpy())


def helper_from_the_library(features):
    return from_the_library(features)


def imports_from_the_library(features):
    from minimm.exercises._exercise import lengths_in_words

    return lengths_in_words(features)


def through_the_package(features):
    return minimm.exercises._exercise.lengths_in_words(features)


def imports_the_package(features):
    import minimm as m

    return m.objectives.contrastive.unit_length(features)


def imports_a_part(features):
    from minimm import objectives

    return objectives.contrastive.unit_length(features)


def imports_by_name(features):
    return importlib.import_module("minimm.objectives.contrastive").unit_length(features)


def among_the_modules(features):
    return sys.modules["minimm.objectives.contrastive"].unit_length(features)


def by_the_expected_values(features):
    return torch.from_numpy(EXERCISES["unit_length"].expected(features.numpy()))


def in_a_closure():
    function = contrastive.unit_length
    return lambda features: function(features)


class Holder:
    function = staticmethod(contrastive.unit_length)

    def __call__(self, features):
        return self.function(features)

    def method(self, features):
        return self.function(features)


TABLE = {"list": [contrastive.unit_length], "partial": functools.partial(contrastive.unit_length)}


@pytest.mark.parametrize("student", [
    imports_the_package, imports_a_part, imports_by_name, among_the_modules, by_the_expected_values, in_a_closure(),
    Holder(), Holder().method, functools.partial(lambda function, x: function(x), contrastive.unit_length),
    functools.partial(contrastive.unit_length), torch.no_grad()(contrastive.unit_length), contrastive.unit_length,
    lambda features, function=contrastive.unit_length: function(features),
    lambda features: TABLE["list"][0](features), lambda features: TABLE["partial"](features),
    lambda features: eval("contrastive.unit_length(features)", {**globals(), "features": features}),
    lambda features: contrastive.unit_length(features) / 0,
])
def test_the_library_is_found_behind_whatever_it_is_reached_through(student):
    verdict = judge("unit_length", student)
    assert verdict.status == "wrong" and "minimm" in verdict.message and "Write" in verdict.message


def test_the_readers_own_helpers_are_no_library():
    import einops

    helpers = {"length": lambda row: math.sqrt(einops.reduce(row.double() ** 2, "d -> ", "sum"))}

    def student(features, helper=helpers["length"]):
        minimm.device(), print("in between")
        return torch.stack([row / np.float64(helper(row)) for row in features]).to(features.dtype)

    assert judge("unit_length", student).status == "right"


def test_the_judge_leaves_the_readers_profiler_alone():
    def profile(*_):
        pass

    sys.setprofile(profile)
    try:
        assert judge("unit_length", unit_by_loop).status == "right"
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("student", [
    furthest_row, functools.partial(furthest_row), from_the_library, helper_from_the_library,
    imports_from_the_library, through_the_package, lambda features: lengths_in_words(features),
    F.normalize, torch.softmax, nn.Softmax(dim=1), torch.Tensor, len, np.linalg.norm,
])
def test_the_librarys_own_functions_are_refused(student):
    verdict = judge("unit_length", student)
    assert verdict.status == "wrong" and "Write" in verdict.message


def test_the_librarys_own_loss_is_refused():
    ours = [x for x in vars(contrastive).values() if callable(x) and getattr(x, "__module__", "") == contrastive.__name__]
    assert ours
    for function in ours:
        assert "minimm" in judge("contrastive_loss", function).message


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_function(name):
    missing = judge(name)
    assert missing.status == "error" and f"check.{name}({name})" in missing.message
    for thing in (None, 3, torch.zeros(3), "text"):
        verdict = judge(name, thing)
        assert verdict.status == "error" and "without calling it" in verdict.message
    arity = judge(name, lambda: 1)
    assert arity.status == "error" and "TypeError" in arity.message


def test_a_module_or_a_method_is_judged_as_well():
    class Unit(nn.Module):
        def forward(self, features):
            return unit_by_loop(features)

    assert judge("unit_length", Unit()).status == "right"
    assert judge("unit_length", Unit().forward).status == "right"


def norm_over(features, dim):
    return features / features.norm(dim=dim, keepdim=True)


@torch.no_grad()
def without_gradient(features):
    return norm_over(features, 1)


@functools.wraps(F.normalize)
def under_another_name(features):
    return norm_over(features, 1)


@pytest.mark.parametrize("student", [
    functools.partial(norm_over, dim=1), functools.partial(functools.partial(norm_over), dim=1), without_gradient,
    under_another_name, torch.inference_mode()(without_gradient), torch.compile(unit_by_columns, backend="eager"),
])
def test_a_partial_or_decorated_function_is_judged_as_it_is(student, monkeypatch):
    monkeypatch.setattr(_judge, "TIME_LIMIT", 60)  # torch.compile takes its time
    verdict = judge("unit_length", student)
    assert verdict.status == "right", verdict.message


def test_an_exception_in_a_decorated_function_is_told_with_its_line():
    verdict = judge("unit_length", torch.no_grad()(helper_that_fails))
    assert "return tensor.reshape(999, 999)" in verdict.message


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_readers_gradient_mode_does_not_matter(mode):
    with mode():
        assert judge("contrastive_loss", loss_by_einsum).status == "right"


def test_random_state_is_left_alone():
    def student(features):
        torch.manual_seed(1), np.random.seed(1), random.seed(1)
        return unit_by_loop(features)

    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    expected = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    assert judge("unit_length", student).status == "right"
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1]) and random.random() == expected[2]


def test_the_default_dtype_is_left_alone():
    def student(features):
        torch.set_default_dtype(torch.float64)
        return unit_by_loop(features)

    before = torch.get_default_dtype()
    try:
        assert judge("unit_length", student).status == "right"
        assert torch.get_default_dtype() == before
    finally:
        torch.set_default_dtype(before)


def test_what_a_function_prints_is_kept_short(capsys):
    def student(features):
        for _ in range(10_000):
            print("here I am")
        return features * 2

    check.unit_length(student)
    shown = capsys.readouterr().out
    assert "here I am" in shown and len(shown) < 1_000


# The public face.

def test_check_lists_the_exercises_and_nothing_else():
    assert dir(check) == sorted(NAMES)
    assert all(callable(getattr(check, name)) for name in NAMES)
    assert check.unit_length.__doc__ == EXERCISES["unit_length"].prompt
    with pytest.raises(AttributeError, match="unit_length"):
        check.unit_lenght
    with pytest.raises(AttributeError, match="contrastive_loss"):
        check.zzz


def test_check_prints_its_verdict(capsys):
    assert check.unit_length(unit_by_loop) is None
    assert capsys.readouterr().out.startswith("unit_length: right")
    check.unit_length()
    assert "check.unit_length(unit_length)" in capsys.readouterr().out


def test_hints_come_one_after_another(capsys, monkeypatch):
    monkeypatch.setattr(minimm.exercises, "_hints_shown", {})
    hints = EXERCISES["unit_length"].hints
    for text in hints:
        hint("unit_length")
        assert text in capsys.readouterr().out
    hint("unit_length")
    assert "show_solution" in capsys.readouterr().out
    hint("unit_length")
    assert hints[0] in capsys.readouterr().out


@pytest.mark.parametrize("show", [hint, show_solution])
def test_unknown_names(show):
    with pytest.raises(ValueError, match="recall_at_k"):
        show("recall_at_5")
    with pytest.raises(TypeError, match="name"):
        show(unit_by_loop)


def test_a_solution_is_shown_and_not_defined(capsys):
    before = set(globals())
    assert show_solution("recall_at_k") is None
    assert capsys.readouterr().out.strip() == EXERCISES["recall_at_k"].solution.strip()
    assert set(globals()) == before


def test_nothing_but_the_tests_runs_a_solution(monkeypatch):
    """With every solution replaced by nonsense, the verdicts stay as they are."""
    for name in NAMES:
        broken = object.__new__(type(EXERCISES[name]))
        broken.__dict__.update(EXERCISES[name].__dict__, solution="raise SystemExit")
        monkeypatch.setitem(EXERCISES, name, broken)
        assert judge(name, RIGHT[name][0]).status == "right"
        assert judge(name, lambda *_: None).status == "not yet"
