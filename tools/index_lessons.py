"""Bring the tables of notebooks/README.md in line with the lessons: for those who change a lesson or an exercise.

    .venv/bin/python tools/index_lessons.py                    write the tables anew
    .venv/bin/python tools/index_lessons.py --measure [NAME]   first measure how long a lesson runs (without NAME: all)

What stands between two comments, `<!-- begin ... -->` and `<!-- end ... -->`, is written here; all else by hand. Of the
lessons' table the first two columns stay as they are.
"""

import json
import math
import os
import re
import sys
from pathlib import Path

import nbformat
from sync_exercises import calls

from minimm.exercises._question import Choice
from minimm.exercises._registry import EXERCISES, QUESTIONS

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
INDEX = NOTEBOOKS / "README.md"
TIMES = NOTEBOOKS.parent / "data" / "run_all.json"  # lesson -> seconds
WORDS_A_MINUTE, MINUTES_A_CELL = 120, 0.5  # what a derivation needs, and a cell to be run, changed and looked at
ASKED = re.compile(r"\*\*Asked often:\*\*\s+\*((?:`[^`]*`|\$[^$]*\$|[^*`$])+)\*")
TASK = re.compile(r"Write `[^`]+`:\s+(.+?[.?:])(?=\s+[A-Z`]|$)", flags=re.S)
EXPERIMENT = re.compile(r"^#+ (?:Exercise \d+, an )?[Ee]xperiment: (.+?) \(about (\d+) minutes?\)|"
                        r"^#+ (Exercise \d+): an experiment \(about (\d+) minutes?\)", flags=re.M)


def lessons():
    """{name: notebook} in order."""
    return {path.stem: nbformat.read(path, as_version=4) for path in sorted(NOTEBOOKS.glob("*.ipynb"))}


def task(one):
    """What an exercise or a question asks, in a few words of its own; "" where it takes more."""
    if one.name in EXERCISES:
        found = TASK.match(one.prompt)
        text = found[1].rstrip(".:") if found else ""
    else:
        text = next((part for part in re.split(r"(?<=[.?])\s+", one.prompt)[::-1] if part.endswith("?")), "")
        text = text if len(text.split()) > 4 else ""
    return " ".join(text.split()).replace("|", "\\|")


def rows(notebook):
    """What a lesson asks, in its order: (name, what is asked, kind, difficulty, minutes)."""
    found = []
    for cell in notebook.cells:
        for name in calls(cell):
            if name in EXERCISES:
                one, kind = EXERCISES[name], "code"
            else:
                one = QUESTIONS[name]
                kind = "prediction" if one.run else "choice" if isinstance(one, Choice) else "number"
            found.append((f"`{name}`", task(one), kind, str(one.difficulty), one.minutes))
        if cell.cell_type == "markdown":
            for match in EXPERIMENT.finditer(cell.source):
                title, minutes, number, other = match.groups()
                found.append((number or "experiment", title or "", "experiment", "-", int(minutes or other)))
    return found


def hours(minutes):
    """A time for people: to five minutes."""
    whole, rest = divmod(5 * math.ceil(minutes / 5), 60)
    return " ".join(part for part in (f"{whole} h" if whole else "", f"{rest} min" if rest else "") if part) or "-"


def run_all(seconds):
    if seconds is None:
        return "-"
    halves = max(1, math.ceil(seconds / 30))
    return "half a minute" if halves == 1 else f"{halves / 2:g} minute{'s' if halves > 2 else ''}"


def reading(notebook):
    """Minutes to read a lesson and to work through its cells; what unfolds is not counted."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown" and "<details>" not in cell.source]
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    return sum(len(text.split()) for text in texts) / WORDS_A_MINUTE + MINUTES_A_CELL * cells


def lesson_table(old):
    """The rows that stand there, with their times; raises ValueError unless all lessons have a row, in order."""
    known = json.loads(TIMES.read_text(encoding="utf-8"))["seconds"] if TIMES.exists() else {}
    told = dict(re.findall(r"^\| \[(\d\d-[^]]+)\][^|]*\| ([^|]+?) \|", old, flags=re.M))
    every = lessons()
    if list(told) != list(every):
        raise ValueError(f"{INDEX.name}: its rows should be {', '.join(every)}; they are {', '.join(told)}")
    lines = ["| lesson | what it answers | to read and run | exercises | *Run All* |", "| --- | --- | --- | --- | --- |"]
    sums = [0, 0]
    for name, notebook in every.items():
        minutes = reading(notebook), sum(row[-1] for row in rows(notebook))
        sums = [a + b for a, b in zip(sums, minutes)]
        lines.append(f"| [{name}]({name}.ipynb) | {told[name]} | {' | '.join(map(hours, minutes))} | {run_all(known.get(name))} |")
    return "\n".join([*lines, f"| all | | {' | '.join(map(hours, sums))} | |"])


def exercise_table(_):
    lines = ["| lesson | exercise | what is asked | kind | difficulty | minutes |", "| --- | --- | --- | --- | --- | --: |"]
    for name, notebook in lessons().items():
        lines += [f"| [{name[:2]}](./{name}.ipynb) | {' | '.join(map(str, row))} |" for row in rows(notebook)]
    return "\n".join(lines)


def asked(notebook):
    """The questions that are asked often and answered in a lesson, in its words."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return [" ".join(found.split()) for text in texts for found in ASKED.findall(text)]


def asked_list(_):
    return "\n".join(f"- {question[0].upper()}{question[1:]} [{name}](./{name}.ipynb)"
                     for name, notebook in lessons().items() for question in asked(notebook))


PARTS = {"lessons": lesson_table, "exercises": exercise_table, "asked": asked_list}


def indexed(text):
    """The index with all its parts written anew. Raises ValueError if a part has no place in it."""
    for name, part in PARTS.items():
        place = re.compile(rf"(<!-- begin {name}\b[^>]*-->\n)(.*?)(\n<!-- end {name} -->)", flags=re.S)
        if len(place.findall(text)) != 1:
            raise ValueError(f"{INDEX.name}: no place, or more than one, for the part {name!r}")
        text = place.sub(lambda found: found[1] + part(found[2]) + found[3], text)
    return text


def measure(names):
    """Run lessons, and note how long the processor worked for each, whatever else the machine did, and the most memory."""
    import resource

    from store_outputs import run

    told = json.loads(TIMES.read_text(encoding="utf-8")) if TIMES.exists() else {"gigabytes": 0, "seconds": {}}
    for name, notebook in lessons().items():
        if names and name not in names:
            continue
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(notebook, NOTEBOOKS / f"{name}.ipynb")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        told = {"about": "Seconds of processor time of a whole lesson with one thread, and the most memory that one took "
                "(tools/index_lessons.py --measure).", "gigabytes": max(told["gigabytes"], round(after.ru_maxrss / 1e6, 1)),
                "seconds": dict(sorted({**told["seconds"], name: seconds}.items()))}
        TIMES.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {seconds} s, {after.ru_maxrss / 1e6:.1f} GB", flush=True)


def main(arguments):
    if arguments[:1] == ["--measure"]:
        os.environ.update(MINIMM_PROGRESS="off", OMP_NUM_THREADS="1")
        measure(arguments[1:])
    text = INDEX.read_text(encoding="utf-8")
    INDEX.write_text(indexed(text), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
