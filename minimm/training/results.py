"""`python -m minimm.training.results` (or `make results`): rebuild data/results and data/weights, run by run.

A run that was killed goes on where it stopped; a result that is there is not made again (delete its file for that).
"""

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path

import torch

from .. import _paths
from ..evaluation.report import dual_encoder
from ..scenes import load
from . import weights
from .recipes import RECIPES, train


def untrained(name, seed):
    """The model of a recipe before its first step: what a measure finds without learning."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return RECIPES[name].model(RECIPES[name].config).eval()


def measure(name, seed, checkpoint=None):
    """Train by the recipe, store the weights and measure these: a mapping of plain values."""
    model, run = train(name, seed, checkpoint=checkpoint)
    weights.store(name, model)
    model = weights.load(name)
    probed_on = load("train")[:6000]
    recipe = asdict(RECIPES[name])
    recipe["model"] = RECIPES[name].model.__name__
    return {
        "recipe": recipe, "seed": seed, "parameters": sum(p.numel() for p in model.parameters()), "steps": run.steps,
        "seconds of training": round(run.seconds, 1), "precision": run.precision,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {next(model.parameters()).device.type}",
        "test": dual_encoder(model, probed_on, load("test")), "novel": dual_encoder(model, probed_on, load("novel")),
        "untrained": dual_encoder(untrained(name, seed), probed_on, load("test")),
    }


def save(path, result):
    """Write a result as JSON, numbers with two decimals."""
    def rounded(value):
        if isinstance(value, dict):
            return {k: rounded(v) for k, v in value.items()}
        return round(value, 2) if isinstance(value, float) and abs(value) > 1 else value
    text = json.dumps(rounded(result), indent=1) + "\n"
    _paths.write_whole(path, lambda file: file.write(text.encode()))


def main():
    parser = argparse.ArgumentParser(prog="python -m minimm.training.results", description=__doc__)
    parser.parse_args()
    for name in RECIPES:
        path = _paths.data_dir() / "results" / f"{name}.json"
        if path.exists():
            print(f"{path.name} is there")
            continue
        checkpoint = Path("build/runs") / f"results-{name}.pt"
        save(path, measure(name, seed=0, checkpoint=checkpoint))
        checkpoint.unlink()
        print(f"{path.name} is made")


if __name__ == "__main__":
    main()
