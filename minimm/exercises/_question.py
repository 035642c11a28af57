"""What a question is: an answer to choose, or a number to find; and what is said to each answer."""

import math
import re
import string
from dataclasses import dataclass

from .._errors import expect


@dataclass(frozen=True)
class Response:
    right: bool
    text: str  # Markdown


@dataclass(frozen=True, kw_only=True)
class Question:
    """What both kinds share. To add one, add it to `QUESTIONS` of its lesson's module in `quizzes`.

    All texts are Markdown with formulas between dollar signs: write them as raw strings. `run` makes the question an
    experiment: the reader predicts, does what `run` says (change one thing, run a cell), and only then is told more.
    """

    name: str
    lesson: str  # the number that the lesson's notebook starts with
    difficulty: int  # 1 (easy) to 3
    minutes: int
    prompt: str
    run: str = ""

    @property
    def markdown(self):
        """The question as it is read: all that is needed to think about it, without a control."""
        kind = "Predict, run, compare" if self.run else "Question"
        effort = f"difficulty {self.difficulty} of 3, about {self.minutes} minute{'s' if self.minutes > 1 else ''}"
        parts = [f"**{kind}** ({effort})", self.prompt.strip(), self._answers()]
        if self.run:
            parts.append(f"*Predict first.* {self.run}")
        return "\n\n".join(parts)


@dataclass(frozen=True)
class Option:
    """An answer to choose; `feedback` says why it is wrong, or why it is right."""

    text: str
    feedback: str
    right: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice(Question):
    """One of several answers, lettered A, B, C, ...; where more than one is right, each counts."""

    options: tuple[Option, ...]

    @property
    def letters(self):
        return string.ascii_uppercase[: len(self.options)]

    @property
    def solution(self):
        return next(letter for letter, option in zip(self.letters, self.options) if option.right)

    def _answers(self):
        return "\n".join(f"- **{letter}.** {option.text}" for letter, option in zip(self.letters, self.options))

    def respond(self, answer):
        """The `Response` to a letter; raises ValueError if there is no such answer."""
        letter = str(answer).strip().upper()
        expect(len(letter) == 1 and letter in self.letters, "answer", repr(answer), f"one of {', '.join(self.letters)}")
        option = self.options[self.letters.index(letter)]
        more = option.right and sum(one.right for one in self.options) > 1
        also = " (There is another right answer: can you see why?)" if more else ""
        return Response(option.right, f"**{letter}: {'right' if option.right else 'no'}.** {option.feedback}{also}")


@dataclass(frozen=True)
class Slip:
    """A wrong number that a known slip leads to, and what is said to it."""

    value: float
    feedback: str


@dataclass(frozen=True, kw_only=True)
class Number(Question):
    """A number within `tolerance` (absolute) of `answer`, in `unit`. Compute `answer` where a formula gives it."""

    answer: float
    tolerance: float
    unit: str = ""
    right: str  # why the right answer is right
    wrong: str  # what is said to every other number: a way to the answer, not the answer
    slips: tuple[Slip, ...] = ()

    @property
    def solution(self):
        """The answer with as many digits as the tolerance asks for, such as 400000 rather than 4e+05."""
        texts = (f"{float(f'{self.answer:.{digits}g}'):.15g}" for digits in range(1, 18))
        return next(text for text in texts if self._meets(float(text), self.answer))

    def _answers(self):
        return f"Answer with a number{f' ({self.unit})' if self.unit else ''}."

    def _meets(self, number, value):
        return abs(number - value) <= self.tolerance * (1 + 1e-9)

    def respond(self, answer):
        """The `Response` to a number or its text; raises ValueError if it is none."""
        number = to_number(answer, self.unit)
        shown = str(answer).strip()
        if self._meets(number, self.answer):
            return Response(True, f"**{shown}: right.** {self.right}")
        met = [slip.feedback for slip in self.slips if self._meets(number, slip.value)]
        return Response(False, f"**{shown}: no.** {met[0] if met else self.wrong}")


def to_number(answer, unit=""):
    """A number as people type it: 0.25, 1e-3, 1,000, 0,25, 50 %; ValueError for everything else."""
    text = str(answer).strip().removesuffix(unit).strip().replace("\N{MINUS SIGN}", "-")
    if re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?", text):  # thousands; none begin with 0
        text = text.replace(",", "")
    elif text.count(",") == 1 and "." not in text:  # a decimal comma
        text = text.replace(",", ".")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    expect(math.isfinite(number), "answer", repr(answer), "a number, such as 0.25 or 1e-3")
    return number
