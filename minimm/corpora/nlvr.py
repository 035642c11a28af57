"""NLVR: is the sentence true of the picture? Sentences that people wrote, pictures of three boxes with shapes.

Suhr, Lewis, Yeh and Artzi, "A Corpus of Natural Language for Visual Reasoning", ACL 2017; data/nlvr.md is its card.

    nlvr.download()                                  # once; or put the files to data/cache/nlvr by hand
    examples = nlvr.load(split="dev")
    for batch in nlvr.batches(examples, 32):
        batch["pictures"], batch["sentences"], batch["labels"]
"""

import io
import json
import os
import random
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from .._download import compare_checksum, fetch, source
from .._errors import expect
from .._paths import cache_dir

PERMUTATIONS = 6  # the orders of the three boxes; 0 is the order in which the corpus describes them
BY_HAND = ("minimm.corpora.nlvr.download() gets it, or do it by hand: from https://github.com/lil-lab/nlvr copy "
           "nlvr/dev and nlvr/test into {}")


@dataclass(frozen=True)
class Example:
    """A sentence, whether it is true of the picture, and the six files of that picture, its boxes in every order."""

    sentence: str
    label: bool
    identifier: str  # "PRESENTATION-POSITION": a writer saw up to four pictures at once
    directory: str  # all examples of one presentation are in one directory
    pictures: tuple[Path, ...]


def load(folder=None, split="dev"):
    """Read one split: a list of `Example`, in the order of its file.

    folder: where `SPLIT/SPLIT.json` and `SPLIT/images` are; by default the folder that the environment variable
    MINIMM_NLVR names, then data/cache/nlvr. Every picture's file is looked for before anything is returned.

    Raises FileNotFoundError when there is no corpus or a file of it is missing, and ValueError for a split that is not
    there and for a damaged file; both name the file, and the line.
    """
    tried = _folders(folder)
    splits = {}
    for place in tried:
        for name in _splits(place):
            splits.setdefault(name, place)
    if not splits:
        raise FileNotFoundError(f"no NLVR corpus in {' or '.join(map(str, tried))} (a split is SPLIT/SPLIT.json and "
                                f"SPLIT/images). {BY_HAND.format(tried[-1])}")
    expect(split in splits, "split", repr(split), f"one of those in {' or '.join(map(str, tried))}: "
           f"{', '.join(sorted(splits))} (nlvr.download(splits=...) gets more)")
    return _read(splits[split] / split)


def folds(examples, k, seed=0):
    """Split for cross-validation by directory: a list of k pairs (train, held out); each example is held out once.

    Examples of one directory can belong together (one writer's sentence for several pictures), so a directory is never
    on both sides, as the authors advise. Raises ValueError if there are fewer than k directories.
    """
    directories = sorted({example.directory for example in examples})
    expect(isinstance(k, int) and 2 <= k <= len(directories), "k", repr(k),
           f"a whole number from 2 to the number of directories, {len(directories)}")
    # Of Python's generator only random() is promised to stay the same in later versions.
    draw = random.Random(seed).random
    directories.sort(key=lambda _: draw())
    return [([e for e in examples if e.directory not in held], [e for e in examples if e.directory in held])
            for held in (set(directories[i::k]) for i in range(k))]


def batches(examples, size, image_size=None, permutation=0, seed=0):
    """Yield the examples in their order, `size` at a time (the last batch may be smaller), as dictionaries:

    pictures: uint8 `b c h w`, RGB; sentences: list of b strings; labels: bool `b`.

    image_size: (height, width) in pixels to scale to, even if that squeezes the picture; None keeps the published
    100 x 400. permutation: which order of the boxes to show, 0 to 5, or "random" for one drawn per example by `seed`
    (another seed every epoch shows other orders).

    Raises ValueError or FileNotFoundError that names the picture if one cannot be read.
    """
    examples = list(examples)
    expect(examples, "examples", "none", "at least one")
    expect(_is_count(size), "size", repr(size), "a whole number of examples, at least 1")
    expect(image_size is None or isinstance(image_size, (tuple, list)) and len(image_size) == 2
           and all(map(_is_count, image_size)), "image_size", repr(image_size), "None or (height, width) in pixels")
    expect(permutation == "random" or type(permutation) is int and 0 <= permutation < PERMUTATIONS, "permutation",
           repr(permutation), f'0 to {PERMUTATIONS - 1} or "random"')
    # A generator's body runs at the first `next`; the checks above must speak at the call.
    return _batches(examples, size, image_size, permutation, seed)


def download(folder=None, splits=("dev", "test"), url=None):
    """Get `splits` ("dev", "test", "train") from the authors' repository into `folder`; return the folder.

    folder: data/cache/nlvr by default. What is there already is left alone. The archive is a few hundred MB, whichever
    splits you want; it stays beside the folder as FOLDER.zip (delete it if you need the room), and its SHA-256 is
    recorded on first use and compared later. A split appears in the folder whole or not at all.
    url: another address of the same archive.

    Raises OSError without a network, saying which file to put where, and ValueError for a damaged or changed archive.
    """
    folder = (cache_dir() / "nlvr" if folder is None else Path(folder)).resolve()
    expect(not isinstance(splits, str), "splits", repr(splits), 'a tuple of names, such as ("dev", "test")', TypeError)
    for split in splits:
        expect(split in ("train", "dev", "test"), "splits", repr(split), '"train", "dev" and "test"')
    wanted = sorted(set(splits) - set(_splits(folder)))
    for split in wanted:
        if (folder / split).exists():
            raise FileExistsError(f"{folder / split} is in the way and is no whole split; delete it and try again")
    if not wanted:
        return folder

    archive = folder.with_name(folder.name + ".zip")
    before = archive.exists()
    fetch(url or source("nlvr")["url"], archive)
    if not zipfile.is_zipfile(archive):
        if not before:
            archive.unlink()  # what was just downloaded: the next call gets it again
        raise ValueError(f"{archive}: not a whole zip archive{'; delete it' if before else ''}. Please download again")

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as temporary:
        _unpack(archive, wanted, Path(temporary))
        try:
            for split in wanted:
                _read(Path(temporary) / split)
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"{archive}: damaged; delete it and download again ({error})") from error
        compare_checksum(archive)  # only now: a damaged archive must not become what later ones are compared with
        for split in wanted:
            os.replace(Path(temporary) / split, folder / split)
    return folder


def _folders(folder):
    if folder is not None:
        return [Path(folder)]
    named = os.environ.get("MINIMM_NLVR")
    return ([Path(named)] if named else []) + [cache_dir() / "nlvr"]


def _splits(folder):
    """The names of the splits that are in the folder."""
    return sorted(file.stem for file in Path(folder).glob("*/*.json") if file.stem == file.parent.name)


def _is_count(number):
    return type(number) is int and number >= 1


def _read(folder):
    file = folder / f"{folder.name}.json"
    listed = {}  # one listing a directory instead of a look at every file
    examples = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON ({error})") from error
        expect(isinstance(row, dict), where, f"{line[:40]!r}", "a JSON object")
        for key in ("sentence", "label", "identifier", "directory"):
            expect(key in row, where, f"the keys {', '.join(row)}", f"the key {key!r}")
            expect(isinstance(row[key], str) and row[key], f"{where}, {key}", repr(row[key]), "a text")
        expect(row["label"] in ("true", "false"), f"{where}, label", repr(row["label"]), '"true" or "false"')

        directory = folder / "images" / row["directory"]
        if directory not in listed:
            listed[directory] = set(os.listdir(directory)) if directory.is_dir() else set()
        names = [f"{folder.name}-{row['identifier']}-{k}.png" for k in range(PERMUTATIONS)]
        for name in names:
            if name not in listed[directory]:
                raise FileNotFoundError(f"{directory / name}: this picture of {where} is missing; delete the folder "
                                        f"{folder.name} and get it again")
        examples.append(Example(row["sentence"], row["label"] == "true", row["identifier"], row["directory"],
                                tuple(directory / name for name in names)))
    expect(examples, str(file), "an empty file", "one JSON object a line")
    return examples


def _batches(examples, size, image_size, permutation, seed):
    draw = random.Random(seed).random
    for start in range(0, len(examples), size):
        batch = examples[start:start + size]
        pictures = []
        for example in batch:
            file = example.pictures[int(PERMUTATIONS * draw()) if permutation == "random" else permutation]
            pictures.append(_picture(file, image_size))
            expect(pictures[-1].shape == pictures[0].shape, str(file), f"height and width {pictures[-1].shape[:2]}",
                   f"those of the batch's first picture, {pictures[0].shape[:2]}; image_size=(h, w) scales them")
        yield {"pictures": torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(),
               "sentences": [example.sentence for example in batch],
               "labels": torch.tensor([example.label for example in batch])}


def _picture(file, image_size):
    """One picture, uint8 `h w c`. The files are RGBA but opaque everywhere, so nothing is lost."""
    try:
        # Pillow decodes a PNG without looking at its checksums, and would show other pixels; `verify` looks at them,
        # after which the picture has to be opened anew.
        content = io.BytesIO(file.read_bytes())
        Image.open(content).verify()
        image = Image.open(content).convert("RGB")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file}: this picture is missing") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow says "broken PNG" in all three
        raise ValueError(f"{file}: damaged, not a readable picture ({error})") from error
    if image_size is not None:
        image = image.resize(tuple(reversed(image_size)), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _unpack(archive, splits, folder):
    """Unpack TOP/nlvr/SPLIT/SPLIT.json and TOP/nlvr/SPLIT/images of the archive into folder/SPLIT."""
    with zipfile.ZipFile(archive) as opened:
        found = set()
        for member in opened.infolist():
            path = PurePosixPath(member.filename)
            # No name may lead out of the folder, on any system.
            if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
                raise ValueError(f"{archive}: refused, as the member {member.filename!r} has an unsafe path")
            if len(path.parts) < 4 or path.parts[1] != "nlvr" or member.is_dir():
                continue
            split, *rest = path.parts[2:]
            if rest == [f"{split}.json"]:
                found.add(split)
            elif rest[0] != "images":
                continue
            if split not in splits:
                continue
            target = folder.joinpath(split, *rest)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with opened.open(member) as packed, open(target, "wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
            except (zipfile.BadZipFile, EOFError) as error:
                raise ValueError(f"{archive}: damaged at {member.filename} ({error}); delete it and download "
                                 "again") from error
    for split in splits:
        expect(split in found, "splits", repr(split), f"splits of {archive}: {', '.join(sorted(found)) or 'none'}")
