"""Questions: well formed, readable without a control, and every answer is answered."""

import math
import re

import pytest

import minimm.exercises
from minimm.exercises import check, quiz
from minimm.exercises._panel import Panel
from minimm.exercises._question import Choice, Number, Option, Slip, to_number
from minimm.exercises._registry import EXERCISES, QUESTIONS

NAMES = list(QUESTIONS)


def texts(question):
    yield from (question.prompt, question.run)
    if isinstance(question, Choice):
        yield from (text for option in question.options for text in (option.text, option.feedback))
    else:
        yield from (question.right, question.wrong, *(slip.feedback for slip in question.slips))


def assert_formulas_are_whole(text):
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text), "a backslash was read as a control character: use a raw string"
    plain = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S).replace(r"\$", "")
    parts = re.split(r"\$\$?", plain)
    assert len(parts) % 2, f"a dollar sign without its partner: {text}"
    for formula in parts[1::2]:
        braces = re.sub(r"\\[{}]", "", formula)
        assert braces.count("{") == braces.count("}"), formula
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula)), formula
        assert formula.strip() == formula and "\n\n" not in formula, formula  # "$ x $" is no formula in Markdown
    for words in parts[::2]:
        assert not re.search(r"\\[a-zA-Z]+\{|\\(alpha|tau|frac|sum)\b", words), f"a formula outside of dollar signs: {words}"


@pytest.mark.parametrize("text", ["half $x", "$\\frac{1}{2$", "\frac", "$ x $", r"\frac{1}{2}", r"$\left( x )$"])
def test_broken_formulas_are_noticed(text):
    with pytest.raises(AssertionError):
        assert_formulas_are_whole(text)


@pytest.mark.parametrize("name", list(EXERCISES))
def test_formulas_of_exercises(name):
    one = EXERCISES[name]
    for text in (one.prompt, *one.hints, one.fact):
        assert_formulas_are_whole(text)


def test_names_are_used_once():
    from minimm.exercises._registry import _load

    names = [question.name for questions in _load("quizzes", "QUESTIONS") for question in questions]
    names += [exercise.name for exercise in _load("", "EXERCISE")]
    assert len(names) == len(set(names)) == len(EXERCISES) + len(QUESTIONS)


def test_the_lectures_closing_questions_are_asked():
    asked = {name: QUESTIONS[name].lesson for name in (
        "core_differences", "zero_shot_transfer", "recall_by_hand", "data_for_pretraining", "role_of_momentum_distillation",
        "albef_is_fast")}
    assert list(asked.values()) == ["02", "05", "01", "09", "09", "08"]


@pytest.mark.parametrize("name", NAMES)
def test_well_formed(name):
    one = QUESTIONS[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]+", name) and re.fullmatch(r"\d\d", one.lesson)
    assert one.difficulty in (1, 2, 3) and 1 <= one.minutes <= 15
    for text in texts(one):
        assert_formulas_are_whole(text)
    if isinstance(one, Choice):
        assert 2 <= len(one.options) <= 6 and any(one.options[i].right for i in range(len(one.options)))
        assert not all(option.right for option in one.options)
        assert len({option.text for option in one.options}) == len(one.options)
        assert all(option.text and len(option.feedback) > 30 and "\n\n" not in option.text for option in one.options)
    else:
        assert math.isfinite(one.answer) and one.tolerance > 0 and len(one.right) > 30 and len(one.wrong) > 30
        assert all(len(slip.feedback) > 20 for slip in one.slips)
    if one.run:
        assert one.run[0].isupper() and one.run.rstrip().endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_answered(name):
    one = QUESTIONS[name]
    assert one.respond(one.solution).right
    if isinstance(one, Choice):
        for letter, option in zip(one.letters, one.options):
            response = one.respond(letter.lower())
            assert response.right == option.right and option.feedback in response.text
    else:
        assert one.right in one.respond(one.answer).text
        for slip in one.slips:
            response = one.respond(slip.value)
            assert not response.right and slip.feedback in response.text  # no slip hides another, or the answer
        other = one.respond(one.answer + 1000 * (1 + abs(one.answer)))
        assert not other.right and one.wrong in other.text
        # what is said to wrong numbers must not bring the right one along
        for text in (one.prompt, one.wrong, *(slip.feedback for slip in one.slips)):
            assert not re.search(rf"(?<![\d.,@]){re.escape(one.solution)}(?![\d]|[.,]\d)", text), text


@pytest.mark.parametrize("name", NAMES)
def test_the_static_text_is_complete(name):
    one = QUESTIONS[name]
    assert one.prompt.strip() in one.markdown and f"difficulty {one.difficulty} of 3" in one.markdown
    if isinstance(one, Choice):
        assert all(f"**{letter}.** {option.text}" in one.markdown for letter, option in zip(one.letters, one.options))
        assert not any(option.feedback in one.markdown for option in one.options)
    else:
        assert one.unit in one.markdown


def said(panel):
    return "".join(output["data"]["text/markdown"] for output in panel.said.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_answering_by_hand(name):
    one, done = QUESTIONS[name], []
    panel = Panel(one, lambda: done.append(name))
    if one.run:
        panel.answer(one.solution)
        panel.compare.click()
        assert done == [name]
    elif isinstance(one, Choice):
        assert "".join(panel.buttons) == one.letters
        for letter, option in zip(one.letters, one.options):
            before = len(done)
            panel.buttons[letter].click()
            assert option.feedback in said(panel) and len(done) - before == option.right
            assert panel.buttons[letter].button_style == ("success" if option.right else "danger")
    else:
        for value, text, right in [(one.answer, one.right, True), *((slip.value, slip.feedback, False) for slip in one.slips)]:
            done.clear()
            panel.entry.value = str(value)  # as Enter does
            assert text in said(panel) and bool(done) == right


TWO = Choice(name="two", lesson="00", difficulty=1, minutes=1, prompt="Which?", options=(
    Option("one", "because of this"), Option("two", "first reason", right=True), Option("three", "second reason", right=True)))
PREDICTED = Choice(name="predicted", lesson="00", difficulty=1, minutes=1, prompt="What happens?", run="Run the next cell.", options=(
    Option("it falls", "it rose"), Option("it rises", "so it does", right=True)))
HALF = Number(name="half", lesson="00", difficulty=1, minutes=1, prompt="?", answer=0.5, tolerance=0.01, unit="nats", right="half",
              wrong="halve it", slips=(Slip(50, "no percent"),))


def test_several_right_answers_each_count():
    assert [TWO.respond(letter).right for letter in "ABC"] == [False, True, True]
    assert "another right answer" in TWO.respond("B").text and "another" not in TWO.respond("A").text


def test_a_prediction_is_told_nothing_until_it_is_compared():
    done = []
    panel = Panel(PREDICTED, lambda: done.append(1))
    assert panel.compare.disabled and panel.compare in panel.box.children[0].children
    panel.buttons["B"].click()
    panel.buttons["A"].click()  # may be changed
    assert "**A**" in said(panel) and "Run the next cell." in said(panel) and "it rose" not in said(panel)
    assert not done and not panel.compare.disabled and not panel.buttons["A"].button_style
    panel.compare.click()
    assert "it rose" in said(panel) and "so it does" in said(panel) and done  # it was done, though predicted wrong
    panel.buttons["B"].click()
    assert said(panel).count("so it does") == 1 and "it rose" not in said(panel)
    assert "Predict first" in PREDICTED.markdown and "Run the next cell." in PREDICTED.markdown


def test_a_number_is_typed_and_checked():
    done = []
    panel = Panel(HALF, lambda: done.append(1))
    assert panel.compare not in panel.box.children[0].children
    panel.buttons["check"].click()
    assert "Type a number" in said(panel)
    panel.entry.value = "half"
    assert "Type a number" in said(panel) and not done
    panel.entry.value = "50"
    assert "no percent" in said(panel) and not done
    panel.entry.value = "0,5 nats"
    assert "right" in said(panel) and done


@pytest.mark.parametrize("text, number", [
    ("0.25", 0.25), (" 1e-3 ", 1e-3), ("1,000", 1000), ("1,234,567.5", 1234567.5), ("0,25", 0.25), ("\N{MINUS SIGN}3", -3),
    ("50 %", 50), ("50%", 50), (7, 7), (0.5, 0.5), ("0,693", 0.693), ("-0,125", -0.125),
])
def test_numbers_as_people_type_them(text, number):
    assert to_number(text, "%") == number


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1,2,3", None, "1.2.3"])
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match="answer"):
        to_number(text)


# The public face.

def test_outside_a_notebook_it_is_text(capsys):
    assert quiz("core_differences") is None
    shown = capsys.readouterr().out
    assert QUESTIONS["core_differences"].markdown in shown and 'quiz("core_differences", YOUR_ANSWER)' in shown
    quiz("core_differences", QUESTIONS["core_differences"].solution.lower())
    assert "right" in capsys.readouterr().out
    with pytest.raises(ValueError, match="answer: expected one of A, B, C, D"):
        quiz("core_differences", "E")
    with pytest.raises(ValueError, match="answer: expected a number"):
        quiz("recall_by_hand", "B")


def test_long_verdicts_are_broken_between_words(capsys):
    check.unit_length(lambda features: features / features.norm(dim=1, keepdim=True))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1 and max(map(len, lines)) <= 100 and EXERCISES["unit_length"].fact in " ".join(lines)


def test_unknown_names():
    with pytest.raises(ValueError, match="core_differences"):
        quiz("core_diferences")
    with pytest.raises(TypeError, match="name"):
        quiz(3)


def test_in_a_notebook_the_text_comes_first(monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    monkeypatch.setattr("minimm.exercises._show.in_notebook", lambda: True)
    monkeypatch.setattr(minimm.exercises, "in_notebook", lambda: True)
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            quiz("core_differences")
        text, widget = captured.outputs
        assert text.data["text/markdown"] == QUESTIONS["core_differences"].markdown
        assert "application/vnd.jupyter.widget-view+json" in widget.data
    finally:
        InteractiveShell.clear_instance()
