"""Downloads that are there whole or not at all, and that stay what they were."""

import hashlib
import json
from http.client import HTTPException
from pathlib import Path

from torch.hub import download_url_to_file

from ._paths import data_dir, write_whole


def source(name):
    """The entry of data/sources.json that says where the collection `name` comes from."""
    return json.loads((data_dir() / "sources.json").read_text(encoding="utf-8"))[name]


def fetch(url, file):
    """Download `url` to `file` unless the file is there already, and return its path.

    An interrupted download leaves no `file`. Raises OSError that says which file to put where when there is no network.
    """
    file = Path(file)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(url, str(file))
        # A connection that breaks off in the middle is an HTTPException, which is no OSError.
        except (OSError, HTTPException) as error:
            raise OSError(f"could not download {url} ({error}). Without a network here: get the file elsewhere, "
                          f"put it to {file} and run the same line again") from error
    return file


def compare_checksum(file, published=None):
    """Raise ValueError unless the SHA-256 of `file` is the published one. Where the source publishes none: record it
    beside the file (FILE.sha256.json) on first use, and raise ValueError if it changed since."""
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    came = digest.hexdigest()

    if published is not None:
        if came != published:
            raise ValueError(f"{file}: its SHA-256 is {came}, but its source publishes {published}: cut short or "
                             f"another file. Delete it to get it again")
        return
    record = Path(f"{file}.sha256.json")
    if record.exists():
        try:
            expected = json.loads(record.read_bytes())["sha256"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{record}: damaged ({error}); delete it to record the checksum of {file} anew") from error
        if came != expected:
            raise ValueError(f"{file}: its SHA-256 is {came}, but {record} recorded {expected} on first use. Delete "
                             f"the file to get it again, or the record if you trust the new file")
    else:
        text = json.dumps({"file": Path(file).name, "sha256": came}, indent=2) + "\n"
        write_whole(record, lambda opened: opened.write(text.encode()))
