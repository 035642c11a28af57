"""Execute notebooks in place and store their outputs, as readers find them: for those who change a notebook.

    .venv/bin/python tools/store_outputs.py notebooks/05-clip.ipynb

A notebook that fails is left as it was.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def tidy(notebook):
    """Of a progress bar that overwrites itself only the last state stays; times of execution go."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        kept = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
                kept[-1].text += output.text
            else:
                kept.append(output)
        if "outputs" in cell:
            cell.outputs = kept
        for output in kept:
            if output.output_type == "stream":
                output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in output.text.split("\n"))
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}


def run(notebook, path):
    """Execute `notebook` in the folder of `path`, in place."""
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    tidy(notebook)


def store(notebook, path):
    part = path.with_suffix(".part")
    nbformat.write(notebook, part)
    os.replace(part, path)


def main(paths):
    for path in map(Path, paths):
        notebook = nbformat.read(path, as_version=4)
        start = time.perf_counter()
        run(notebook, path)
        store(notebook, path)
        print(f"{path}: {time.perf_counter() - start:.0f} s, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    os.environ["MINIMM_PROGRESS"] = "off"  # what is stored shows nobody's progress, and adds to nobody's
    main(sys.argv[1:])
