"""The README's table of architectures says what is so: its rows are made here, from the files."""

import json
from pathlib import Path

from test_golden import BUILT

ROOT = Path(__file__).resolve().parent.parent
#: Architecture -> its file, what the names of its golden files begin with, the title of its released files.
ARCHITECTURES = {
    "VSE++": ("vse", ("vsepp_",), "VSE++"),
    "CLIP": ("clip", ("clip_",), "CLIP"),
    "ViLBERT": ("vilbert", ("vilbert_",), "ViLBERT"),
    "ViLT": ("vilt", ("vilt_",), "ViLT"),
    "ALBEF": ("albef", ("albef_",), "ALBEF"),
    "MoCo": ("moco", ("moco",), None),
    "task heads": ("heads", (), None),
    "many tasks at once": ("multitask", (), None),
    "Faster R-CNN": ("detector", (), None),
    "from labels": ("labelled", (), None),
}
#: Golden files of no single architecture.
SHARED = {"explain_clip", "explain_rules", "retrieval_metrics"}
SOURCES = json.loads((ROOT / "data" / "sources.json").read_text(encoding="utf-8"))["pretrained"]


def row(name):
    file, beginnings, title = ARCHITECTURES[name]
    lines = len((ROOT / "minimm" / "models" / f"{file}.py").read_text(encoding="utf-8").splitlines())
    golden = sorted(case for case in BUILT if case.startswith(beginnings)) if beginnings else []
    released = [name for source in SOURCES if title and source["title"].startswith(f"{title} (") for name in source["what"]]
    cells = (name, f"[`{file}.py`](minimm/models/{file}.py)", str(lines), ", ".join(f"`{g}`" for g in golden),
             ", ".join(f"`{r}`" for r in released))
    return f"| {' | '.join(cell or '-' for cell in cells)} |"


def test_the_table_of_architectures():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    expected = "\n".join(row(name) for name in ARCHITECTURES)
    assert expected in text, f"the README's table should be:\n{expected}"


def test_every_golden_file_is_some_architectures():
    beginnings = tuple(b for _, bs, _ in ARCHITECTURES.values() for b in bs)
    assert {case for case in BUILT if not case.startswith(beginnings)} == SHARED


def test_every_model_is_in_the_table_and_short():
    files = {path.stem for path in (ROOT / "minimm" / "models").glob("*.py")} - {"__init__"}
    assert files == {file for file, *_ in ARCHITECTURES.values()}
    for file in files:
        lines = len((ROOT / "minimm" / "models" / f"{file}.py").read_text(encoding="utf-8").splitlines())
        assert lines < 300, f"{file}.py has {lines} lines: an architecture is to be read in one go"
