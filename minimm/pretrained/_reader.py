"""Weights out of the files that authors release, without running anything that a file says.

A file of weights is often a pickle, and a pickle is a small program: opening it the usual way runs whatever its author
put in. So: safetensors where there are some; else `torch.load(weights_only=True)`, which knows tensors and containers
only; and for the files that it refuses (they carry a class of their project) one reader of our own, which takes them
apart without importing or calling anything that they name. It reads three containers: the zip of `torch.save`, the zip
of TorchScript (the program in it is never looked at), and the older format without a zip.
"""

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open

from .._errors import expect

FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")  # what a folder of Hugging Face's layout may hold
WEIGHT_KEYS = ("state_dict", "model", "model_state_dict")  # below which of a checkpoint's keys the weights stand
OLD_FORMAT = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the magic number that torch.save wrote up to PyTorch 1.5

# How torch.load says no: to a name that it does not know, or to bytes of Python 2 that are no text.
REFUSED = (pickle.UnpicklingError, UnicodeDecodeError)


class Checkpoint(NamedTuple):
    """tensors: {name: tensor} as the file names them; facts: the plain values (texts, numbers) that stand beside them,
    from config.json of a folder or from the options `opt` of a training script."""

    tensors: dict
    facts: dict


def read(path):
    """The weights in a file, or in a folder with config.json and model.safetensors or pytorch_model.bin: `Checkpoint`.

    Raises FileNotFoundError if there is none, ValueError for what is no file of weights (a web page, a pointer of
    git-lfs, another archive), for a damaged one and for one that holds other things than tensors where weights stand.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in FOLDER_FILES if (path / name).exists()]
        if not found:
            raise FileNotFoundError(f"{path}: expected a folder with {' or '.join(FOLDER_FILES)}, but it holds "
                                    f"{', '.join(sorted(p.name for p in path.iterdir())[:8]) or 'nothing'}")
        return Checkpoint(read(found[0]).tensors, _config(path / "config.json"))
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    try:
        return _READERS[_kind(path)](path)
    except OSError:
        raise
    except Exception as error:  # a file from elsewhere can be wrong in every way there is
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: damaged or cut short ({type(error).__name__}: {error})") from error


def read_vocabulary(path):
    """{word: id} from a pickled vocabulary of VSE++ (`coco_vocab.pkl`): an object with the attribute word2idx."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            words = vars(Unpickler(file).load())["word2idx"]
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: no pickled vocabulary with word2idx ({type(error).__name__}: {error})") from error
    expect(isinstance(words, dict) and all(isinstance(w, str) and type(i) is int for w, i in words.items()), str(path),
           type(words).__name__, "words with their numbers in word2idx")
    return words


# What a file is, by its first bytes: its name proves nothing.


def _kind(path):
    with open(path, "rb") as file:
        head = file.read(512)
    text = head.lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path}: a pointer of git-lfs instead of the file itself; get it with `git lfs pull`")
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"{path}: a web page saved under the name of the weights; get the file itself")
    if head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if OLD_FORMAT in head[:24]:
        return "old"
    raise ValueError(f"{path}: expected safetensors, a file of torch.save or a TorchScript archive, but it begins with "
                     f"{head[:16]!r}")


def _config(path):
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error


def _safetensors(path):
    with safe_open(path, "pt") as file:
        return Checkpoint({name: file.get_tensor(name) for name in file.keys()}, {})


def _zip(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        # NAME/data.pkl and NAME/data/0, /1, ...; a TorchScript archive has constants and code besides.
        folders = [name.removesuffix("data.pkl") for name in names if name.rpartition("/")[2] == "data.pkl"]
        expect(len(folders) == 1, str(path), f"a zip archive of {', '.join(names[:5]) or 'nothing'}",
               "a zip that torch.save or TorchScript wrote, with one data.pkl")
        if f"{folders[0]}constants.pkl" in names:
            return _read_zip(path, archive, folders[0], script=True)
        try:
            return _checkpoint(path, torch.load(path, map_location="cpu", weights_only=True, mmap=True))
        except REFUSED:
            return _read_zip(path, archive, folders[0])


def _old(path):
    try:
        return _checkpoint(path, torch.load(path, map_location="cpu", weights_only=True))
    except REFUSED:
        return _read_old(path)


_READERS = {"safetensors": _safetensors, "zip": _zip, "old": _old}


# Where the weights stand among what the file holds.


def _checkpoint(path, content, load=lambda tensor: tensor):
    """content: what the pickle said; load: makes a tensor of what stands for one in it."""
    weights = content
    if isinstance(content, dict):
        weights = next((content[key] for key in WEIGHT_KEYS if key in content), content)
    parts = weights if isinstance(weights, (list, tuple)) else [weights]  # VSE++: a list of two, pictures and sentences
    expect(parts and all(isinstance(part, dict) and part for part in parts), str(path),
           f"{type(weights).__name__} {str(weights)[:60]}", "weights: names and tensors")
    named = {f"{i}.{name}" if parts is weights else name: value for i, part in enumerate(parts)
             for name, value in part.items()}
    others = [f"{name} ({type(value).__name__})" for name, value in named.items()
              if not (isinstance(name, str) and isinstance(value, (torch.Tensor, _Tensor)))]
    expect(not others, str(path), ", ".join(others[:5]), f"nothing but tensors where weights stand (the keys "
           f"{', '.join(WEIGHT_KEYS)}, or the whole file)")
    options = content.get("opt") if isinstance(content, dict) else None
    return Checkpoint({name: load(value) for name, value in named.items()},
                      _plain(vars(options)) if isinstance(options, _Inert) else {})


def _plain(values):
    return {key: value for key, value in values.items() if isinstance(value, (str, int, float, bool))}


# The inert reader.


class _Inert:
    """What any class or function becomes that a file names: it ignores what it is made from, and does nothing but keep
    the attributes that it is given."""

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update(part)

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    def extend(self, values):
        pass


class _Storage(NamedTuple):
    """Numbers somewhere in the file: their type, under which key they stand and where among those they begin."""

    dtype: torch.dtype
    key: str
    start: int


class _Tensor(NamedTuple):
    """A tensor whose numbers are not read yet: optimisers' states, which are larger than the weights, never are."""

    storage: _Storage
    offset: int
    size: tuple
    stride: tuple

    def of(self, numbers):
        """The tensor itself; numbers: those of its storage, in one row."""
        return torch.as_strided(numbers, self.size, self.stride, self.storage.start + self.offset)


_DTYPES = {"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
           "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
           "Bool": torch.bool}


def _known():
    """All that a name in a file may stand for, made anew for every file, so that no file can change it for the next."""

    class OrderedDict(dict):  # dict itself would not keep the attribute that state dicts have
        pass

    def tensor(storage, offset, size, stride, *rest):
        return _Tensor(storage, offset, size, stride)

    def parameter(data, *rest):
        return data

    return {("collections", "OrderedDict"): OrderedDict, ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor"): tensor, ("torch._utils", "_rebuild_tensor_v2"): tensor,
            ("torch._utils", "_rebuild_parameter"): parameter,
            **{("torch", f"{name}Storage"): dtype for name, dtype in _DTYPES.items()},
            **{("torch.cuda", f"{name}Storage"): dtype for name, dtype in _DTYPES.items()},
            **{("torch", str(dtype).removeprefix("torch.")): dtype for dtype in _DTYPES.values()}}


class Unpickler(pickle.Unpickler):
    """A pickle's containers, texts, numbers and (unread) tensors. Nothing that it names is imported, looked up or
    called: every name but the few of `_known` becomes an empty class that takes everything and does nothing."""

    def __init__(self, file):
        # Texts of Python 2 are bytes: UTF-8. Raw numbers among them, which are not, must not stop the reading.
        super().__init__(file, encoding="utf-8", errors="surrogateescape")
        self.known, self.storages = _known(), {}

    def find_class(self, module, name):
        return self.known.get((module, name)) or type("Inert", (_Inert,), {})

    def persistent_load(self, pid):
        """("storage", type, key, device, length[, (key of a view, its start, its length)])"""
        if not (isinstance(pid, tuple) and len(pid) > 4 and pid[0] == "storage" and isinstance(pid[1], torch.dtype)):
            return _Inert()
        self.storages[pid[2]] = pid[1]
        return _Storage(pid[1], pid[2], pid[5][1] if len(pid) > 5 and pid[5] else 0)


def _attributes(module, prefix=""):
    """(dotted name, tensor) of all tensors in a tree of objects: the state dict of a TorchScript module."""
    for name, value in vars(module).items():
        if isinstance(value, _Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Inert):
            yield from _attributes(value, f"{prefix}{name}.")


def _loader(numbers_of):
    """Turns a `_Tensor` into the tensor; numbers_of(dtype, key): the bytes of a storage. Tied tensors stay tied."""
    rows = {}

    def load(tensor):
        if not isinstance(tensor.storage, _Storage):
            raise ValueError("a tensor of an unknown type of numbers")
        dtype, key, _ = tensor.storage
        if key not in rows:
            data = numbers_of(dtype, key)
            rows[key] = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return tensor.of(rows[key])

    return load


def _read_zip(path, archive, folder, script=False):
    with archive.open(f"{folder}data.pkl") as file:
        content = Unpickler(file).load()
    if script:
        content = dict(_attributes(content)) if isinstance(content, _Inert) else content
    return _checkpoint(path, content, _loader(lambda dtype, key: archive.read(f"{folder}data/{key}")))


def _read_old(path):
    """Five pickles (magic number, version, system, content, keys of the storages), then each storage: how many numbers
    it has, in eight bytes, and the numbers."""
    with open(path, "rb") as file:
        for _ in range(3):
            Unpickler(file).load()
        unpickler = Unpickler(file)
        content = unpickler.load()
        places = {}
        for key in Unpickler(file).load():
            length = struct.unpack("<q", file.read(8))[0] * unpickler.storages[key].itemsize
            places[key] = file.tell(), length
            file.seek(length, 1)

        def numbers_of(dtype, key):
            start, length = places[key]
            file.seek(start)
            return file.read(length)

        return _checkpoint(path, content, _loader(numbers_of))
