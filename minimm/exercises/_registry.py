"""All exercises: every module of this package without a leading underscore defines one, named EXERCISE."""

import difflib
import importlib
import pkgutil
from pathlib import Path

from .._errors import expect


def _load():
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    found = [importlib.import_module(f".{name}", __package__).EXERCISE for name in names if not name.startswith("_")]
    return {exercise.name: exercise for exercise in sorted(found, key=lambda one: (one.lesson, one.name))}


EXERCISES = _load()


def close_names(name):
    close = difflib.get_close_matches(name, EXERCISES, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(EXERCISES)}."


def find(name):
    """The exercise of that name; TypeError if `name` is not a string, ValueError if there is none."""
    expect(isinstance(name, str), "name", f"a {type(name).__name__}", "an exercise's name as a string", TypeError)
    if name not in EXERCISES:
        raise ValueError(f"name: there is no exercise {name!r}. {close_names(name)}")
    return EXERCISES[name]
