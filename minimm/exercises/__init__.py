"""The course's exercises: `check.NAME(your_function)`, `hint("NAME")`, `show_solution("NAME")`."""

import sys

from ._judge import MISSING, judge
from ._registry import EXERCISES, close_names, find

__all__ = ["check", "hint", "show_solution"]

_hints_shown = {}


class _Check:
    """`check.NAME(your_function)` runs one exercise's check and prints the verdict; `dir(check)` lists the names."""

    __slots__ = ()

    def __dir__(self):
        return sorted(EXERCISES)

    def __getattr__(self, name):
        if name not in EXERCISES:
            raise AttributeError(f"check has no exercise {name!r}. {close_names(name)}")

        def run(student=MISSING):
            print(f"{name}: {judge(name, student).message}")

        run.__name__ = run.__qualname__ = name
        run.__doc__ = EXERCISES[name].prompt
        return run

    def __repr__(self):
        return f"check: {', '.join(dir(self))}"


check = _Check()


def hint(name):
    """Show the next hint of the exercise `name`: the first call shows the first, the second the second, and so on.

    Raises TypeError if `name` is not a string, ValueError if there is no such exercise.
    """
    hints = find(name).hints
    shown = _hints_shown.get(name, 0)
    if shown == len(hints):
        _hints_shown[name] = 0
        _show(f'No further hints. `show_solution("{name}")` shows one way to do it; `hint("{name}")` starts again.')
    else:
        _hints_shown[name] = shown + 1
        _show(f"Hint {shown + 1} of {len(hints)}: {hints[shown]}")


def show_solution(name):
    """Show one solution of the exercise `name` as text; nothing is defined in your notebook.

    Raises TypeError if `name` is not a string, ValueError if there is no such exercise.
    """
    source = find(name).solution.strip()
    _show(f"```python\n{source}\n```", source)


def _show(markdown, plain=None):
    """Markdown in a notebook, plain text anywhere else."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        from IPython.display import Markdown, display

        display(Markdown(markdown))
    else:
        print(plain or markdown)
