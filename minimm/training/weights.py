"""The small weights that come with the course: data/weights."""

import json
from dataclasses import asdict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .._errors import expect
from .._paths import data_dir, write_whole
from .recipes import RECIPES


def store(name, model):
    """Write the weights of a trained model of the course, in half precision, with its sizes."""
    tensors = {key: t.half() if t.is_floating_point() else t for key, t in model.state_dict().items()}
    data = save({key: t.contiguous() for key, t in tensors.items()}, {"config": json.dumps(asdict(model.config))})
    write_whole(data_dir() / "weights" / f"{name}.safetensors", lambda file: file.write(data))


def load(name):
    """A trained model of the course, in float32 on the CPU, in evaluation mode.

    name: "clip". Raises ValueError for an unknown name and for a file that is cut short or of another model,
    FileNotFoundError where the file is missing.
    """
    expect(name in RECIPES, "name", repr(name), f"one of {', '.join(RECIPES)}")
    path, recipe = data_dir() / "weights" / f"{name}.safetensors", RECIPES[name]
    try:
        with safe_open(path, "pt") as file:
            config = json.loads(file.metadata()["config"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path}: cut short or no weights ({error}); get it again with git") from error
    wanted = json.loads(json.dumps(asdict(recipe.config)))  # as it was written: a tuple is a list there
    expect(config == wanted, str(path), config, f"the sizes of the recipe, {wanted}")
    with torch.random.fork_rng():
        model = recipe.model(recipe.config)
    model.load_state_dict({key: t.float() if t.is_floating_point() else t for key, t in tensors.items()})
    return model.eval()
