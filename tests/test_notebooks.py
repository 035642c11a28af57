"""What every notebook of the course keeps to; that it runs, nbval shows."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
COMPARED = "nbval-check-output"


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return request.param, json.loads(request.param.read_text(encoding="utf-8"))


def sources(notebook, kind):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def outputs(notebook):
    for number, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", []):
            text = "".join(output.get("text", "")) + json.dumps(output.get("data", {}).get("text/plain", ""))
            yield number, output, text


def test_there_are_notebooks():
    assert PATHS


def test_was_run_from_top_to_bottom(notebook):
    path, notebook = notebook
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert path.stat().st_size < 1_000_000
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_stored_outputs_are_clean(notebook):
    for number, output, text in outputs(notebook[1]):
        assert output["output_type"] != "error" and output.get("name") != "stderr", number
        assert not re.search(r"Warning|Traceback|/home/|/root/|/tmp/|/Users/|[A-Z]:\\", text), (number, text)


def test_compares_a_quarter_of_its_code(notebook):
    code = [cell for cell in notebook[1]["cells"] if cell["cell_type"] == "code"]
    compared = [cell for cell in code if COMPARED in cell["metadata"].get("tags", [])]
    assert len(compared) >= len(code) / 4
    assert all(cell["outputs"] for cell in compared), "nothing is stored that could be compared"


def test_pictures_have_a_text(notebook):
    for number, output, _ in outputs(notebook[1]):
        data = output.get("data", {})
        assert "image/png" not in data, f"cell {number}: a picture without alternative text (plots.show gives it one)"
        page = "".join(data.get("text/html", ""))
        assert page.count("<img") == len(re.findall(r'<img alt="[^"]{10,}"', page)), number


def test_short_cells_and_unfolding(notebook):
    for source in sources(notebook[1], "code"):
        lines = source.splitlines()
        assert len(lines) <= 25 and max(map(len, lines)) <= 120
    for source in sources(notebook[1], "markdown"):
        assert not re.search(r"</summary>\n(?!\n)", source), "a blank line must follow </summary>"


def test_links_lead_somewhere(notebook):
    path, notebook = notebook
    for source in sources(notebook, "markdown"):
        for target in re.findall(r"\]\(([^)#:]+)\)", source):
            assert (path.parent / target).exists(), target


def test_exercises_are_unanswered_and_checked(notebook):
    from minimm.exercises import check
    text = "\n".join(sources(notebook[1], "code"))
    for name in re.findall(r"check\.(\w+)\(", text):
        assert name in dir(check) and re.search(rf"def {name}\(.*?\n    \.\.\.  # your code here", text, re.S)


def test_the_index_lists_every_lesson():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\d\d-[^)]+\.ipynb)\)", text) == [path.name for path in PATHS]
