"""Attention weights, written down while a model runs, without a change to the model or to what it computes; or changed, to
see what depends on them."""

from collections.abc import Mapping
from contextlib import ExitStack, contextmanager

import torch

from .._errors import expect
from ..layers import Attention
from ..models.moco import MoCo
from ..objectives.momentum import Distilling


def attention_layers(model, momentum=False):
    """Every attention layer of a model by its name in it, such as "text.fusion.0.xattn": self-, cross- and
    co-attention, in the order of the model's modules. momentum: those of its momentum copy too."""
    copies = [] if momentum else [
        f"{name}.{copy}." if name else f"{copy}." for name, part in model.named_modules()
        for kind, copy in ((Distilling, "momentum"), (MoCo, "encoder_k")) if isinstance(part, kind)]
    return {name: part for name, part in model.named_modules()
            if isinstance(part, Attention) and not name.startswith(tuple(copies))}


def check_not_compiled(model):
    """Raise ValueError for a model under torch.compile: its compiled form ignores hooks that come later."""
    # A compiled module wraps the original one, or calls a compiled form of itself.
    expect(not any(hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) for part in model.modules()),
           "model", "one under torch.compile", "the model itself, not compiled")


class Recording(Mapping):
    """Name of a layer -> what it gave the last time that it ran: attention weights `b h q k`. In the order in which the
    layers first ran; `calls(name)` has all times, as where a model reads two pictures one after the other."""

    def __init__(self, calls):
        self._calls = calls

    def calls(self, name):
        """What a layer gave, a list with a tensor for every time that it ran. KeyError for one that did not run."""
        expect(name in self._calls, "layer", repr(name),
               f"one that has run, of {', '.join(self._calls) or 'which there is none so far'}", KeyError)
        return self._calls[name]

    def __getitem__(self, name):
        return self.calls(name)[-1]

    def __iter__(self):
        return iter(self._calls)

    def __len__(self):
        return len(self._calls)

    def gradients(self, score):
        """The gradient of a score, summed if it is of several pairs, by all that was recorded: a Recording; 0 where the
        score does not depend on it. No parameter's `grad` is touched, and other scores may follow.

        Raises ValueError unless the score was computed from this Recording, made with gradients=True.
        """
        flat = [t for tensors in self._calls.values() for t in tensors]
        expect(torch.is_tensor(score) and score.requires_grad and flat and all(t.requires_grad for t in flat), "score",
               f"{score!r} and {len(flat)} recorded tensors",
               "one that was computed within record(model, gradients=True)")
        found = iter(torch.autograd.grad(score.sum(), flat, retain_graph=True, allow_unused=True, materialize_grads=True))
        return Recording({name: [next(found) for _ in tensors] for name, tensors in self._calls.items()})


@contextmanager
def record(model, layers=None, gradients=False, momentum=False):
    """`with record(model) as maps: model(...)`: maps["text.blocks.0.attn"] are the weights `b h q k` of that layer.

    What the model returns is the same to the last bit (on CUDA, where it else takes a fused form of attention, to
    rounding). Weights are those before dropout, in the model's precision. What was recorded lives as long as `maps`.

    layers: names, default: all of `attention_layers(model, momentum)`. A name may be any module's whose output is one
    tensor, such as a convolution: then that output is recorded (of a module in front of an in-place one what that made
    of it).
    gradients: keep the graph, for `maps.gradients(score)`; then the model has to run with gradients enabled. Parameters
    need none. Without it the recorded tensors are detached.

    Recordings may be nested; each sees all. Whichever way the block is left its hooks are gone; left by an exception, what
    it recorded is gone too. Raises ValueError for a name that is not there, for a model without attention, for one under
    torch.compile, and where gradients are wanted but disabled.
    """
    parts = dict(model.named_modules())
    check_not_compiled(model)
    if layers is None:
        layers = attention_layers(model, momentum)
        expect(layers, "model", f"a {type(model).__name__} without any", "one with attention layers")
    for name in layers:
        expect(name in parts, "layers", repr(name), f"names of modules, such as {', '.join(attention_layers(model))}")
    calls, hooks = {}, []

    def hook(name):
        def write_down(module, inputs, output):
            expect(torch.is_tensor(output), "layers", f"{name}, which returns a {type(output).__name__}",
                   "modules whose output is one tensor")
            if gradients:
                expect(torch.is_grad_enabled(), "gradients", "True with gradients disabled (torch.no_grad?)",
                       "gradients to be enabled while the model runs")
                if not output.requires_grad:  # nothing in front of it does: the graph begins here
                    output.requires_grad_()
            calls.setdefault(name, []).append(output if gradients else output.detach())
        return write_down

    try:
        for name in layers:
            part = parts[name].weights if isinstance(parts[name], Attention) else parts[name]
            hooks.append(part.register_forward_hook(hook(name)))
        yield Recording(calls)
    except BaseException:
        calls.clear()
        raise
    finally:
        for handle in hooks:
            handle.remove()


@contextmanager
def changed(model, changes):
    """`with changed(model, {"text.fusion.0.xattn": torch.zeros_like}): model(...)`: what the model would say if its attention
    were another. changes: name of a layer -> function of its weights `b h q k` that returns new ones.

    Whichever way the block is left the model is as before. Raises ValueError for a name that is no attention layer's and for a
    model under torch.compile.
    """
    layers = attention_layers(model, momentum=True)
    check_not_compiled(model)
    for name in changes:
        expect(name in layers, "changes", repr(name), f"names of attention layers, of {', '.join(layers)}")
    with ExitStack() as hooks:
        for name, change in changes.items():
            handle = layers[name].weights.register_forward_hook(lambda module, inputs, output, change=change: change(output))
            hooks.callback(handle.remove)
        yield
