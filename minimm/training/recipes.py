"""The course's own runs, as data: one row an architecture."""

from dataclasses import dataclass, replace

import torch

from .. import device as best_device
from .._errors import expect
from ..models.clip import CLIP, CLIPConfig
from ..scenes import Batches, load
from .loop import fit


@dataclass(frozen=True)
class Recipe:
    """How one model is trained on the scenes: steps of `batch` pairs, peak learning rate and the rest of `fit`."""

    model: type
    config: object
    steps: int
    batch: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.1
    warmup: int = 50


RECIPES = {
    "clip": Recipe(CLIP, CLIPConfig(), steps=800, lr=7e-4, warmup=100),
}


def train(name, seed=0, steps=None, device=None, **options):
    """Train a model of the course from scratch by its recipe: (model, Run).

    name: a key of RECIPES; seed: of the weights, the order of the scenes and the choice of captions; steps: instead of
    the recipe's; options: passed on to `fit`. Raises ValueError for an unknown name.
    """
    expect(name in RECIPES, "name", repr(name), f"one of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    if steps is not None:
        recipe = replace(recipe, steps=steps, warmup=min(recipe.warmup, steps))
    device = device or best_device()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = recipe.model(recipe.config)
    # Convolutions on a CPU are faster with the channels last.
    model = model.to(device, memory_format=torch.channels_last)
    batches = Batches(load("train"), recipe.batch, seed, device)
    run = fit(model, batches, recipe.steps, lr=recipe.lr, weight_decay=recipe.weight_decay, warmup=recipe.warmup,
              seed=seed, **options)
    return model.eval(), run
