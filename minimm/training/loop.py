"""One loop for all models: what a step is, not what a model is.

A model brings `loss(batch)`, a mapping of named terms that the loop adds up, and, if it needs one, `after_step()`.
Batches are a function of the step. Schedule, checkpoint, resume and comparison count steps: a clock may only end a run
early, and the result says so.
"""

import math
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from .._errors import expect
from .._paths import write_whole


@dataclass
class Run:
    """What a run did.

    steps: done so far, of `planned`; ended_by: "steps" or "minutes"; seconds: of training, without evaluation, over
    all parts of a resumed run; losses: term -> a value a step; evaluations: step -> what `evaluate` returned.
    """

    planned: int
    steps: int = 0
    seconds: float = 0.0
    ended_by: str = ""
    precision: str = "float32"
    losses: dict = field(default_factory=dict)
    evaluations: dict = field(default_factory=dict)

    def __str__(self):
        text = f"{self.steps} of {self.planned} steps in {self.seconds:.0f} s, {self.precision}"
        return text + (", ended early by the clock" if self.ended_by == "minutes" else "")


def learning_rate(step, steps, peak, warmup):
    """Linear warm-up over `warmup` steps, then half a cosine down to zero (Loshchilov and Hutter 2017)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


def parameter_groups(model, weight_decay):
    """Weight decay for matrices and larger; none for biases, gains, class tokens and temperatures (fewer axes)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    expect(parameters, "model", "no parameter that wants a gradient", "at least one")
    return [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]


def best_precision(device):
    """"bfloat16" where the processor multiplies matrices in it (CUDA since Ampere; AMX or AVX512_BF16), else "float32".

    Measured with a CLIP of the course on a CPU with AVX512_BF16 and no AMX: a step takes half as long in it.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":  # torch names its questions to the processor differently from version to version
        asked = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
        return "bfloat16" if any(supported() for supported in asked if supported) else "float32"
    return "float32"


def fit(model, batches, steps, *, lr=1e-3, weight_decay=0.1, betas=(0.9, 0.98), eps=1e-6, warmup=50, clip=1.0, seed=0,
        precision="auto", evaluate=None, every=None, checkpoint=None, save_every=100, minutes=None, show=None):
    """Train `model` in place for `steps` steps of AdamW; returns a Run.

    batches: function of the step, returns what `model.loss` takes.
    lr: at the peak; warmup: steps up to it; clip: largest norm of the gradient; seed: of dropout and the like.
    precision: "float32", "bfloat16" (autocast) or "auto", which says in a line what it took.
    evaluate(model): called every `every` steps and at the end, in evaluation mode, without gradients.
    checkpoint: a file; the run is saved there every `save_every` steps and goes on from there if the file exists, to
    the bit the same as if it had never stopped (on the same machine).
    minutes: ends the run early. show: called with the Run every now and then, such as `plots.LiveCurve()`.

    Raises ValueError for a checkpoint of another model or of other settings, FloatingPointError when a loss term or
    the gradient is no longer a finite number (the file then holds the last good state).
    """
    expect(steps > 0, "steps", steps, "at least 1")
    expect(0 <= warmup <= steps, "warmup", warmup, f"0 to {steps}, the number of steps")
    expect(precision in ("auto", "float32", "bfloat16"), "precision", repr(precision), "auto, float32 or bfloat16")
    device = next(model.parameters()).device
    if precision == "auto":
        precision = best_precision(device)
    if precision == "bfloat16":
        print("Training with matrix products in bfloat16, which this processor multiplies faster.")
    settings = {"steps": steps, "lr": lr, "weight_decay": weight_decay, "betas": list(betas), "eps": eps,
                "warmup": warmup, "clip": clip, "seed": seed, "precision": precision}
    run = Run(planned=steps, precision=precision)
    optimizer = torch.optim.AdamW(parameter_groups(model, weight_decay), lr=lr, betas=betas, eps=eps)
    was_training = model.training
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), deterministic(device):
        torch.manual_seed(seed)
        if checkpoint is not None and Path(checkpoint).exists():
            run = load_checkpoint(checkpoint, model, optimizer, settings)
        run.ended_by = "steps"
        model.train()
        if show is not None:
            show(run)
        bar = tqdm(total=steps, initial=run.steps, desc=type(model).__name__, file=sys.stdout, ncols=88, mininterval=0.5)
        try:
            while run.steps < steps:
                if minutes is not None and run.seconds >= 60 * minutes:
                    run.ended_by = "minutes"
                    break
                start = time.perf_counter()
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(run.steps, steps, lr, warmup)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                    terms = model.loss(batches(run.steps))
                optimizer.zero_grad()
                sum(terms.values()).backward()
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                for name, value in [*terms.items(), ("the gradient", norm)]:
                    refuse_unless_finite(name, value.item(), run.steps, checkpoint)
                optimizer.step()
                if hasattr(model, "after_step"):
                    model.after_step()
                for name, value in terms.items():
                    run.losses.setdefault(name, []).append(value.item())
                run.steps += 1
                run.seconds += time.perf_counter() - start
                last = run.steps == steps
                if evaluate is not None and (last or every and run.steps % every == 0):
                    run.evaluations[run.steps] = evaluated(model, evaluate)
                if checkpoint is not None and (last or run.steps % save_every == 0):
                    save_checkpoint(checkpoint, model, optimizer, settings, run)
                bar.set_postfix_str(f"loss {sum(v[-1] for v in run.losses.values()):.3f}", refresh=False)
                bar.update()
                if show is not None:
                    show(run)
            if run.ended_by == "minutes":
                if evaluate is not None and run.steps not in run.evaluations:
                    run.evaluations[run.steps] = evaluated(model, evaluate)
                if checkpoint is not None:
                    save_checkpoint(checkpoint, model, optimizer, settings, run)
        finally:
            bar.close()
            model.train(was_training)
    return run


def evaluated(model, evaluate):
    """What `evaluate(model)` returns in evaluation mode and without gradients; the mode is put back."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return evaluate(model)
    finally:
        model.train(training)


def refuse_unless_finite(name, value, step, checkpoint):
    if math.isfinite(value):
        return
    good = "no checkpoint was asked for" if checkpoint is None else \
        f"the last good state is in {checkpoint}" if Path(checkpoint).exists() else "no checkpoint was saved yet"
    raise FloatingPointError(f"{name} is {value} in step {step}: the run stops; {good}")


@contextmanager
def deterministic(device):
    """On CUDA some sums depend on the order in which threads arrive; ask for the operations that do not."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def save_checkpoint(path, model, optimizer, settings, run):
    """The whole state of a run in one file, which is whole or absent at any moment."""
    device = next(model.parameters()).device
    state = {"kind": "minimm run", "model": describe(model), "settings": settings, "run": asdict(run),
             "weights": model.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state(),
             "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None}
    write_whole(path, lambda file: torch.save(state, file))


def describe(model):
    """A model's class and sizes as plain values, to tell one model's checkpoint from another's."""
    config = getattr(model, "config", None)
    return {"class": type(model).__name__, "config": asdict(config) if config is not None else {}}


def load_checkpoint(path, model, optimizer=None, settings=None):
    """Put the state of a saved run into `model` (and `optimizer`); returns its Run.

    Raises ValueError, and changes nothing, if the file is cut short or no checkpoint, or if it holds another model or
    a run of other settings.
    """
    device = next(model.parameters()).device
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ValueError(f"checkpoint: {path} cannot be read, it is cut short or no checkpoint "
                         f"({type(error).__name__}); delete it to start anew") from error
    expect(isinstance(state, dict) and state.get("kind") == "minimm run", "checkpoint", f"{path}, another kind of file",
           "a file that training.fit saved")
    for what, saved, now in (("model", state["model"], describe(model)), ("settings", state["settings"], settings)):
        if now is not None and saved != now:
            differ = [f"{k}: {a.get(k)!r} there, {b.get(k)!r} here" for a, b in [flat(saved, now)]
                      for k in {**a, **b} if a.get(k) != b.get(k)]
            raise ValueError(f"checkpoint: {path} is of another {what} ({'; '.join(differ)})")
    model.load_state_dict(state["weights"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] is not None and device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), device)
    return Run(**state["run"])


def flat(*nested):
    """Each mapping with its inner mapping `config` spread out."""
    return [{**{k: v for k, v in d.items() if k != "config"}, **d.get("config", {})} for d in nested]
