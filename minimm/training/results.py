"""`python -m minimm.training.results` (or `make results`): rebuild data/results and data/weights, run by run.

A run that was killed goes on where it stopped. A result that is there is made again if its row of the recipes has
changed since (else delete its file for that; what a run started from may have changed as well).
Every run has a file of its own, data/results/NAME-seedK.json, and learnt.json puts them side by side. explained.json
says how far the maps of the five are to be trusted, those of seed 0.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch

from .. import _paths
from .._paths import write_whole
from ..evaluation import report
from ..evaluation.tasks import chance
from ..explain import scores
from ..objectives.contrastive import similarity
from ..scenes import TASKS, load
from . import real, tables, weights
from .recipes import RECIPES, checkpoint_of, regions, same_row, settings, train
from .tables import result_path

ARCHITECTURES = ("vse", "clip", "vilbert", "vilt", "albef")
SEEDS = (0, 1, 2)
#: Row that trains a picture encoder alone -> where that is.
TOWERS = {"labels": lambda model: model.vision, "moco": lambda model: model.encoder_q,
          "captions": lambda model: model.vision}
GALLERY = 1000  # scenes for retrieval, and of each split for the questions
PROBED_ON = 6000  # training scenes for linear probes
EXPLAINED = 500  # test scenes whose maps are scored
FOLDER = Path("build/runs")


def runs():
    """All runs of the table, (name, seed), in the order in which they are made: seed 0 comes first."""
    named = [*ARCHITECTURES, *(f"{a}-{task}" for task in ("retrieval", "vqa") for a in ARCHITECTURES)]
    several = [name for name in named if name in RECIPES]
    once = [f"{a}-{task}" for task in TASKS if task != "vqa" for a in ARCHITECTURES]
    blind = [name for name in RECIPES if name.endswith(("without-picture", "without-text"))]
    shipped = ["detector", *(f"{a}-multitask" for a in ARCHITECTURES)]
    failing = ["albef-vqa-unaligned", "vilbert-entailment-fast"]
    studied = [*TOWERS, *(name for name in RECIPES if "clip-of" in name or "noise" in name or "albef-captions" in name)]
    return [*((name, 0) for name in (*several, *once, *blind, *shipped, *failing, *studied)),
            *((name, seed) for seed in SEEDS[1:] for name in [*several, "vilt-vqa-longer"])]


def is_there(name, seed):
    """Whether a run has a result, made by the row of the recipes as it is now, and its weights if these ship."""
    path = result_path(name, seed)
    if not path.exists() or seed == 0 and weights.ships(name) and not weights.path_of(name).exists():
        return False
    return is_now(json.loads(path.read_text()).get("recipe", {}), name, seed)


def is_now(recipe, name, seed):
    """Whether a row of the recipes, as a file has it, is that row as it is now."""
    return same_row(recipe, json.loads(json.dumps(settings(name, seed))))


def seconds_of(name, seed):
    """Of the run and of all that it starts from, the detector of its regions as well: {name: seconds of training}."""
    recipe = RECIPES[name]
    spent = seconds_of("detector", 0) if recipe.regions else {}
    for start in recipe.starts:
        spent |= seconds_of(start, seed)
    state = torch.load(checkpoint_of(FOLDER, name, seed), map_location="cpu", weights_only=True)
    return {**spent, name: state["run"]["seconds"]}


def measure(name, seed):
    """Train by the recipe and measure on test and novel scenes: (model, a mapping of plain values)."""
    model, run = train(name, seed, folder=FOLDER)
    recipe, (architecture, _, task) = RECIPES[name], name.partition("-")
    model.cpu()
    spent = seconds_of(name, seed)
    result = {
        "recipe": settings(name, seed), "seed": seed, "parameters": sum(p.numel() for p in model.parameters()),
        "steps": run.steps, "seconds": spent.pop(name), "seconds of starts": spent, "precision": run.precision,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {next(model.parameters()).device.type}",
        "loss": curve(run)}
    start = time.perf_counter()
    for split in ("test", "novel"):
        data = load(split)
        part = data if architecture in ("vse", "clip", *TOWERS) and not task else data[:GALLERY]
        found = regions(part, folder=FOLDER) if recipe.regions else None
        if found is not None:
            result["seconds of regions"] = found.seconds
        result[split] = measured(model, architecture, task, part, found and found.see, recipe.hide)
    result["seconds of measuring"] = time.perf_counter() - start
    return model, result


def curve(run, points=40):
    """Every term of the loss, averaged over stretches of the run: a mapping of lists."""
    return {name: [statistics.fmean(values[i:i + size]) for i in range(0, len(values), size)]
            for name, values in run.losses.items() for size in [max(1, len(values) // points)]}


def measured(model, architecture, task, data, see, hide=None):
    """What is measured of a model on the scenes of one split."""
    if task == "multitask":
        return {task: report.answered(model.heads[task], data, task, see) for task in TASKS}
    for name in TASKS:
        if task.startswith(name):
            return {**report.answered(model, data, name, see, hide), "chance": chance(data, name, load("train"))}
    if architecture == "detector":
        return report.detector(model, data)
    if architecture in TOWERS:
        return {"probes": report.probed(TOWERS[architecture](model), load("train")[:PROBED_ON], data)}
    if architecture in ("vse", "clip"):
        return report.dual_encoder(model, load("train")[:PROBED_ON], data)
    if architecture == "albef":
        result = report.albef(model, data, GALLERY)
    else:
        result = report.pair_encoder(model, data, see, first_stage(data))
    return result if task == "retrieval" else {**result, "masked words": report.masked_words(model, data, see)}


def first_stage(data):
    """The similarities of the course's CLIP, by which ViLT's and ViLBERT's candidates are chosen: `i t`."""
    clip = train("clip", 0, folder=FOLDER)[0].cpu()
    with torch.no_grad():
        images = torch.cat([clip.encode_image(data[i:i + 250].images()) for i in range(0, len(data), 250)])
        return similarity(images, clip.encode_text(data.tokens()), torch.zeros(()))


def explained():
    """Score the maps of the five, see `explain.scores.report`: name -> report, with its recipe, kept in explained.json.
    One model after another; what is there by the row of the recipes as it is now stays. Yields the name of each that is
    made."""
    path = _paths.data_dir() / "results" / "explained.json"
    done, part = json.loads(path.read_text()) if path.exists() else {}, load("test")[:EXPLAINED]
    for name in ARCHITECTURES:
        if is_now(done.get(name, {}).get("recipe", {}), name, 0):
            continue
        start = time.perf_counter()
        model = train(name, 0, folder=FOLDER)[0].cpu()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            untrained = weights.untrained(name).eval()
        see = regions(part, folder=FOLDER).see if RECIPES[name].regions else None
        done[name] = {"recipe": settings(name, 0), "scenes": len(part), **scores.report(model, untrained, part, see),
                      "seconds of measuring": time.perf_counter() - start}
        save(path, done)
        yield name


def save(path, result):
    """Write a result as JSON, numbers with two decimals."""
    def rounded(value):
        if isinstance(value, dict):
            return {k: rounded(v) for k, v in value.items()}
        if isinstance(value, list):
            return [rounded(v) for v in value]
        return round(value, 2) if isinstance(value, float) and abs(value) > 1 else value
    text = json.dumps(rounded(result), indent=1) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def main():
    parser = argparse.ArgumentParser(prog="python -m minimm.training.results", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these runs, such as albef albef-vqa (default: all)")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="only these seeds")
    parser.add_argument("--nlvr", type=Path, metavar="FOLDER", help="where that corpus is, for the run \"nlvr\" as well")
    given = parser.parse_args()
    unknown = set(given.names) - {name for name, _ in runs()} - {"explained", "nlvr"}
    if unknown:
        parser.error(f"names: expected some of {', '.join(dict(runs()))}, explained, but got {', '.join(sorted(unknown))}")
    for name, seed in runs():
        if given.names and name not in given.names or seed not in given.seeds:
            continue
        path = result_path(name, seed)
        if is_there(name, seed):
            print(f"{path.name} is there")
            continue
        model, result = measure(name, seed)
        save(path, result)
        if seed == 0 and weights.ships(name):
            weights.store(name, model, result)
        tables.write(ARCHITECTURES)
        print(f"{path.name} is made")
    if 0 in given.seeds and (not given.names or "explained" in given.names):
        for name in explained():
            print(f"explained.json has {name}")
    path = _paths.data_dir() / "results" / "nlvr.json"
    wanted = given.nlvr and (not given.names or "nlvr" in given.names)
    if wanted and not (path.exists() and real.is_now(json.loads(path.read_text()))):
        save(path, real.nlvr(given.nlvr, FOLDER))
        print(f"{path.name} is made")


if __name__ == "__main__":
    main()
