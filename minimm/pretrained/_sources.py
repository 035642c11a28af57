"""Where released files come from (data/sources.json), and where they are kept: data/cache/pretrained."""

import re
import shutil
import tarfile
from pathlib import Path

from .._download import compare_checksum, fetch, source
from .._errors import expect
from .._paths import cache_dir, write_whole
from ._reader import FOLDER_FILES

HUB_NAME = r"[\w.-]+/[\w.-]+"  # OWNER/NAME


def titles():
    """{name: title}"""
    return {name: f"{release['title']}: {what}" for release in source("pretrained")
            for name, what in release["what"].items()}


def find(name_or_path):
    """The file or folder that is meant, downloaded if need be. Raises what `pretrained.load` says."""
    expect(isinstance(name_or_path, (str, Path)), "name_or_path", type(name_or_path).__name__, "a text or a path",
           TypeError)
    path, name = Path(name_or_path), str(name_or_path)
    expect(name, "name_or_path", "an empty text", "a file, a folder or a name")
    if path.exists():
        return path
    alike = [known for known in titles() if known != name and known.lower() == name.lower()]
    expect(not alike, "name_or_path", repr(name), f"{' or '.join(alike)}, written so")
    for release in source("pretrained"):
        if name in release["files"]:
            return _file(release["folder"], **release["files"][name])
    if name in titles() or re.fullmatch(HUB_NAME, name) and path.suffix not in (".pt", ".pth", ".bin", ".ckpt", ".tar"):
        return hub(name, ("config.json",), FOLDER_FILES)
    raise FileNotFoundError(f"{name}: neither a file or folder that is there, nor one of the names that are known: "
                            f"{', '.join(titles())}, or OWNER/NAME on Hugging Face")


def vocabulary(kind):
    """The file or folder with the vocabulary for `text.tokenizer`, downloaded if need be."""
    release = next(r for r in source("pretrained") if kind in r.get("vocabulary", {}).get("kinds", ()))
    entry = release["vocabulary"]
    if "hub" in entry:
        return hub(entry["hub"], *((name,) for name in entry["files"]))
    return _file(release["folder"], entry["url"], member=entry["member"])


def _file(folder, url, sha256=None, member=None):
    """The file at url, whose SHA-256 is given where its source publishes one; with `member` that file of the tar."""
    folder = cache_dir() / "pretrained" / folder
    if member is not None and (folder / member).exists():
        return folder / member
    whole = fetch(url, folder / url.rpartition("/")[2])
    compare_checksum(whole, sha256)
    return _unpack(whole, member, folder / member) if member is not None else whole


def hub(name, *wanted):
    """The folder with files of Hugging Face's repository `name`. Each of `wanted` is a tuple of names, of which the
    first that the repository has is taken."""
    folder = cache_dir() / "pretrained" / name
    wanted = [choice for choice in wanted if not any((folder / wish).exists() for wish in choice)]
    by_hand = f"put {' and '.join(' or '.join(choice) for choice in wanted)} to {folder} and run the same line again"
    if not wanted:
        return folder
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise ImportError(f"{name} comes by the package huggingface_hub: pip install -e \".[pretrained]\". Or get it "
                          f"elsewhere, {by_hand}") from error
    for choice in wanted:
        for wish in choice:
            try:
                hf_hub_download(name, wish, local_dir=folder)
                break
            except Exception as error:  # its errors have no common ancestor
                there_is_none = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
                if not there_is_none or wish == choice[-1]:
                    raise OSError(f"could not download {wish} of {name} from Hugging Face ({error}). Without a network "
                                  f"here: get it elsewhere, {by_hand}") from error
    return folder


def _unpack(archive, member, path):
    """One file of a tar archive, to `path`; nothing else of the archive is written anywhere."""
    try:
        with tarfile.open(archive) as opened:
            found = [entry for entry in opened if entry.isfile() and entry.name.removeprefix("./") == member]
            expect(found, str(archive), "a tar archive without it", f"{member} in it")
            content = opened.extractfile(found[0])
            write_whole(path, lambda file: shutil.copyfileobj(content, file))
    except tarfile.TarError as error:
        raise ValueError(f"{archive}: damaged or no tar archive ({error}); delete it to get it again") from error
    return path
