"""The results of all runs side by side: data/results/learnt.json, and learnt.md for people."""

import json
import statistics

from .. import _paths
from .._paths import write_whole
from .tuning import HEADS

#: Column -> where its number stands in the result of a run: (what is added to the architecture's name, path of keys).
COLUMNS = {
    "minutes, with starts": ("", ("minutes",)),
    "text R@1 of 1,000": ("", ("test", "text retrieval", "r1")),
    "image R@1 of 1,000": ("", ("test", "image retrieval", "r1")),
    "text R@1, re-ranked": ("-retrieval", ("test", "re-ranked", "text retrieval", "r1")),
    "image R@1, re-ranked": ("-retrieval", ("test", "re-ranked", "image retrieval", "r1")),
    "ceiling": ("-retrieval", ("test", "re-ranked", "ceiling", "text")),
    "text R@1 of 100": ("-retrieval", ("test", "every pair", "text retrieval", "r1")),
    "masked icon": ("", ("test", "masked words", "icon", "right")),
    "masked colour": ("", ("test", "masked words", "colour", "right")),
    "questions": ("-vqa", ("test", "all")),
    "relation": ("-vqa", ("test", "relation")),
    "comparison": ("-vqa", ("test", "comparison")),
    "entailment": ("-entailment", ("test", "all")),
    "two pictures": ("-pairs", ("test", "all")),
    "why: answer": ("-why", ("test", "answer")),
    "why: both": ("-why", ("test", "both")),
    "four tasks in one: questions": ("-multitask", ("test", "vqa", "all")),
    "relation, of these": ("-multitask", ("test", "vqa", "relation")),
    "comparison, of these": ("-multitask", ("test", "vqa", "comparison")),
    "four tasks in one: entailment": ("-multitask", ("test", "entailment", "all")),
    "four tasks in one: two pictures": ("-multitask", ("test", "pairs", "all")),
    "four tasks in one: why, both": ("-multitask", ("test", "why", "both")),
}


def result_path(name, seed=0):
    """Where the result of a run is kept. name: a row of RECIPES."""
    return _paths.data_dir() / "results" / f"{name}-seed{seed}.json"


def recorded(name, seed=0):
    """The result of a run, as it was recorded: a mapping, see `results.measure`. Raises FileNotFoundError if there is none."""
    return json.loads(result_path(name, seed).read_text(encoding="utf-8"))


def leaf(result, path):
    """The number at a path of keys, or None."""
    for key in path:
        result = result.get(key) if isinstance(result, dict) else None
    return result


def across(ending, *path):
    """{architecture: a number of its results}, the mean over the seeds, for all that have it. ending: of the name of the
    row, such as "-vqa"; path: of keys, as `leaf` takes it, such as "test", "all"."""
    rows = collect()
    found = {architecture: leaf(rows.get(architecture + ending, {}), path) for architecture in HEADS}
    return {architecture: number["mean"] for architecture, number in found.items() if number}


def spread(numbers):
    """Mean, lowest and highest of a few numbers, and how many they are."""
    return {"mean": statistics.fmean(numbers), "lowest": min(numbers), "highest": max(numbers), "runs": len(numbers)}


def combined(results):
    """Results of one row with different seeds, mappings of the same keys -> the same mapping with `spread`s."""
    first = results[0]
    if isinstance(first, dict):
        return {key: combined([r[key] for r in results]) for key in first if all(key in r for r in results)}
    return spread(results) if all(isinstance(r, (int, float)) for r in results) else first


def collect(folder=None):
    """{name of a row: {"seeds", "minutes", "test", "novel"}} of all results that there are.

    Minutes are those of the first seed alone: only its runs need to have the machine for themselves.
    """
    rows = {}
    for path in sorted((folder or _paths.data_dir() / "results").glob("*-seed*.json")):
        name, seed = path.stem.rsplit("-seed", 1)
        result = json.loads(path.read_text())
        minutes = (result["seconds"] + sum(result["seconds of starts"].values())) / 60
        rows.setdefault(name, []).append((int(seed), minutes, {split: result[split] for split in ("test", "novel")}))
    return {name: {"seeds": [seed for seed, _, _ in of], "minutes": spread([of[0][1]]),
                   **combined([result for _, _, result in of])} for name, of in rows.items()}


def markdown(rows, architectures):
    """The table, a column an architecture; the spread stands behind the mean where there is more than one seed."""
    lines = ["| test split | " + " | ".join(architectures) + " |", "| --- |" + " ---: |" * len(architectures)]
    for column, (task, path) in COLUMNS.items():
        cells = []
        for architecture in architectures:
            own = rows.get(architecture + task) or (rows.get(architecture) if task == "-retrieval" else None)
            number = leaf(own or {}, path)
            if number is None:
                cells.append("")
            elif number["runs"] == 1:
                cells.append(f"{number['mean']:.1f}")
            else:
                cells.append(f"{number['mean']:.1f} ({number['lowest']:.1f} to {number['highest']:.1f})")
        lines.append(f"| {column} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(architectures):
    """Write both files."""
    folder, rows = _paths.data_dir() / "results", collect()
    write_whole(folder / "learnt.json", lambda file: file.write((json.dumps(rows, indent=1) + "\n").encode()))
    text = ("Made by `make results` from the files beside this one. In percent; the mean over seeds, and the lowest and the\n"
            "highest where there are several. Minutes are those of seed 0.\n\n" + markdown(rows, architectures))
    write_whole(folder / "learnt.md", lambda file: file.write(text.encode()))
