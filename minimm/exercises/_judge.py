"""Run a reader's function on an exercise's cases and say, in words, what became of it."""

import builtins
import contextlib
import ctypes
import functools
import io
import itertools
import linecache
import numbers
import os
import random
import sys
import threading
import time
import traceback
import types
import weakref
from dataclasses import dataclass, field
from unittest import mock

import numpy as np
import torch

from ._registry import find

TIME_LIMIT = 4.0  # seconds that the function may take for all cases together; what the check itself takes does not count
IMPORT_LIMIT = 120.0  # seconds more while modules are imported: torch itself imports hundreds at the first checkpoint
PRINTED_LIMIT = 300  # characters of the function's own output that are shown
LARGEST = 10**6  # numbers in a result that is still read; that of an exercise has a few hundred
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}  # relative to max(1, |expected|); a tiny epsilon does no harm
MISSING = object()
LIBRARIES = ("minimm", "torch", "torchvision", "numpy", "transformers", "open_clip", "builtins")


@dataclass(frozen=True)
class Verdict:
    status: str  # "right", "wrong", "not yet" or "error"
    message: str


class _TimeUp(BaseException):
    """Raised inside a function that does not end."""


class _Saved:
    """A tensor that autograd saved; it goes when the graph goes."""

    def __init__(self, tensor):
        self.tensor = tensor


@dataclass
class _Call:
    """What happened when the function was called once."""

    value: object = None
    problem: BaseException | None = None
    timed_out: bool = False
    stopped: bool = True
    seconds: float = 0.0  # that it took, without imports beyond its time
    kept: list = field(default_factory=list)  # what stood in graphs each time that autograd saved something
    borrowed: str = ""  # the first function that ran in it and must not: one of minimm's, or of `without`


def judge(name, student=MISSING):
    """The `Verdict` on `student`, a function that should solve the exercise `name`.

    Whatever the function does (raise, exit, loop, print, change its inputs) stays inside; random state and torch's
    default dtype are put back. Raises TypeError or ValueError only for a wrong `name`.
    """
    exercise = find(name)
    if student is MISSING:
        return Verdict("error", f"hand over your function: check.{name}({name})")
    if not callable(student):
        return Verdict(
            "error",
            f"expected your function itself, without calling it, as in check.{name}({name}); got {_kind(student)}.",
        )
    origin = _origin(student)
    home = _home(origin)
    if home in LIBRARIES:
        label = getattr(origin, "__name__", type(origin).__name__)
        return Verdict("wrong", f"{label} comes from {home}. Write the function yourself.")

    printed = _Printed()
    with _settings_kept(), _no_way_out(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        # The reader may call from inside no_grad or inference_mode; a loss must show its gradient all the same.
        with torch.inference_mode(False), torch.enable_grad():
            verdict = _judge_cases(exercise, student)
    if printed.total and verdict.status != "right":
        more = ", ..." if printed.total > PRINTED_LIMIT else ""
        said = f"Your function printed: {printed.getvalue().strip()}{more}"
        verdict = Verdict(verdict.status, f"{verdict.message}\n{said}")
    return verdict


def _judge_cases(exercise, student):
    left = TIME_LIMIT
    wrong = None  # the first wrong case; the others then only help to recognise the slip
    results = []  # (inputs, what came) of every case that gave the wrong numbers
    values = []  # what came in every case
    count = 0
    for case, dtype in itertools.product(exercise.cases(), TOLERANCE):
        count += 1
        tensors = {name: _tensor(value, dtype) for name, value in case.inputs.items()}
        # Clones of leaves rather than leaves: autograd would forbid the in-place change that is to be noticed and named.
        leaves = {name: tensors[name].clone().requires_grad_() for name in exercise.gradient_to}
        given = {n: leaves.get(n, t).clone() if isinstance(t, torch.Tensor) else t for n, t in tensors.items()}
        where = f"case {count} ({_describe(tensors, dtype)}{'; ' + case.about if case.about else ''})"

        call = _call(student, list(given.values()), left, exercise.without, exercise.kept is not None)
        left -= call.seconds
        if call.borrowed:
            return Verdict("wrong", f"your function uses {call.borrowed}. Write that part yourself.")
        broken = _broken(student, call, where)
        if broken is not None:
            if wrong is None:
                return broken
            break

        arrays = {name: _exact(value) for name, value in tensors.items()}
        expected = np.asarray(exercise.expected(**arrays))
        value = call.value
        if exercise.plain_number and isinstance(value, np.ndarray):
            value = value[()]  # a 0-d array is as good as its number
        fault = _changed(given, tensors) or _fault(exercise, case, value, expected, dtype, arrays, leaves)
        if not fault and exercise.kept:
            moments = [[x for x in map(_array, saved) if x is not None] for saved in call.kept]
            fault = exercise.kept(moments, **arrays)
        came = _array(value)
        if came is not None:
            values.append(came)
        if fault:
            wrong = wrong or f"wrong in {where}: {fault}"
            if came is not None and not _close(came, expected, dtype):
                results.append((arrays, came, dtype))
            elif not results:
                break  # the first fault is not one of numbers: no slip to look for
    if wrong is None:
        return Verdict("right", f"right, in all {count} cases. Did you know? {exercise.fact}")
    slip = _constant(values) or _slip(exercise, results)
    return Verdict("wrong", f"{wrong} Likely slip: {slip}" if slip else wrong)


def _broken(student, call, where):
    """The verdict when the call gave no result to compare, else None."""
    if call.timed_out:
        stuck = "" if call.stopped else " It could not be stopped: restart the kernel if the computer stays busy."
        return Verdict(
            "error", f"{where} did not end within {TIME_LIMIT:g} seconds. Is there a loop that never ends?{stuck}"
        )
    if type(call.problem) is NotImplementedError:
        text = str(call.problem)  # torch raises it too, then with a reason
        reason = f" (It raised NotImplementedError: {_shorten(text)})" if text else ""
        return Verdict("not yet", f"not yet. Fill in the function, then run this cell again.{reason}")
    if isinstance(call.problem, (SystemExit, KeyboardInterrupt)):
        kind = type(call.problem).__name__
        return Verdict("error", f"{where}: your function tried to end the program ({kind}). Let it return a result.")
    if call.problem is not None:
        text = traceback.format_exception_only(type(call.problem), call.problem)[-1].strip()
        line = _own_line(call.problem, _origin(student))
        return Verdict("error", f"{where} stopped with {_shorten(text)}{line}")
    if call.value is None or call.value is Ellipsis or call.value is NotImplemented:
        return Verdict(
            "not yet",
            f"not yet. The function returned {call.value!r}. Fill it in (or is its `return` missing?), "
            "then run this cell again.",
        )
    return None


def _changed(given, tensors):
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor):
            now = given[name].detach()
            if now.dtype != tensor.dtype or not torch.equal(now, tensor):
                return (
                    f"your function changed its input {name} in place. "
                    "Make a new tensor instead: the caller still needs the old one."
                )
    return None


def _fault(exercise, case, value, expected, dtype, arrays, leaves):
    """What is wrong with a result, in words, or None."""
    came = _array(value)
    if not isinstance(value, torch.Tensor):
        if not exercise.plain_number:
            why = " (a plain number carries no gradient: no .item() or float())" if exercise.gradient_to else ""
            return f"the result must be a torch tensor; yours is {_kind(value)}{why}."
        if came is None or isinstance(value, bool):
            return f"the result must be a float or a 0-d tensor; yours is {_kind(value)}."
    else:
        if came is None and not _enormous(value):
            return f"the result must be an ordinary (dense, real) tensor where the inputs are (cpu); yours is {_oddity(value)}."
        if value.shape != expected.shape:
            shape = f"{_shape(expected.shape)}{f' ({exercise.shape})' if exercise.shape else ''}"
            return f"the result must have the shape {shape}; yours has {_shape(value.shape)}."
        wanted = _wanted_dtype(exercise, value, expected, dtype)
        if wanted:
            return f"the result must have {wanted}; yours has {_name(value.dtype)}."
    if not np.isfinite(came).all():
        bad = "NaN" if np.isnan(came).any() else "infinity"
        return f"the result must be finite; yours contains {bad}. {case.not_finite}"
    if not _close(came, expected, dtype):
        if np.abs(came - expected).max() < 1e-3 * max(1e-3, np.abs(expected).max()):
            return "close, but not equal. Is an epsilon too large, or is a part computed in a lower precision?"
        return exercise.tell(came, expected)
    return _gradient_fault(exercise, value, dtype, arrays, leaves) if leaves else None


def _wanted_dtype(exercise, value, expected, dtype):
    """Which dtype the result must have, in words, if it has another one."""
    if exercise.plain_number:
        return ""
    if expected.dtype == bool:
        return "the dtype of a mask, bool" if value.dtype != torch.bool else ""
    if expected.dtype.kind in "iu":
        whole = not value.is_floating_point() and value.dtype != torch.bool
        return "" if whole else "a dtype of whole numbers, such as int64"
    return f"the inputs' dtype, {_name(dtype)}" if value.dtype != dtype else ""


def _gradient_fault(exercise, value, dtype, arrays, leaves):
    if not value.requires_grad:
        return (
            "the number is right, but it is detached: no gradient flows back. "
            "Look for detach, no_grad, item or torch.tensor."
        )
    try:
        gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    except RuntimeError as problem:
        return f"the number is right, but its gradient cannot be computed: {_shorten(str(problem))}"
    for name, gradient in zip(leaves, gradients):
        if gradient is None:
            return f"the number is right, but no gradient flows back to {name}: it is detached somewhere."
        if dtype == torch.float64:  # finite differences need the digits
            slope = _slope(exercise, arrays, name)
            if not np.allclose(gradient.numpy(), slope, rtol=1e-4, atol=1e-6):
                return f"the number is right, but its gradient to {name} is not. Is a part of it detached?"
    return None


def _slope(exercise, arrays, name, step=1e-5):
    """Gradient of `expected` with respect to one input, by central differences."""
    slope = np.zeros_like(arrays[name])
    for index in np.ndindex(slope.shape):
        ends = []
        for side in (step, -step):
            moved = arrays[name].copy()
            moved[index] += side
            ends.append(exercise.expected(**{**arrays, name: moved}))
        slope[index] = (ends[0] - ends[1]) / (2 * step)
    return slope


def _constant(values):
    """Words for a function that gives one and the same number everywhere: a slip's number it meets only by chance."""
    if len(values) > len(TOLERANCE):  # more than one case in its dtypes
        found = np.unique(np.concatenate([came.ravel() for came in values]))
        if len(found) == 1 and np.isfinite(found[0]):
            return "a constant? The result was the same number in every case."
    return None


def _slip(exercise, results):
    """Words for the known slip that gives the numbers that came: in the first wrong case, and in at least half of all."""
    best, most = None, (len(results) - 1) / 2
    for words, wrong_formula in exercise.slips:
        matches = []
        for arrays, came, dtype in results:
            with np.errstate(all="ignore"):
                matches.append(_close(came, np.asarray(wrong_formula(**arrays)), dtype))
        if matches and matches[0] and sum(matches) > most:
            best, most = words, sum(matches)
    if best is None and results and all(
        any(_close(came, np.asarray(value), dtype) for value in arrays.values()) for arrays, came, dtype in results
    ):
        best = "that is an input, handed back unchanged."
    return best


def _call(student, arguments, seconds, without=(), watched=False):
    """Call the function in a thread of its own, for at most `seconds`; watched: note what autograd saves."""
    call = _Call()
    seconds = max(seconds, 0.01)

    alive = weakref.WeakSet()

    def keep(tensor):
        saved = _Saved(tensor)
        alive.add(saved)
        call.kept.append([one.tensor.detach() for one in alive])
        return saved

    saving = torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved.tensor) if watched else contextlib.nullcontext()

    # Every call is seen while it happens, however the function got hold of what it calls. This is against a shortcut,
    # not against a will: code copied from minimm or taken from `show_solution`, threads of the function's own, and
    # what torch.compile inlines go unseen. Ours are only the modules below minimm: minimm.device() is no help.
    def note(frame, event, called):
        if call.borrowed:
            return
        if event == "call":
            module, name = str(frame.f_globals.get("__name__")), frame.f_code.co_name
            ours = module.startswith("minimm.") and module != __name__  # this module takes what is printed
            if ours or (name in without and module.split(".")[0] in LIBRARIES):
                call.borrowed = f"{module}.{name}".removesuffix(".<module>")
        elif event == "c_call" and getattr(called, "__name__", "") in without and getattr(called, "__module__", "") != "builtins":
            call.borrowed = called.__name__

    def work():
        try:
            with saving:
                sys.setprofile(note)  # for this thread alone, and gone with it
                call.value = student(*arguments)
        except BaseException as problem:  # SystemExit and KeyboardInterrupt too: nothing may leave the thread
            call.problem = problem

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    started, imported = time.monotonic(), 0.0
    try:
        thread.join(seconds)
        # Modules whose import is broken off stay broken until the kernel is started again: that may take its time.
        while thread.is_alive() and _importing(thread) and time.monotonic() - started < seconds + IMPORT_LIMIT:
            thread.join(seconds)
            imported = time.monotonic() - started
        if imported:
            thread.join(seconds)
        call.seconds = time.monotonic() - started - imported
    finally:  # also when the reader presses the stop button
        if thread.is_alive():
            call.timed_out = True
            call.stopped = _stop(thread)
    return call


def _importing(thread):
    """Whether an import is under way in the thread."""
    frame = sys._current_frames().get(thread.ident)
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def _stop(thread):
    """Raise _TimeUp inside the thread until it has ended, for half a second at most; True when it has ended."""
    deadline = time.monotonic() + 0.5
    interval = sys.getswitchinterval()
    # A bare `except:` swallows the exception. Raised again at once, it also meets the thread outside of its `try`.
    sys.setswitchinterval(1e-6)
    try:
        # One that arrives in a destructor is lost there; nobody needs to hear of it.
        with mock.patch.object(sys, "unraisablehook", lambda _: None):
            while thread.is_alive() and time.monotonic() < deadline:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_TimeUp))
                thread.join(1e-5)
    finally:
        sys.setswitchinterval(interval)
    return not thread.is_alive()


def _origin(student):
    """What was written: without the arguments of a `partial`, and without a library's decorator (torch.no_grad())."""
    while True:
        if isinstance(student, functools.partial):
            student = student.func
        elif _home(student) in LIBRARIES and hasattr(student, "__wrapped__"):
            student = student.__wrapped__
        else:
            return student


def _home(student):
    """The package in which a callable was written."""
    if isinstance(student, types.FunctionType):  # its globals tell the truth even under functools.wraps
        module = student.__globals__.get("__name__")
    else:
        module = getattr(student, "__module__", None) or type(student).__module__
    return str(module).split(".")[0]


def _own_line(problem, student):
    """The innermost line of the reader's own code that the exception passed through."""
    own = getattr(student, "__globals__", None)
    steps = list(traceback.walk_tb(problem.__traceback__))[1:]  # the first is the call in this file
    lines = [(frame.f_code.co_filename, number) for frame, number in steps if own is None or frame.f_globals is own]
    if not lines:
        return ""
    text = linecache.getline(*lines[-1]).strip()
    return f"\nin your line {lines[-1][1]}{f': {text}' if text else ''}"


class _Printed(io.StringIO):
    """Keeps the first characters of what is written and counts the rest."""

    total = 0

    def write(self, text):
        super().write(text[: max(0, PRINTED_LIMIT - self.total)])
        self.total += len(text)
        return len(text)


@contextlib.contextmanager
def _no_way_out():
    """Calls that end Python, or a notebook's kernel, at once become a SystemExit, which stays in the thread."""

    def leave(*_, **__):
        raise SystemExit

    exits = [(os, "_exit"), (os, "abort"), (builtins, "exit"), (builtins, "quit")]
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        exits.append((type(shell.exiter), "__call__"))
    with contextlib.ExitStack() as stack:
        for owner, name in exits:
            stack.enter_context(mock.patch.object(owner, name, leave, create=True))
        yield


@contextlib.contextmanager
def _settings_kept():
    """Random state and torch's default dtype are put back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state(), torch.get_default_dtype()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        torch.set_default_dtype(states[3])


def _tensor(value, dtype):
    if not isinstance(value, np.ndarray):
        return value
    tensor = torch.from_numpy(value.copy())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _exact(value):
    """An input as `expected` takes it: what the function was given, in float64."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.double().numpy() if value.is_floating_point() else value.numpy()


def _array(value):
    """A result as a float64 array, or None if it is not made of real numbers that can be read."""
    if not isinstance(value, torch.Tensor):
        try:
            return np.asarray(float(value)) if isinstance(value, numbers.Real) else None
        except OverflowError:  # a whole number of more than 308 digits
            return np.asarray(np.inf)
    try:
        plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_complex()
        if _enormous(value):  # an expanded tensor is small until it is copied
            return None
        return value.detach().double().resolve_neg().numpy() if plain else None
    except Exception:  # quantized and nested tensors, and what only says that it is a tensor
        return None


def _enormous(value):
    try:
        return value.layout == torch.strided and value.numel() > LARGEST
    except Exception:
        return False


def _oddity(value):
    try:
        return f"{_kind(value)} of {_name(value.dtype)}, {_name(value.layout)}, on {value.device}"
    except Exception:
        return _kind(value)


def _close(came, expected, dtype):
    tolerance = TOLERANCE[dtype]
    return came.shape == expected.shape and np.allclose(came, expected.astype(float), rtol=tolerance, atol=tolerance)


def _describe(tensors, dtype):
    parts = []
    for name, value in tensors.items():
        if isinstance(value, torch.Tensor) and value.ndim:
            parts.append(f"{name} {_shape(value.shape)}")
        else:
            parts.append(f"{name} = {float(value):.3g}")
    return f"{', '.join(parts)}, {_name(dtype)}"


def _shape(shape):
    return " x ".join(map(str, shape)) if len(shape) > 1 else f"({shape[0]},)" if len(shape) else "() (one number)"


def _name(dtype):
    return str(dtype).removeprefix("torch.")


def _kind(value):
    name = type(value).__name__
    if isinstance(value, np.ndarray):
        name = "numpy array"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _shorten(text, limit=200):
    return text if len(text) <= limit else text[:limit] + "..."
