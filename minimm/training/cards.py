"""Cards of the weights that come with the course: what they are, how they were made, what they do."""

from ..scenes import ICONS, TASKS
from ..scenes.data import NUMBERS


def flat(mapping, above=""):
    """A nested mapping as one: {"a": {"b": 1}} -> {"a, b": 1}. What is None is left out."""
    rows = {}
    for key, value in mapping.items():
        rows |= flat(value, f"{above}{key}, ") if isinstance(value, dict) else {f"{above}{key}": value}
    return {key: value for key, value in rows.items() if value is not None}


def written(value):
    """A value as a cell of a table shows it."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else \
        f"{value:.0f}" if isinstance(value, float) else str(value)


def table(head, columns):
    """Mappings side by side: the rows are their keys, in order of first appearance. head: the titles of the columns."""
    rows = dict.fromkeys(key for column in columns for key in column)
    lines = [head, ["---"] * len(head),
             *([key, *(written(column[key]) if key in column else "" for column in columns)] for key in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def card(name, result):
    """The card of a row of RECIPES, in Markdown. result: of `results.measure`, or any mapping with "seed" and perhaps
    "test" and "novel", what was measured; all else is told as how it was made, but for the curves of "loss"."""
    architecture, _, many = name.partition("-")
    calls = [f'minimm.load("{architecture}", task="{task}")' for task in TASKS] if many else [f'minimm.load("{name}")']
    what = f"{architecture} for {len(TASKS)} tasks, which share all but their heads" if many else \
        "the detector of the regions that vilbert reads" if name == "detector" else f"{architecture}, pre-trained"
    measured = {split: flat(result[split]) for split in ("test", "novel") if split in result}
    made = flat({key: value for key, value in result.items() if key not in ("loss", *measured)})
    return "\n\n".join([
        f"# {name}.safetensors",
        f"The course's model: {what}. {', '.join(f'`{call}`' for call in calls)}.",
        f"It has seen nothing but the scenes of the course ({NUMBERS['train']:,} drawn pictures of {len(ICONS)} icons "
        "with generated language; no photograph, no text of people) and is of use for these alone. Its licence is the "
        "project's.",
        *(['It reads the regions that `minimm.load("detector")` finds.'] if architecture == "vilbert" else []),
        "## How it was made",
        f"`python -m minimm.training.results {name} --seeds {result['seed']}` makes it anew, when "
        f"data/results/{name}-seed{result['seed']}.json is deleted.",
        table(["", ""], [made]),
        "## What it does",
        "Measured on scenes that it was not trained on, before the weights were rounded for this file; shares in "
        "percent. In `novel` things have pairs of colour and icon that no other split shows." if measured else
        "Not measured.",
        *([table(["", *measured], list(measured.values()))] if measured else []),
    ]) + "\n"
