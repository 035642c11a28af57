"""`python -m minimm.training albef --task vqa`: train a model of the course by its recipe, resumable, into build/runs.

What it starts from is trained first, by its own recipe, unless it is there already.
"""

import argparse
from pathlib import Path

from .recipes import ARCHITECTURES, TUNING, checkpoint_of, row, train


def main():
    parser = argparse.ArgumentParser(prog="python -m minimm.training", description=__doc__)
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("--task", choices=sorted(TUNING), help="fine-tune the pre-trained model for it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="instead of the recipe's number")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes of training; the next call goes on")
    parser.add_argument("--out", type=Path, default=Path("build/runs"), help="folder for the checkpoints")
    given = parser.parse_args()
    if given.steps is not None and given.steps < 1:
        parser.error(f"argument --steps: expected at least 1, but got {given.steps}")
    try:
        name = row(given.architecture, given.task)
    except ValueError as error:
        parser.error(str(error))
    _, run = train(name, given.seed, given.steps, folder=given.out, minutes=given.minutes)
    print(f"{run}. Checkpoint: {checkpoint_of(given.out, name, given.seed, given.steps)}")


if __name__ == "__main__":
    main()
