"""The reader's progress: noted when right, never at the cost of a verdict, and lost by nothing."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from minimm.exercises import _progress, check, progress, quiz
from minimm.exercises._panel import Panel
from minimm.exercises._registry import EXERCISES, QUESTIONS


RIGHT = QUESTIONS["core_differences"].solution


def unit(features):
    return features / features.norm(dim=1, keepdim=True)


@pytest.fixture
def file(tmp_path, monkeypatch):
    file = tmp_path / "new folder" / "progress.json"
    monkeypatch.setenv("MINIMM_PROGRESS", str(file))
    return file


def test_tests_and_their_kernels_keep_none():
    assert os.environ["MINIMM_PROGRESS"] == "off" and _progress.progress_file() is None
    assert _progress.record("unit_length") == "" and _progress.done() == {}


def test_without_the_variable_it_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIMM_PROGRESS")
    monkeypatch.setattr(_progress.Path, "home", lambda: tmp_path)
    assert _progress.progress_file() == tmp_path / ".minimm" / "progress.json"


def test_only_what_is_right_is_noted(file, capsys):
    check.unit_length(lambda features: features)
    check.unit_length()
    quiz("core_differences", "A")
    assert not file.exists() and _progress.done() == {}
    check.unit_length(unit)
    quiz("core_differences", RIGHT)
    assert list(_progress.done()) == ["unit_length", "core_differences"]
    assert "could not" not in capsys.readouterr().out
    noted = file.read_bytes()
    check.unit_length(unit)
    check.unit_length(lambda features: features)  # once done stays done
    assert file.read_bytes() == noted
    assert json.loads(noted)["done"].keys() == {"unit_length", "core_differences"}


def test_buttons_note_as_well(file):
    panel = Panel(QUESTIONS["core_differences"], lambda: _progress.record("core_differences"))
    panel.buttons["A"].click()
    assert _progress.done() == {}
    panel.buttons[RIGHT].click()
    assert "core_differences" in _progress.done()


FOREIGN = ["", "{", "[]", '"text"', "{}", '{"done": {}}', '{"kind": "x", "done": {}}', '{"kind": 1}', "\x00", "null"]


@pytest.mark.parametrize("text", FOREIGN + [json.dumps({"kind": _progress.KIND, "done": []})])
def test_a_foreign_file_is_left_alone_and_costs_no_verdict(file, capsys, text):
    file.parent.mkdir()
    file.write_text(text)
    check.unit_length(unit)
    said = capsys.readouterr().out
    assert said.startswith("unit_length: right") and said.splitlines()[-1].startswith("(This could not")
    assert str(file) in said and "damaged" in said and "MINIMM_PROGRESS" in said
    progress()
    assert "damaged" in capsys.readouterr().out
    panel = Panel(QUESTIONS["core_differences"], lambda: _progress.record("core_differences"))
    panel.buttons[RIGHT].click()
    said = panel.said.outputs[0]["data"]["text/markdown"]
    assert "right" in said and "damaged" in said
    assert file.read_text() == text


def test_a_place_that_cannot_be_written_costs_no_verdict(tmp_path, monkeypatch, capsys):
    (tmp_path / "a file").write_text("")
    for place in (tmp_path / "a file" / "progress.json", tmp_path):
        monkeypatch.setenv("MINIMM_PROGRESS", str(place))
        check.unit_length(unit)
        said = capsys.readouterr().out
        assert said.startswith("unit_length: right") and "could not be noted" in said and "Traceback" not in said


def test_a_write_that_fails_leaves_the_old_file(file, monkeypatch):
    _progress.record("unit_length")
    before = file.read_bytes()

    def fail(path, write):
        raise OSError("disk full")

    monkeypatch.setattr(_progress, "write_whole", fail)
    assert "disk full" in _progress.record("recall_at_k")
    assert file.read_bytes() == before


def test_entries_of_another_version_of_the_course_stay(file):
    file.parent.mkdir()
    file.write_text(json.dumps({"kind": _progress.KIND, "done": {"of_tomorrow": "2030-01-01"}}))
    _progress.record("unit_length")
    assert list(_progress.done()) == ["of_tomorrow", "unit_length"]
    rows, summary = _progress.table(_progress.done())
    assert summary.startswith("1 of ")


def test_kernels_at_once_lose_nothing(file):
    """Threads stand for the kernels: the lock belongs to an opened file, of which each has its own."""
    with ThreadPoolExecutor(8) as pool:
        hindrances = list(pool.map(lambda n: _progress.record(f"exercise {n}"), range(64)))
    assert not any(hindrances) and len(_progress.done()) == 64


def test_progress_is_a_small_table(file, capsys):
    check.unit_length(unit)
    quiz("core_differences", RIGHT)
    capsys.readouterr()
    assert progress() is None
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line for line in shown.splitlines() if line}
    assert "check.unit_length" not in shown and 'quiz("core_differences")' not in shown
    assert "check.contrastive_loss" in lines["05"] and 'quiz("zero_shot_transfer")' in lines["05"]
    assert f"2 of {len(EXERCISES) + len(QUESTIONS)} are done." in shown
    minutes = sum(one.minutes for one in [*EXERCISES.values(), *QUESTIONS.values()] if one.lesson == "05")
    assert lines["05"].endswith(f" {minutes}")


def test_in_a_notebook_it_is_markdown():
    rows, _ = _progress.table({})
    lines = _progress.as_markdown(rows).splitlines()
    assert all(line.count("|") == 5 for line in lines) and len(lines) == len(rows) + 1
