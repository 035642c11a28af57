"""notebooks/README.md says what the lessons say: its tables are made from them."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from minimm.exercises._registry import EXERCISES, QUESTIONS

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
TEXT = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
LESSONS = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(NOTEBOOKS.parent / "tools"))
    import index_lessons

    return index_lessons


def test_the_index_is_up_to_date(tool):
    assert tool.indexed(TEXT) == TEXT, "notebooks/README.md is stale: run .venv/bin/python tools/index_lessons.py"


def test_every_exercise_is_listed_once(tool):
    listed = re.findall(r"^\| \[\d\d\][^|]*\| `(\w+)` \|", TEXT, flags=re.M)
    assert sorted(listed) == sorted([*EXERCISES, *QUESTIONS])


def test_every_question_that_is_asked_often_is_listed(tool):
    marked = sum(cell.source.count("**Asked often:**") for notebook in tool.lessons().values() for cell in notebook.cells)
    found = [question for notebook in tool.lessons().values() for question in tool.asked(notebook)]
    assert len(found) == len(set(found)) == marked and all(TEXT.count(question[1:]) >= 1 for question in found)


def test_links_lead_somewhere():
    for name in ("README.md", "INSTRUCTORS.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (NOTEBOOKS / name).read_text(encoding="utf-8")):
            assert (NOTEBOOKS / target).exists(), f"{name}: {target}"


def test_every_lesson_has_its_topics_and_its_class():
    topics = TEXT.partition("## By topic")[2].partition("\n## ")[0]
    classes = (NOTEBOOKS / "INSTRUCTORS.md").read_text(encoding="utf-8")
    for lesson in LESSONS:
        assert f"./{lesson}.ipynb" in topics and f"./{lesson}.ipynb" in classes, lesson


def test_teachers_are_sent_to_exercises_that_exist():
    text = (NOTEBOOKS / "INSTRUCTORS.md").read_text(encoding="utf-8")
    plan = "\n".join(line for line in text.partition("## Four classes")[2].partition("### With two")[0].splitlines()
                     if line.startswith(("|", "At home")))
    named = re.findall(r"`(\w+)`", plan)
    assert len(named) > 10 and set(named) <= {*EXERCISES, *QUESTIONS}, set(named) - {*EXERCISES, *QUESTIONS}


def test_questions_are_read_in_whatever_way_they_are_written(tool):
    text = "**Asked often:** *why is\nthere an exp, and what is `a*b`?* Because."
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("# " + text[:20])])
    assert tool.asked(notebook) == ["why is there an exp, and what is `a*b`?"]


def test_experiments_are_counted(tool):
    texts = ("### Experiment: how small may a batch be? (about 15 minutes)", "### Exercise 4: an experiment (about 20 minutes)",
             "## Exercise 5, an experiment: break a map (about 1 minute)", "An experiment (about 3 minutes)")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in texts])
    assert [(name, what, minutes) for name, what, _, _, minutes in tool.rows(notebook)] == [
        ("experiment", "how small may a batch be?", 15), ("Exercise 4", "", 20), ("experiment", "break a map", 1)]


def test_what_is_asked_in_a_few_words(tool):
    assert all(tool.task(one) for one in EXERCISES.values())
    assert tool.task(EXERCISES["all_views_loss"]).endswith("(Tian et al. 2020)")
    assert tool.task(QUESTIONS["all_pairs"]).startswith("How many hours")


def test_times_are_told_as_people_tell_them(tool):
    assert [tool.hours(minutes) for minutes in (0, 1, 58, 62, 120)] == ["-", "5 min", "1 h", "1 h 5 min", "2 h"]
    assert [tool.run_all(seconds) for seconds in (None, 12, 31, 75, 100)] == \
        ["-", "half a minute", "1 minute", "1.5 minutes", "2 minutes"]


def test_a_part_without_a_place_and_a_lesson_without_a_row_are_noticed(tool):
    with pytest.raises(ValueError, match="asked"):
        tool.indexed(TEXT.replace("<!-- end asked -->", ""))
    with pytest.raises(ValueError, match="00-start-here"):
        tool.indexed(TEXT.replace("| [00-start-here]", "| [no-such-lesson]"))


def test_teachers_are_told_enough_memory(tool):
    told = (NOTEBOOKS / "INSTRUCTORS.md").read_text(encoding="utf-8")
    assert int(re.search(r"at most (\d+) GB", told)[1]) >= json.loads(tool.TIMES.read_text(encoding="utf-8"))["gigabytes"]
