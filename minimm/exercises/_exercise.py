"""What an exercise is, and the words that several of them share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """One input to try the reader's function on.

    `inputs` maps the arguments' names, in order, to numpy arrays (given to the function as tensors) or plain numbers.
    Each case runs in float32 and in float64. `about` says what is special about it, if anything; `not_finite` what may
    have gone wrong when NaN or infinity comes.
    """

    inputs: dict
    about: str = ""
    not_finite: str = "Was something divided by zero, or its log taken?"


@dataclass(frozen=True)
class Exercise:
    """A function to fill in. To add one, add a module to this package that defines `EXERCISE`.

    `expected` and the functions in `slips` take a case's inputs as float64 numpy arrays, by name. They are formulas of
    their own, in numpy, so that nothing of the library decides what is right. The result that is asked for has the inputs'
    dtype; it is a mask where `expected` gives booleans, and of whole numbers where it gives integers.
    """

    name: str
    lesson: str  # the number that the lesson's notebook starts with
    difficulty: int  # 1 (easy) to 3
    minutes: int
    prompt: str
    hints: tuple[str, ...]  # from a nudge to nearly all of it; Markdown
    solution: str  # source text; only the tests run it
    fact: str  # something surprising, told when the function is right
    cases: Callable[[], list[Case]]
    expected: Callable[..., np.ndarray]
    slips: tuple[tuple[str, Callable[..., np.ndarray]], ...]  # known slips: words, and the value that the slip gives
    tell: Callable[[np.ndarray, np.ndarray], str]  # (came, expected) -> what the result must be, in words, and what came
    shape: str = ""  # of the result, in einops' notation; "" is a single number
    gradient_to: tuple[str, ...] = ()  # the result is a loss: the inputs that its gradient must reach
    plain_number: bool = False  # a Python number will do as well as a 0-d tensor
    without: tuple[str, ...] = ()  # `__name__` of torch's or numpy's functions that would do the work
    # What may stand in a graph: (moments, **inputs) -> what is wrong, or None. A moment is the list of all that autograd
    # keeps for the way back, as arrays; there is one for each time that it saved something more.
    kept: Callable[..., str | None] | None = None


def number_in_words(must, sides=("small", "large"), within=None):
    """A `tell` for a result that is one number. must: what it must be, in words; sides: what is said of one below and of
    one above it; within: (least, most, words), what to say of one that no input can give."""
    def tell(came, expected):
        if within and not within[0] - 1e-6 <= came <= within[1] + 1e-6:
            return f"{within[2]}; yours is {came:.4g}."
        return f"{must}; yours is {came:.4g}, too {sides[int(came > expected)]}."
    return tell


def lengths_in_words(came):
    """The range of the rows' Euclidean lengths in `came` (`n d`) if they are not all 1, else None."""
    lengths = np.linalg.norm(came, axis=1)
    if np.allclose(lengths, 1, rtol=0, atol=1e-4):
        return None
    low, high = f"{lengths.min():.2g}", f"{lengths.max():.2g}"
    if low == high:
        return f"length {lengths[np.abs(lengths - 1).argmax()]:.4g}"
    return f"lengths from {low} to {high}"


def furthest_row(came, expected):
    """Index of the row in which `came` differs most from `expected` (both `n d`)."""
    return int(np.abs(came - expected).max(axis=1).argmax())
