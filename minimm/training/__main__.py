"""`python -m minimm.training clip`: train a model of the course by its recipe, resumable, into build/runs."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from .recipes import RECIPES, train


def main():
    parser = argparse.ArgumentParser(prog="python -m minimm.training", description=__doc__)
    parser.add_argument("architecture", choices=sorted(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="instead of the recipe's number")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes of training; the next call goes on")
    parser.add_argument("--out", type=Path, default=Path("build/runs"), help="folder for the checkpoint")
    given = parser.parse_args()
    recipe = RECIPES[given.architecture]
    steps = recipe.steps if given.steps is None else given.steps
    if steps < 1:
        parser.error(f"argument --steps: expected at least 1, but got {steps}")
    path = given.out / f"{given.architecture}-seed{given.seed}-{steps}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"architecture": given.architecture, "seed": given.seed, **asdict(recipe), "steps": steps}
    settings["model"] = recipe.model.__name__
    path.with_suffix(".json").write_text(json.dumps(settings, indent=1) + "\n")
    _, run = train(given.architecture, given.seed, steps, checkpoint=path, minutes=given.minutes)
    print(f"{run}. Checkpoint: {path}")


if __name__ == "__main__":
    main()
