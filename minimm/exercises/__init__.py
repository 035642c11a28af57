"""The course's exercises: check.NAME(function), quiz("NAME"), hint("NAME"), show_solution("NAME"), progress()."""

from . import _progress
from ._judge import MISSING, judge
from ._registry import EXERCISES, QUESTIONS, close_names, find
from ._show import in_notebook, show, wrapped

__all__ = ["check", "hint", "progress", "quiz", "show_solution"]

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
            verdict = judge(name, student)
            print(wrapped(f"{name}: {verdict.message}"))
            if verdict.status == "right":
                _note(name)

        run.__name__ = run.__qualname__ = name
        run.__doc__ = EXERCISES[name].prompt
        return run

    def __repr__(self):
        return f"check: {', '.join(dir(self))}"


check = _Check()


def _note(name):
    hindrance = _progress.record(name)
    if hindrance:
        print(hindrance)


def quiz(name, answer=None):
    """Ask the question `name`: its text, and below it, in a notebook, the controls that take an answer.

    With an `answer` (a letter or a number) no control is needed: what is said to it is shown.

    Raises TypeError if `name` is not a string, ValueError if there is no such question or no such answer.
    """
    question = find(name, QUESTIONS, "question")
    response = None if answer is None else question.respond(answer)
    show(question.markdown)
    if response is not None:
        show(response.text)
        if response.right or question.run:
            _note(name)
    elif in_notebook():
        from IPython.display import display

        from ._panel import Panel

        display(Panel(question, lambda: _progress.record(name)).box)
    else:
        print(f'\nAnswer with quiz("{name}", YOUR_ANSWER).')


def progress():
    """Show what is done and what is open, lesson by lesson.

    It is kept in .minimm/progress.json in your home folder, or where the variable MINIMM_PROGRESS says.
    """
    try:
        rows, summary = _progress.table(_progress.done())
    except (OSError, ValueError, RuntimeError) as problem:
        print(problem)
        return
    show(f"{_progress.as_markdown(rows)}\n\n{summary}", f"{_progress.as_text(rows)}\n\n{summary}")


def hint(name):
    """Show the next hint of the exercise `name`: the first call shows the first, the second the second, and so on.

    Raises TypeError if `name` is not a string, ValueError if there is no such exercise.
    """
    hints = find(name).hints
    shown = _hints_shown.get(name, 0)
    if shown == len(hints):
        _hints_shown[name] = 0
        show(f'No further hints. `show_solution("{name}")` shows one way to do it; `hint("{name}")` starts again.')
    else:
        _hints_shown[name] = shown + 1
        show(f"Hint {shown + 1} of {len(hints)}: {hints[shown]}")


def show_solution(name):
    """Show one solution of the exercise `name` as text; nothing is defined in your notebook.

    Raises TypeError if `name` is not a string, ValueError if there is no such exercise.
    """
    source = find(name).solution.strip()
    show(f"```python\n{source}\n```", source)
