"""Bring notebooks in line with minimm/exercises: for those who change an exercise or a lesson.

    .venv/bin/python tools/sync_exercises.py [notebooks/05-clip.ipynb ...]

Hints and solutions are written once, in minimm/exercises. From there come the cells behind each exercise of a lesson, in
which they unfold, and notebooks/solutions: the lesson's exercises alone, filled in, run and checked. Without arguments
every lesson is brought in line.
"""

import os
import re
import sys
from pathlib import Path

import nbformat
from store_outputs import run, store

from minimm.exercises._registry import EXERCISES, QUESTIONS

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CALL = re.compile(r'^check\.(\w+)\(\1\)|^quiz\("(\w+)"\)', flags=re.M)
UNFOLDING = re.compile(r"\A(<details><summary>(Hint|Solution)[^<]*</summary>.*?</details>\s*)+", flags=re.S)

SETUP = """import os

import torch

from minimm.exercises import check, quiz

os.environ["MINIMM_PROGRESS"] = "off"  # what is done here was not done by you"""


def calls(cell):
    """The names of the exercises and questions that a cell asks."""
    return [check or quiz for check, quiz in CALL.findall(cell.source)] if cell.cell_type == "code" else []


def unfolding(name):
    """Hints and solution of an exercise, each behind a line that unfolds it."""
    exercise = EXERCISES[name]
    count = len(exercise.hints)
    parts = [(f"Hint {n} of {count}", hint) for n, hint in enumerate(exercise.hints, 1)]
    parts.append(("Solution", f"```python\n{exercise.solution.strip()}\n```"))
    return "\n".join(f"<details><summary>{title}</summary>\n\n{text}\n\n</details>" for title, text in parts)


def with_unfolding(notebook):
    """The lesson with the cell behind each exercise up to date; whatever follows the unfolding parts in it stays."""
    cells = []
    for number, cell in enumerate(notebook.cells):
        names = [name for name in (calls(notebook.cells[number - 1]) if number else []) if name in EXERCISES]
        if names and cell.cell_type == "markdown" and UNFOLDING.match(cell.source):
            rest = UNFOLDING.sub("", cell.source)
            cells[-1].source = f"{cells[-1].source}\n\n{rest}" if rest else cells[-1].source
            continue
        cells.append(cell.copy())
        for name in calls(cell):
            if name in EXERCISES:
                behind = nbformat.v4.new_markdown_cell(unfolding(name))
                behind.id = f"unfold-{name}"
                cells.append(behind)
    return nbformat.from_dict({**notebook, "cells": cells})


def solved(notebook, stem):
    """The exercises of a lesson, filled in, not yet run."""
    heading = (
        f"# Solutions of [{stem}](../{stem}.ipynb)\n\n"
        "One way to do each exercise: yours may be another one and as good. Try them in the lesson first."
    )
    cells = [nbformat.v4.new_markdown_cell(heading), nbformat.v4.new_code_cell(SETUP)]
    for name in (name for cell in notebook.cells for name in calls(cell)):
        cells.append(nbformat.v4.new_markdown_cell(f"## {name}"))
        if name in EXERCISES:
            cells[-1].source += f"\n\n{EXERCISES[name].prompt}"
            source = f"{EXERCISES[name].solution.strip()}\n\n\ncheck.{name}({name})"
        else:
            source = f'quiz("{name}", "{QUESTIONS[name].solution}")'
        cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": ["nbval-check-output"]}))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:02}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def main(paths):
    for path in map(Path, paths or sorted(NOTEBOOKS.glob("*.ipynb"))):
        notebook = nbformat.read(path, as_version=4)
        if not any(map(calls, notebook.cells)):
            continue
        changed = with_unfolding(notebook)
        if changed != notebook:
            store(changed, path)
        solutions = solved(changed, path.stem)
        target = path.parent / "solutions" / path.name
        target.parent.mkdir(exist_ok=True)
        run(solutions, target)
        refused = [name for cell in solutions.cells for name in calls(cell) if "right" not in str(cell.outputs)]
        if refused:
            sys.exit(f"{path.name}: the solution is not accepted: {', '.join(refused)}")
        store(solutions, target)
        print(f"{path.name}: {len(solutions.cells) // 2 - 1} exercises", flush=True)


if __name__ == "__main__":
    os.environ["MINIMM_PROGRESS"] = "off"
    main(sys.argv[1:])
