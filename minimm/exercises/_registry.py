"""All exercises and questions, by name.

Every module of this package without a leading underscore defines an exercise, named EXERCISE; every module of
`quizzes`, one a lesson, defines questions, named QUESTIONS.
"""

import difflib
import importlib
import pkgutil
from pathlib import Path

from .._errors import expect


def _load(package, attribute):
    modules = sorted(
        module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / package)])
        if not module.ispkg and not module.name.startswith("_")
    )
    where = f"{__package__}.{package}" if package else __package__
    return [getattr(importlib.import_module(f"{where}.{name}"), attribute) for name in modules]


def _by_name(found):
    return {one.name: one for one in sorted(found, key=lambda one: one.lesson)}  # in a lesson as they were found


EXERCISES = _by_name(_load("", "EXERCISE"))
QUESTIONS = _by_name(question for questions in _load("quizzes", "QUESTIONS") for question in questions)


def close_names(name, among=EXERCISES):
    close = difflib.get_close_matches(name, among, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(among)}."


def find(name, among=EXERCISES, kind="exercise"):
    """The exercise or question of that name; TypeError if `name` is not a string, ValueError if there is none."""
    expect(isinstance(name, str), "name", f"a {type(name).__name__}", f"a name ({kind}) as a string", TypeError)
    if name not in among:
        raise ValueError(f"name: there is no {kind} {name!r}. {close_names(name, among)}")
    return among[name]
