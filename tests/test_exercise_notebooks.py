"""Lessons and their solutions say what minimm/exercises says: hints and solutions are written once."""

import re
from pathlib import Path

import nbformat
import pytest

from minimm.exercises._registry import EXERCISES, QUESTIONS

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = ROOT / "notebooks" / "solutions"
STALE = "is stale: run .venv/bin/python tools/sync_exercises.py notebooks/{}.ipynb"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import sync_exercises

    return sync_exercises


def asked(tool, notebook):
    return [name for cell in notebook.cells for name in tool.calls(cell)]


def plain(notebook):
    return [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in notebook.cells]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_hints_and_solutions_unfold(path, tool):
    notebook = nbformat.read(path, as_version=4)
    assert plain(notebook) == plain(tool.with_unfolding(notebook)), f"{path.name} {STALE.format(path.stem)}"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_solutions_are_up_to_date(path, tool):
    notebook = nbformat.read(path, as_version=4)
    names = asked(tool, notebook)
    target = SOLUTIONS / path.name
    assert target.exists() == bool(names), f"solutions/{path.name} {STALE.format(path.stem)}"
    if names:
        stored = nbformat.read(target, as_version=4)
        assert plain(stored) == plain(tool.solved(notebook, path.stem)), f"solutions/{path.name} {STALE.format(path.stem)}"
        for cell in stored.cells:
            assert all("right" in str(cell.outputs) for name in tool.calls(cell)), cell.source


def test_no_solutions_without_a_lesson():
    assert {path.name for path in SOLUTIONS.glob("*.ipynb")} <= {path.name for path in LESSONS}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_asks_what_belongs_to_it(path, tool):
    names = asked(tool, nbformat.read(path, as_version=4))
    every = {**EXERCISES, **QUESTIONS}
    assert len(names) == len(set(names)), "asked twice"
    assert sorted(names) == sorted(name for name, one in every.items() if one.lesson == path.stem[:2])


# The tool.

CHECK = "def unit_length(features):\n    ...  # your code here\n\n\ncheck.unit_length(unit_length)"


def lesson(*sources):
    """A notebook; what begins with # or < is Markdown."""
    new = {True: nbformat.v4.new_markdown_cell, False: nbformat.v4.new_code_cell}
    return nbformat.v4.new_notebook(cells=[new[source[0] in "#<"](source) for source in sources])


def test_unfolding_parts_are_put_behind_an_exercise(tool):
    changed = tool.with_unfolding(lesson("# A lesson", CHECK, 'quiz("core_differences")', "# The end"))
    assert [cell.cell_type for cell in changed.cells] == ["markdown", "code", "markdown", "code", "markdown"]
    text = changed.cells[2].source
    for part in (*EXERCISES["unit_length"].hints, EXERCISES["unit_length"].solution.strip()):
        assert text.count(part) == 1
    assert text.count("<details>") == text.count("</details>") == text.count("</summary>\n\n") == 4
    assert plain(tool.with_unfolding(changed)) == plain(changed)
    nbformat.validate(changed)


def test_old_unfolding_parts_are_replaced_and_text_behind_them_stays(tool):
    old = "<details><summary>Hint</summary>\n\nold\n\n</details>\n<details><summary>Solution</summary>\n\nold\n\n</details>"
    own = "## Next\n\n<details><summary>More</summary>\n\nmore\n\n</details>"
    for behind, rest in ((old, ""), (f"{old}\n\n{own}", own)):
        changed = tool.with_unfolding(lesson(CHECK, behind, "# The end"))
        assert len(changed.cells) == 3 and "old" not in changed.cells[1].source
        assert changed.cells[1].source == tool.unfolding("unit_length") + (f"\n\n{rest}" if rest else "")
        assert plain(tool.with_unfolding(changed)) == plain(changed)
    other = tool.with_unfolding(lesson(CHECK, own, "# The end"))
    assert len(other.cells) == 4 and other.cells[2].source == own


def test_solutions_have_the_exercises_only(tool):
    notebook = tool.solved(lesson("# A lesson", "x = 1", CHECK, 'quiz("core_differences")'), "00-start-here")
    nbformat.validate(notebook)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert len(sources) == 3 and re.search(r'MINIMM_PROGRESS"\] = "off"', sources[0])
    assert sources[1].startswith(EXERCISES["unit_length"].solution.strip()) and sources[1].endswith("check.unit_length(unit_length)")
    assert sources[2] == f'quiz("core_differences", "{QUESTIONS["core_differences"].solution}")'
    assert all(max(map(len, source.splitlines())) <= 120 for source in sources)
