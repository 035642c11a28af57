"""Execute notebooks in place and store their outputs, as readers find them: for those who change a notebook.

    .venv/bin/python tools/store_outputs.py notebooks/05-clip.ipynb

A notebook that fails is left as it was.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from run_notebook import client, keep_last_states


def tidy(notebook):
    """Neither times of execution nor states of widgets are stored."""
    keep_last_states(notebook)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}


def run(notebook, path):
    """Execute `notebook` in the folder of `path`, in place."""
    client(notebook, path, timeout=300).execute()
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
