"""Where files live."""

import os
from pathlib import Path


def data_dir():
    """The folder `data` of the project (cards, results)."""
    return Path(__file__).resolve().parent.parent / "data"


def cache_dir():
    """Where downloads are kept: the variable MINIMM_CACHE, else `data/cache` of the project."""
    return Path(os.environ.get("MINIMM_CACHE") or data_dir() / "cache")


def write_whole(path, write):
    """Call `write(file)` on a new file and move it to `path` when it is complete: the file is whole or absent."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
