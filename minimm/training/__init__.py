"""One loop for all models, and the recipes of the course's own runs."""

from .loop import Run, fit, load_checkpoint
from .recipes import RECIPES, Recipe, train

__all__ = ["RECIPES", "Recipe", "Run", "fit", "load_checkpoint", "train"]
