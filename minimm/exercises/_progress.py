"""What the reader has done, kept in one small file of their own.

The variable MINIMM_PROGRESS names the file; without it, it is .minimm/progress.json in the home folder. `off` keeps none.
"""

import contextlib
import datetime
import json
import os
from pathlib import Path

from .._paths import write_whole
from ._registry import EXERCISES, QUESTIONS

KIND = "minimm: exercises that are done"  # by this the file is known


def progress_file():
    """Where it is kept, None if it is not."""
    named = os.environ.get("MINIMM_PROGRESS")
    if named == "off":
        return None
    return Path(named) if named else Path.home() / ".minimm" / "progress.json"


def done():
    """{name: day} of what is done; raises ValueError if the file is not what this module wrote, OSError if it cannot be read."""
    file = progress_file()
    if file is None or not file.exists():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        ours = found["kind"] == KIND and isinstance(found["done"], dict)
    except (ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ValueError(
            f"{file} is not a progress file of minimm, or it is damaged. Delete or rename it, and a new one is begun; "
            "or let the variable MINIMM_PROGRESS name another place."
        )
    return found["done"]


def record(name):
    """Note that `name` is done. What hinders it comes back as one line of text: it must not cost the reader a verdict."""
    try:
        file = progress_file()
        if file is None or name in done():
            return ""
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file.with_name(file.name + ".lock")):
            entries = {**done(), name: datetime.date.today().isoformat()}
            text = json.dumps({"kind": KIND, "done": entries}, indent=1)
            write_whole(file, lambda whole: whole.write(text.encode()))
    except (OSError, ValueError, RuntimeError) as problem:  # Path.home() raises RuntimeError where there is no home
        return f"(This could not be noted as done: {problem})"
    return ""


@contextlib.contextmanager
def _alone(path):
    """Wait until no other kernel is between reading and writing."""
    with open(path, "ab") as file:  # closing it lets the next one in
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def table(entries):
    """What is done and what is open, lesson by lesson: (rows of text, the first being the head; a sentence)."""
    every = {**EXERCISES, **QUESTIONS}
    rows = [("lesson", "done", "open", "minutes left")]
    for lesson in sorted({one.lesson for one in every.values()}):
        names = [name for name, one in every.items() if one.lesson == lesson]
        left = [name for name in names if name not in entries]
        calls = ", ".join(f"check.{name}" if name in EXERCISES else f'quiz("{name}")' for name in left)
        share = f"{len(names) - len(left)} of {len(names)}".replace(" ", "\N{NO-BREAK SPACE}")
        rows.append((lesson, share, calls, str(sum(every[n].minutes for n in left))))
    return rows, f"{len(every.keys() & entries.keys())} of {len(every)} are done."


def as_markdown(rows):
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---|---|---|--:|", *body])


def as_text(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
