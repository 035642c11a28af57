"""The small weights that come with the course: data/weights, a file and a card for each model.

Matrices are stored in half precision; biases, gains, temperatures and running statistics, which are few, as they are.
"""

import json
from dataclasses import asdict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .._errors import expect
from .._paths import data_dir, write_whole
from ..layers import take_weights
from ..objectives.momentum import Queue
from ..scenes import TASKS
from .cards import card
from .recipes import RECIPES
from .tuning import HEADS

PRETRAINED = (*HEADS, "detector")
MULTITASK = tuple(f"{architecture}-multitask" for architecture in HEADS)


def ships(name):
    """Whether the weights of a row of RECIPES come with the course."""
    return name in PRETRAINED + MULTITASK


def path_of(name):
    return data_dir() / "weights" / f"{name}.safetensors"


def untrained(name):
    """The model of a row of RECIPES before its first step, made of models before theirs."""
    return RECIPES[name].make(*[untrained(start) for start in RECIPES[name].starts])


def stored_names(model):
    """Name of a tensor of the model's state -> the name under which a file has it: if modules share it, its first one.

    Queues are left out: they are large, and only pre-training reads them.
    """
    queues = tuple(f"{name}." for name, part in model.named_modules() if isinstance(part, Queue))
    first = {}
    return {name: first.setdefault(id(t), name) for name, t in model.state_dict(keep_vars=True).items()
            if not name.startswith(queues)}


def store(name, model, result=None):
    """Write the weights of a trained model with its sizes, and its card.

    name: a row of RECIPES; result: of `results.measure`, what the card tells; without one there is no card.
    Raises ValueError for a name that does not ship, and for a weight that half precision cannot hold.
    """
    expect(ships(name), "name", repr(name), f"one of {', '.join(PRETRAINED + MULTITASK)}")
    state, tensors = model.state_dict(), {}
    for key in dict.fromkeys(stored_names(model).values()):
        t = state[key].detach().cpu().contiguous()
        tensors[key] = t.half() if t.is_floating_point() and t.ndim > 1 else t
        expect(bool(tensors[key].isfinite().all()), key, "NaN or a number above 65504", "what half precision can hold")
    data = save(tensors, {"config": json.dumps(asdict(model.config))})
    write_whole(path_of(name), lambda file: file.write(data))
    if result is not None:
        text = card(name, result)
        write_whole(path_of(name).with_suffix(".md"), lambda file: file.write(text.encode()))


def read(name):
    """The whole model of a file, in float32 on the CPU, in evaluation mode. Raises what `load` raises for a file."""
    path = path_of(name)
    expect(path.exists(), str(path), "no file", "the weights that come with the course (get them again with git)",
           FileNotFoundError)
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path}: cut short or no weights ({error}); get it again with git") from error
    with torch.random.fork_rng():
        torch.manual_seed(0)  # for what is not in the file
        model = untrained(name)
    wanted = json.loads(json.dumps(asdict(model.config)))  # as it was written: a tuple is a list there
    differ = [key for key in {**wanted, **config} if wanted.get(key) != config.get(key)]
    came, expected = ({key: c.get(key) for key in differ} for c in (config, wanted))
    expect(not differ, str(path), came, f"the sizes of the recipe, {expected}")
    names = stored_names(model)
    here = {key: tensors[first] for key, first in names.items() if first in tensors}
    unknown = {key: t for key, t in tensors.items() if key not in names}
    fresh = {key: t for key, t in model.state_dict().items() if key not in names}
    take_weights(model, {**unknown, **fresh, **here}, str(path))
    return model.eval()


def load(name, task=None):
    """A trained model of the course, in float32 on the CPU, in evaluation mode.

    name: "vse", "clip", "vilbert", "vilt", "albef", as pre-trained, or "detector", which finds ViLBERT's regions.
    task: "vqa", "entailment", "pairs" or "why": then it is the architecture's model for it, for `evaluation.tasks`; the
    tasks of an architecture share all but their heads, and were learnt together.
    An ALBEF comes with its momentum copy, and with queues as before the first step.
    Raises ValueError for an unknown name or task and for a file that is cut short or of another model,
    FileNotFoundError where the file is missing.
    """
    expect(name in PRETRAINED, "name", repr(name), f"one of {', '.join(PRETRAINED)}")
    if task is None:
        return read(name)
    expect(task in TASKS and name in HEADS, "task", repr(task),
           f"one of {', '.join(TASKS)}" if name in HEADS else f"none for the {name}")
    return read(f"{name}-multitask").heads[task]
