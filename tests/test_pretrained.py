"""Released weights: files of exactly the published layouts, with random values, load; whatever else comes is refused,
and nothing that a file contains is executed. tests/layouts holds every name, shape and type of those files."""

import argparse
import gzip
import io
import json
import pickle
import re
import struct
import sys
import tarfile
import types
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks import peers
from minimm import pretrained
from minimm._download import source
from minimm.models import heads, multitask
from minimm.models.albef import ALBEF, ALBEFConfig, Body
from minimm.models.clip import CLIP, CLIPConfig
from minimm.models.vilbert import ViLBERT, ViLBERTConfig
from minimm.models.vilt import ViLT, ViLTConfig, ViLTEncoder, ViLTRetrieval
from minimm.models.vse import VSE, VSEConfig
from minimm.pretrained import _names, _reader, _sources
from minimm.pretrained._reader import Checkpoint
from minimm.pretrained.pictures import vilt_size
from minimm.pretrained.text import clean_caption, treebank_words

LAYOUTS = Path(__file__).parent / "layouts"


def layout(name):
    return json.loads((LAYOUTS / f"{name}.json").read_text())


VOCABULARY = 1000  # of VSE++, where the layouts say -1
DEEPER = r".*\.(?:resblocks|layers?|blocks|v_layer|c_layer)\.(?:[2-9]|1\d)\..+"  # all but the first two blocks


def released(name):
    """{name: (shape, type)} of the released file: the first variant, under the names that it has there."""
    found = layout(name)
    absent = set(found["variants"][0]["absent"])
    old_names = {new: old for old, new in found.get("renames_in_released_files", {}).items()}
    return {old_names.get(key, key): ([VOCABULARY if n == -1 else n for n in shape], getattr(torch, dtype))
            for key, (shape, dtype) in found["tensors"].items() if key not in absent}


def tensors_of(name, make, sizes=None, without=DEEPER):
    """{name: make(shape, type)} for the released file `name`, tied names being one tensor.

    sizes: {published size: small one}, and then the names that match `without` are left out.
    """
    found = released(name)
    if sizes:
        found = {key: ([sizes.get(n, n) for n in shape], dtype) for key, (shape, dtype) in found.items()
                 if not re.fullmatch(without, key)}
    tensors = {key: make(shape, dtype) for key, (shape, dtype) in found.items()}
    for first, *others in layout(name)["tied"]:
        tensors |= {other: tensors[first] for other in others if other in tensors}
    return tensors


def random(shape, dtype):
    if dtype.is_floating_point:
        return torch.randn(shape).to(dtype)
    return torch.arange(torch.Size(shape).numel()).view(shape)


def on_meta(shape, dtype):
    return torch.empty(shape, dtype=dtype, device="meta")


def one_number(shape, dtype):
    """A tensor whose file holds a single number, whatever its size."""
    return random([], dtype).expand(shape)


def shapes(model):
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def check_published(name, build, unused=(), besides=(), **extra):
    """All names and shapes of a published file find their place in the model of published size, which `build` makes;
    and this has as many parameters as the file, without what is unused, momentum copies, queues and doubles.

    unused: names (regular expressions) in the file; besides: beginnings of the model's own names that no file holds.
    """
    found = layout(name)
    with torch.device("meta"):
        model = pretrained.assemble(Checkpoint(tensors_of(name, on_meta) | extra, {}))
        built = build()
    assert type(model) is type(built) and shapes(model) == shapes(built)
    assert getattr(model, "config", None) == getattr(built, "config", None)
    doubles = {other for _, *others in found["tied"] for other in others}
    theirs = sum(torch.Size(shape).numel() for key, (shape, _) in released(name).items()
                 if key not in doubles | {*found["buffers"], *found.get("present_but_unused_in_forward", ())}
                 and not any(re.fullmatch(pattern, key) for pattern in unused))
    assert theirs == sum(p.numel() for key, p in built.named_parameters() if not key.startswith(tuple(besides)))
    return model


# ---- the reader: every container


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(3).half(), "b.number": torch.tensor(7),
            "b.flag": torch.tensor([True, False])}


def same(came, expected):
    assert came.keys() == expected.keys()
    for name, tensor in expected.items():
        assert came[name].dtype == tensor.dtype and torch.equal(came[name], tensor), name


class Callback:
    """Stands for pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint."""


@pytest.fixture
def foreign(monkeypatch):
    """A class of a library that is gone when the file is read."""
    module = types.ModuleType("foreign_library")
    module.Callback = type("Callback", (), {"__module__": "foreign_library"})
    monkeypatch.setitem(sys.modules, "foreign_library", module)
    yield module.Callback


def lightning(weights, callback):
    return {"epoch": 3, "global_step": 200000, "pytorch-lightning_version": "1.1.4", "state_dict": weights,
            "callbacks": {callback: {"best_model_score": torch.tensor(0.5), "dirpath": "x"}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.randn(1000)}}, "param_groups": [{"lr": 1e-4}]}],
            "lr_schedulers": [{"last_epoch": 1}], "native_amp_scaling_state": {"scale": 65536.0},
            "hparams_name": "kwargs", "hyper_parameters": {"config": {"max_text_len": 40}}}


def options(**changes):
    return argparse.Namespace(**{"data_name": "coco", "margin": 0.2, "num_layers": 1, "cnn_type": "resnet152",
                                 "measure": "cosine", "use_abs": False, "no_imgnorm": False, "max_violation": True,
                                 "finetune": True} | changes)


def test_safetensors(weights, tmp_path):
    save_file(weights, tmp_path / "x.bin")  # the name proves nothing
    same(_reader.read(tmp_path / "x.bin").tensors, weights)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [
    lambda w: w,
    lambda w: {"model": w, "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(9)}}}, "epoch": 2},
    lambda w: {"model_state_dict": w, "global_step": 3},
    lambda w: {"state_dict": w, "model": "a text"},
])
def test_torch_files(weights, wrap, zipped, tmp_path):
    torch.save(wrap(weights), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    checkpoint = _reader.read(tmp_path / "x.pth")
    same(checkpoint.tensors, weights)
    assert checkpoint.facts == {}


@pytest.mark.parametrize("zipped", [True, False])
def test_lightning(weights, foreign, zipped, tmp_path, monkeypatch):
    weights["a.copy"] = weights["a.weight"]  # one storage under two names
    torch.save(lightning(weights, foreign), tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "foreign_library")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.ckpt", weights_only=True)
    came = _reader.read(tmp_path / "x.ckpt").tensors
    same(came, weights)
    assert came["a.copy"].data_ptr() == came["a.weight"].data_ptr()
    assert "foreign_library" not in sys.modules


class Python2Pickler(pickle._Pickler):
    """Writes texts as Python 2 did: bytes."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_str(self, text):
        data = text.encode("utf-8", "surrogateescape")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data if len(data) < 256
                   else pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[str] = save_str


def python2():
    """A pickle module for torch.save."""
    module = types.ModuleType("python2")
    module.Pickler = Python2Pickler
    module.dump = lambda thing, file, protocol=2: Python2Pickler(file, protocol).dump(thing)
    return module


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("old_python", [True, False])
def test_vsepp_wrapper(weights, zipped, old_python, tmp_path):
    part = dict(list(weights.items())[:2])
    # A numpy number of Python 2: raw bytes, which are no UTF-8, as a text.
    content = {"epoch": 29, "model": [weights, part], "best_rsum": "\udc9a\udc99\udcff" if old_python else 400.1,
               "opt": options(crop_size=224, logger_name="runs/x", vocab=None), "Eiters": 100}
    module = {"pickle_module": python2()} if old_python else {}
    torch.save(content, tmp_path / "x.pth.tar", _use_new_zipfile_serialization=zipped, **module)
    checkpoint = _reader.read(tmp_path / "x.pth.tar")
    same(checkpoint.tensors, {f"0.{k}": t for k, t in weights.items()} | {f"1.{k}": t for k, t in part.items()})
    assert checkpoint.facts == {k: v for k, v in vars(content["opt"]).items() if v is not None}


def test_views_and_strides_of_the_old_format(tmp_path):
    whole = torch.arange(24.0)
    weights = {"rows": whole[4:16].view(3, 4), "columns": whole.view(4, 6).T, "one": whole[20]}
    torch.save({"model": [weights], "opt": options()}, tmp_path / "x", _use_new_zipfile_serialization=False)
    same(_reader.read(tmp_path / "x").tensors, {f"0.{k}": t for k, t in weights.items()})


class StorageOf2017(list):
    """A view of some numbers of a larger storage on a GPU, as PyTorch 0.1 had them."""

    length, start = 6, 2


class PicklerOf2017(pickle.Pickler):
    def persistent_id(self, thing):
        if isinstance(thing, StorageOf2017):
            return "storage", torch.cuda.FloatStorage, "77", "cuda:1", 10, ("88", thing.start, thing.length)

    def reducer_override(self, thing):
        if isinstance(thing, torch.Tensor):  # four arguments: no gradient, no hooks yet
            return torch._utils._rebuild_tensor, (StorageOf2017(), 1, tuple(thing.shape), thing.stride())
        return NotImplemented


def test_a_file_as_pytorch_wrote_them_in_2017(tmp_path):
    numbers = torch.arange(10.0)
    with open(tmp_path / "x.pth.tar", "wb") as file:
        for thing in (0x1950a86a20f9469cfc6c, 1001, {"little_endian": True}):
            pickle.dump(thing, file, 2)
        PicklerOf2017(file, 2).dump({"model": [{"a": torch.zeros(2, 2)}], "opt": options()})
        pickle.dump(["77"], file, 2)
        file.write(struct.pack("<q", 10) + numbers.numpy().tobytes())
    same(_reader.read(tmp_path / "x.pth.tar").tensors, {"0.a": numbers[3:7].view(2, 2)})


class Scripted(torch.nn.Module):
    def __init__(self, half):
        super().__init__()
        self.visual = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
        self.visual[0].weight.data = self.visual[0].weight.data.to(torch.float16 if half else torch.float32)
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.5))
        self.register_buffer("vocab_size", torch.tensor(40))

    def forward(self, x):
        return self.visual[1](x @ self.visual[0].weight.float().T) * self.logit_scale + self.vocab_size


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("half", [False, True])
def test_torchscript_archive(half, tmp_path, monkeypatch):
    model = Scripted(half)
    torch.jit.trace(model, torch.randn(2, 4)).save(str(tmp_path / "x.pt"))
    for name in ("load", "script"):
        monkeypatch.setattr(torch.jit, name, lambda *a, **k: pytest.fail("the archive's program was run"))
    same(_reader.read(tmp_path / "x.pt").tensors, model.state_dict())


def test_folder(weights, tmp_path):
    with pytest.raises(FileNotFoundError, match="model.safetensors or pytorch_model.bin.*nothing"):
        _reader.read(tmp_path)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    assert _reader.read(tmp_path).facts == {}
    (tmp_path / "config.json").write_text('{"a": 1}')
    same(_reader.read(tmp_path).tensors, weights)
    save_file({"other": torch.zeros(2)}, tmp_path / "model.safetensors")  # preferred
    same(_reader.read(tmp_path).tensors, {"other": torch.zeros(2)})
    assert _reader.read(tmp_path).facts == {"a": 1}
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: not JSON"):
        _reader.read(tmp_path)


# ---- the reader: what is refused


def archive_of(**files):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return whole.getvalue()


@pytest.mark.parametrize("content, says", [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", "git-lfs"),
    (b"\n<!DOCTYPE html><html></html>", "web page"),
    (b"<html>", "web page"),
    (archive_of(**{"a.txt": "x", "b.txt": "y"}), "zip archive of a.txt, b.txt"),
    (archive_of(**{"x/data.pkl": b"", "y/data.pkl": b""}), "one data.pkl"),
    (b"PK\x03\x04 cut short", "damaged"),
    (b"", "begins with b''"),
    (b"#!/bin/sh\n", "begins with b'#!"),
    (b"\x93NUMPY" + b" " * 90, "begins with b'.x93NUMPY"),
    (struct.pack("<q", 20) + b"{not json at all      }", "damaged"),
    (pickle.dumps({"state_dict": {}}), "begins with"),  # a bare pickle
])
def test_what_is_no_file_of_weights(content, says, tmp_path):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pt: ") as error:
        _reader.read(tmp_path / "x.pt")
    assert re.search(says, str(error.value)), error.value


def test_tar_is_no_file_of_weights(weights, tmp_path):
    with tarfile.open(tmp_path / "x.pth.tar", "w") as archive:  # the oldest format of torch.save
        for name in ("storages", "tensors", "pickle", "sys_info"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(ValueError, match="begins with b'sto"):
        _reader.read(tmp_path / "x.pth.tar")


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        _reader.read(tmp_path / "x.pt")


@pytest.mark.parametrize("content, says", [
    ({"state_dict": {"a": torch.zeros(2), "b": 5}}, r"b \(int\)"),
    ({"model": [{"a": torch.zeros(2)}, "x"]}, "names and tensors"),
    ({"model": {}}, "names and tensors"),
    ({"epoch": 5}, r"epoch \(int\)"),
    ([1, 2], "names and tensors"),
    ({"model": {"a": {"b": torch.zeros(2)}}}, r"a \(dict\)"),
    ({"model": {"a": argparse.Namespace(x=torch.zeros(2))}}, r"a \(Inert\)"),
    ({"state_dict": {"a": argparse.Namespace}}, r"a \(type\)"),
    (argparse.Namespace(a=torch.zeros(2)), "names and tensors"),
])
@pytest.mark.parametrize("zipped", [True, False])
def test_only_tensors_where_weights_stand(content, says, zipped, tmp_path):
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=rf"x\.pth: expected .*{says}"):
        _reader.read(tmp_path / "x.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("safe", [True, False])
def test_a_file_cut_short_is_refused(weights, zipped, safe, tmp_path):
    content = {"model": weights} if safe else {"model": weights, "opt": options()}
    torch.save(content, tmp_path / "x", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "x").read_bytes()
    for length in range(0, len(whole) - 1, 97):
        (tmp_path / "x").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="x: "):
            _reader.read(tmp_path / "x")


# ---- the reader: attacks. Each pickle would do harm if it were opened the usual way.


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def attacks(marker):
    import builtins
    import os
    import subprocess

    harm = f"open({str(marker)!r}, 'w')"
    return {
        "os.system": Call(os.system, f"touch {marker}"),
        "eval": Call(eval, harm),
        "exec": Call(exec, harm),
        "getattr": Call(getattr, Callback, "__init__"),
        "open": Call(open, str(marker), "w"),
        "import": Call(__import__, "antigravity"),
        "subprocess": Call(subprocess.run, ["touch", str(marker)]),
        "torch.load": Call(torch.load, str(marker)),
        "torch.jit.load": Call(torch.jit.load, str(marker)),
        "compile": Call(compile, harm, "x", "exec"),
    }


# Written by hand: GLOBALs that a Pickler would not write, arguments and a call.
BY_HAND = {
    "posix": b"cposix\nsystem\n(Vtouch {marker}\ntR.",
    "builtins of Python 2": b"c__builtin__\neval\n(Vopen({marker!r}, 'w')\ntR.",
    "getattr of a module": b"cbuiltins\ngetattr\n(cos\npath\nVsystem\ntR(Vtouch {marker}\ntR.",
    "instance": b"(Vtouch {marker}\nios\nsystem\n.",
    "object": b"(cos\nsystem\nVtouch {marker}\no.",
    "dotted name": b"\x80\x04\x8c\x02os\x8c\x0bpath.exists\x93.",
    "known function, foreign state": b"ctorch._utils\n_rebuild_tensor_v2\n}(V__defaults__\ncos\nsystem\nub.",
    "known function, foreign slots": b"ctorch._utils\n_rebuild_tensor_v2\n(N}(V__kwdefaults__\n}ustb.",
    "storage, foreign slots": b"ctorch\nFloatStorage\n(N}(Vdtype\n}ustb.",
    "an object within itself": b"c__torch__\nM\n)\x81q\x00}(Vself\nh\x00ub.",
    "class of our own": b"cminimm.pretrained._reader\n_Tensor\n(N}(Vof\n}ustb.",
}


def by_hand(name, marker):
    text = BY_HAND[name]
    return text.replace(b"{marker!r}", repr(str(marker)).encode()).replace(b"{marker}", str(marker).encode())


def harmless(pickled, tmp_path, marker):
    """The pickle alone, and within every container."""
    system = pickle.dumps(0x1950a86a20f9469cfc6c, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    plain = {"x/data.pkl": pickled, "x/version": "3"}
    script = plain | {"x/constants.pkl": pickled, "x/code/__torch__.py": "raise SystemExit"}
    for number, content in enumerate((archive_of(**plain), archive_of(**script), system + pickled)):
        file = tmp_path / f"attack{number}.pt"
        file.write_bytes(content)
        with pytest.raises(ValueError, match="attack"):
            _reader.read(file)
        assert not marker.exists()
    try:
        with open(tmp_path / "attack.pkl", "wb") as file:
            file.write(pickled)
        with pytest.raises(ValueError, match="no pickled vocabulary"):
            _reader.read_vocabulary(tmp_path / "attack.pkl")
    finally:
        assert not marker.exists()


@pytest.mark.parametrize("name", attacks(""))
def test_attack(name, tmp_path):
    marker = tmp_path / "harm"
    call = attacks(marker)[name]
    for thing in (call, {"state_dict": {"a": call}}, {"model": call}, {"opt": call}, {call.function: 1}):
        harmless(pickle.dumps(thing, 2), tmp_path, marker)
    assert "antigravity" not in sys.modules


def test_attacks_are_real(tmp_path):
    for name in ("posix", "builtins of Python 2", "instance", "object"):
        marker = tmp_path / name.replace(" ", "-")
        try:
            pickle.loads(by_hand(name, marker))
        except Exception:
            pass
        assert marker.exists(), name


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", BY_HAND)
def test_attack_by_hand(name, tmp_path):
    marker = tmp_path / "harm"
    rebuild = torch._utils._rebuild_tensor_v2
    before = rebuild.__defaults__, rebuild.__kwdefaults__, dict(vars(torch.FloatStorage)), dict(vars(_reader._Tensor))
    harmless(by_hand(name, marker), tmp_path, marker)
    after = rebuild.__defaults__, rebuild.__kwdefaults__, dict(vars(torch.FloatStorage)), dict(vars(_reader._Tensor))
    assert before == after


def test_attack_beside_good_weights(weights, tmp_path):
    """The weights come, the call beside them does not happen."""
    marker = tmp_path / "harm"
    for name, call in attacks(marker).items():
        for zipped in (True, False):
            content = {"state_dict": weights, "callbacks": call}
            torch.save(content, tmp_path / "x", _use_new_zipfile_serialization=zipped)
            same(_reader.read(tmp_path / "x").tensors, weights)
            assert not marker.exists(), name


# ---- CLIP

# Published size: small size. The same number is the same size everywhere in a layout.
CLIP_SIZES = {768: 24, 2304: 72, 3072: 96, 512: 16, 1536: 48, 2048: 64, 49408: 40, 77: 9, 50: 10, 224: 24, 32: 8}


def small_clip():
    """OpenAI's names with small sizes: (tensors, the model's config)."""
    tensors = tensors_of("clip_vit_b32", random, CLIP_SIZES)
    tensors |= {"input_resolution": torch.tensor(24), "context_length": torch.tensor(9), "vocab_size": torch.tensor(40)}
    return tensors, CLIPConfig(
        embed_dim=16, image=24, patch=8, vision_width=24, vision_layers=2, vision_heads=1, context=9, vocab=40,
        text_width=16, text_layers=2, text_heads=1, eot_id=39, stem=False)


class Tree(torch.nn.Module):
    """A module whose state dict is the given one, as TorchScript keeps it: sub-modules under dotted names."""

    def __init__(self, tensors):
        super().__init__()
        for name in {name.partition(".")[0] for name in tensors}:
            below = {k.partition(".")[2]: t for k, t in tensors.items() if k.partition(".")[0] == name}
            if "" in below:
                self.register_buffer(name, below[""])
            else:
                self.add_module(name, Tree(below))

    def forward(self, x):
        for tensor in self.buffers(recurse=False):
            x = x + tensor.float().sum()
        for module in self.children():
            x = module(x)
        return x


def check_loaded(model):
    """Evaluation mode, float32, on the CPU, finite; nobody's random numbers were touched."""
    assert not model.training and not any(m.training for m in model.modules())
    for name, tensor in model.state_dict().items():
        assert tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.int64, torch.bool), name
        assert tensor.isfinite().all(), name


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("container", ["archive", "state dict", "module."])
def test_openai_clip(container, tmp_path):
    tensors, config = small_clip()
    if container == "archive":
        torch.jit.trace(Tree(tensors), torch.zeros(())).save(str(tmp_path / "x.pt"))
    else:
        for name in ("input_resolution", "context_length", "vocab_size"):
            tensors.pop(name)
        prefix = "module." if container == "module." else ""
        torch.save({f"{prefix}{name}": tensor for name, tensor in tensors.items()}, tmp_path / "x.pt")
    state = torch.random.get_rng_state()
    model = pretrained.load(tmp_path / "x.pt")
    assert torch.equal(state, torch.random.get_rng_state())
    check_loaded(model)
    assert isinstance(model, CLIP) and model.config == config
    for name, tensor in peers.open_clip_weights(model).items():
        assert torch.equal(tensor, tensors.pop(name).float()), name
    assert tensors.keys() <= {"input_resolution", "context_length", "vocab_size"}
    model(torch.randn(2, 3, 24, 24), torch.tensor([[3, 4, 39, 0], [38, 39, 0, 0]]))


def test_openai_clip_checks_what_the_archive_says():
    tensors, _ = small_clip()
    with pytest.raises(ValueError, match="vocab_size.*41"):
        pretrained.assemble(Checkpoint(tensors | {"vocab_size": torch.tensor(41)}, {}))


@pytest.mark.parametrize("change, says", [
    (lambda t: t.pop("visual.ln_pre.bias"), r"missing \(1\) vision.ln_pre.bias"),
    (lambda t: t.pop("visual.conv1.weight"), "vision.patch.conv.weight.*missing"),
    (lambda t: t.update({"visual.attnpool.x": torch.zeros(2)}), r"unknown names \(1\): visual.attnpool.x"),
    (lambda t: t.update({"visual.transformer.resblocks.1.ln_1.bias": torch.zeros(2)}),
     r"vision.blocks.1.ln1.bias: expected \(24,\)"),
    (lambda t: [t.pop(k) for k in list(t) if "resblocks.0.ln_1" in k], r"missing \(4\)"),
])
def test_wrong_names_and_shapes(change, says, tmp_path):
    tensors, _ = small_clip()
    change(tensors)
    torch.save(tensors, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=rf"x\.pt: .*{says}"):
        pretrained.load(tmp_path / "x.pt")


def test_weights_of_no_known_model(weights, tmp_path):
    torch.save(weights, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="a released CLIP"):
        pretrained.load(tmp_path / "x.pt")


def test_clip_of_another_picture_size(tmp_path):
    tensors, config = small_clip()
    tensors["visual.positional_embedding"] = 1.5 + 0 * tensors["visual.positional_embedding"]
    tensors["visual.positional_embedding"][0] = 7
    torch.save(tensors, tmp_path / "x.pt")
    model = pretrained.load(tmp_path / "x.pt", image=40)
    assert model.config.image == 40 and model.vision.pos.shape == (26, 24)
    assert torch.equal(model.vision.pos[0], torch.full((24,), 7.0))  # the class token's row stays
    torch.testing.assert_close(model.vision.pos[1:], torch.full((25, 24), 1.5))
    for wrong in (30, -8, 24.0):
        with pytest.raises(ValueError, match="image: expected a multiple of the patch 8"):
            pretrained.load(tmp_path / "x.pt", image=wrong)


def test_positions_are_resized_as_a_picture():
    table = torch.randn(10, 5)
    resized = _names.resize_positions(table, 32, 8)
    grid = table[1:].view(3, 3, 5)
    expected = torch.nn.functional.interpolate(grid.permute(2, 0, 1)[None], size=(4, 4), mode="bicubic")[0]
    torch.testing.assert_close(resized[1:].view(4, 4, 5), expected.permute(1, 2, 0))
    assert _names.resize_positions(table, 24, 8) is table and _names.resize_positions(table, None, 8) is table


# ---- Hugging Face's files of CLIP: the same outputs


def hugging_face(model, folder):
    """Save a reference model with random weights as Hugging Face does; biases, which start at 0, are drawn too."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim < 2:
                p.add_(0.1 * torch.randn(p.shape))
    model.eval().save_pretrained(folder)
    return model


def as_published(name, model, folder, **config):
    """pytorch_model.bin with exactly the names of the layout, and config.json with the published oddities."""
    state = model.state_dict()
    for group in layout(name)["tied"]:
        state |= {key: state[other] for key in group for other in group if other in state and key not in state}
    tensors = {}
    for key, (shape, dtype) in released(name).items():
        tensors[key] = state[key] if key in state else random(shape, dtype)  # position_ids: not in today's library
        assert list(tensors[key].shape) == shape and tensors[key].dtype == dtype, key
    folder.mkdir()
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(config))


def test_hugging_face_clip_at_published_size(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `test` is not installed")
    theirs = hugging_face(transformers.CLIPModel(transformers.CLIPConfig()), tmp_path / "new")
    ours = pretrained.load(tmp_path / "new")
    check_loaded(ours)
    assert ours.config == CLIPConfig.paper()
    images = pretrained.pictures("clip")(Image.effect_noise((300, 260), 80))[None]
    ids = torch.tensor([[49406, 320, 1125, 539, 320, 2368, 49407, 49407, 49407]])  # padded as the library does
    with torch.no_grad():
        out, reference = ours(images, ids), theirs(pixel_values=images, input_ids=ids)
        same_with_zeros = ours.encode_text(torch.where(torch.arange(9) > 6, 0, ids))
    torch.testing.assert_close(out.logits_per_image, reference.logits_per_image, rtol=1e-5, atol=1e-5)
    for features, embeds in ((out.image_features, reference.image_embeds), (out.text_features, reference.text_embeds)):
        torch.testing.assert_close(torch.nn.functional.normalize(features, dim=-1), embeds, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.text_features, same_with_zeros)

    as_published("hf_clip_vit_b32", theirs, tmp_path / "old", text_config={"eos_token_id": 2}, projection_dim=512)
    del theirs
    again = pretrained.load(tmp_path / "old")
    assert again.config == ours.config
    same(again.state_dict(), ours.state_dict())


def test_hugging_face_config_is_heard(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `test` is not installed")
    towers = {"hidden_size": 24, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = transformers.CLIPConfig(
        projection_dim=16, vision_config=towers | {"image_size": 24, "patch_size": 8},
        text_config=towers | {"vocab_size": 40, "max_position_embeddings": 9, "eos_token_id": 5})
    theirs = hugging_face(transformers.CLIPModel(config), tmp_path)
    ours = pretrained.load(tmp_path)
    assert (ours.config.vision_heads, ours.config.text_heads, ours.config.eot_id) == (3, 3, 5)
    images, ids = torch.randn(2, 3, 24, 24), torch.tensor([[3, 7, 5, 39, 5], [38, 5, 2, 39, 0]])
    torch.testing.assert_close(ours(images, ids).logits_per_image,
                               theirs(pixel_values=images, input_ids=ids).logits_per_image, rtol=1e-5, atol=1e-5)
    written = json.loads((tmp_path / "config.json").read_text())
    written["text_config"]["hidden_act"] = "gelu"
    (tmp_path / "config.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match="hidden_act of text_config: expected 'quick_gelu'"):
        pretrained.load(tmp_path)


# ---- all layouts at published size


PUBLISHED = {
    "clip_vit_b32": (lambda: CLIP(CLIPConfig.paper()), {}),
    "hf_clip_vit_b32": (lambda: CLIP(CLIPConfig.paper()), {}),
    "vilt_mlm_itm": (lambda: ViLT(ViLTConfig.paper()), {}),
    "vilt_vqa": (lambda: heads.Classifier(ViLTEncoder(ViLTConfig.paper()), 3129, hidden=1536), {}),
    "vilt_nlvr2": (lambda: heads.Pairs(ViLTEncoder(ViLTConfig.paper(modalities=3)), 2), {}),
    "vilt_irtr": (lambda: ViLTRetrieval(ViLTConfig.paper()), {"unused": [r"itm_score\..+"]}),
    "hf_vilt_b32_mlm": (lambda: ViLT(ViLTConfig.paper()), {"besides": ["itm."]}),
    "hf_vilt_b32_vqa": (lambda: heads.Classifier(ViLTEncoder(ViLTConfig.paper()), 3129, hidden=1536), {}),
    "vilbert_base": (lambda: ViLBERT(ViLBERTConfig.paper()), {}),
    "vilbert_multitask": (lambda: multitask.ViLBERTTasks(ViLBERT(ViLBERTConfig.paper(tasks=20))), {}),
    "vsepp": (lambda: VSE(VSEConfig.paper(vocab=VOCABULARY)), {}),
    "vsepp_vgg19": (lambda: VSE(VSEConfig.paper("vgg19", VOCABULARY)), {}),
    "albef_pretrain": (lambda: ALBEF(ALBEFConfig.paper()), {"unused": [r"\w+_m\..+"], "besides": ["momentum."]}),
    "albef_retrieval": (lambda: ALBEF(ALBEFConfig.paper(384, index_targets=True)), {"besides": ["momentum."]}),
    "albef_vqa": (lambda: heads.ALBEFAnswers(heads.Answerer(ALBEFConfig.paper(384))), {"besides": ["momentum."]}),
    "albef_ve": (lambda: heads.Classifier(Body(ALBEFConfig.paper(384)), 3, heads.albef_head),
                 {"unused": [r"\w+_m\..+"]}),
    "albef_nlvr": (lambda: heads.ALBEFPairs(heads.PairBody(ALBEFConfig.paper(384)), 2, heads.albef_head),
                   {"unused": [r"\w+_m\..+"]}),
}
NOT_LOADED = {"albef_nlvr_ta_pretrain"}


def test_every_layout_is_known():
    assert {path.stem for path in LAYOUTS.glob("*.json")} == PUBLISHED.keys() | NOT_LOADED


@pytest.mark.parametrize("name", PUBLISHED)
def test_published(name):
    build, more = PUBLISHED[name]
    if name == "clip_vit_b32":  # read as numbers
        more = more | {key: torch.tensor(n) for key, n in
                       {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}.items()}
    check_published(name, build, **more)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if len(layout(name)["variants"]) > 1])
def test_other_variants(name):
    """With and without momentum copies and queues, counters of batches, task tokens, position ids."""
    found = layout(name)
    for variant in found["variants"]:
        tensors = {key: on_meta([VOCABULARY if n == -1 else n for n in shape], getattr(torch, dtype))
                   for key, (shape, dtype) in found["tensors"].items() if key not in variant["absent"]}
        for first, *others in found["tied"]:
            tensors |= {other: tensors[first] for other in others if other in tensors}
        if "vocab_size" in tensors:
            tensors |= {key: torch.tensor(n) for key, n in
                        {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}.items()}
        with torch.device("meta"):
            model = pretrained.assemble(Checkpoint(tensors, {}))
            if not any("task_embeddings" in key or key == "0.cnn.module.conv1.weight" for key in variant["absent"]):
                assert shapes(model) == shapes(PUBLISHED[name][0]())


def test_a_layout_that_is_not_loaded_says_why():
    with pytest.raises(ValueError, match=r"unknown names \(2\): ta_head.weight, ta_head.bias"), torch.device("meta"):
        pretrained.assemble(Checkpoint(tensors_of("albef_nlvr_ta_pretrain", on_meta), {}))


# ---- ViLT

VILT_SIZES = {768: 24, 1536: 48, 2304: 72, 3072: 96, 30522: 40, 145: 10, 32: 8, 40: 9, 3129: 7}


def as_authors(tensors):
    """Hugging Face's names of ViLT as the authors'."""
    named, stacked = {}, {}
    for name, tensor in tensors.items():
        name = re.sub(r"^vilt\.encoder\.layer\.", "transformer.blocks.", name)
        for old, new in (("attention.output.dense", "attn.proj"),
                         ("vilt.embeddings.cls_token", "transformer.cls_token"),
                         ("vilt.embeddings.position_embeddings", "transformer.pos_embed"),
                         ("vilt.embeddings.patch_embeddings.projection", "transformer.patch_embed.proj"),
                         ("vilt.embeddings.", ""), ("vilt.layernorm", "transformer.norm"), ("vilt.pooler", "pooler"),
                         ("layernorm_before", "norm1"), ("layernorm_after", "norm2"), ("intermediate.dense", "mlp.fc1"),
                         ("output.dense", "mlp.fc2"), ("classifier", "vqa_classifier")):
            name = name.replace(old, new)
        if match := re.fullmatch(r"(.+)\.attention\.attention\.(query|key|value)\.(weight|bias)", name):
            stacked.setdefault(f"{match[1]}.attn.qkv.{match[3]}", {})[match[2]] = tensor
        elif name != "mlm_score.decoder.bias":
            named[name] = tensor
    return named | {name: torch.cat([parts[key] for key in ("query", "key", "value")])
                    for name, parts in stacked.items()}


@pytest.mark.parametrize("task", ["mlm", "vqa"])
def test_vilt_of_its_authors(task, tmp_path, foreign):
    theirs = tensors_of(f"hf_vilt_b32_{task}", random, VILT_SIZES)
    authors = as_authors(theirs)
    if task == "mlm":
        authors |= {"itm_score.fc.weight": torch.randn(2, 24), "itm_score.fc.bias": torch.randn(2)}
    assert authors.keys() == tensors_of({"mlm": "vilt_mlm_itm", "vqa": "vilt_vqa"}[task], random, VILT_SIZES).keys()
    torch.save(lightning(authors, foreign), tmp_path / "x.ckpt")
    save_file({k: t for k, t in theirs.items() if k != "mlm_score.decoder.bias"}, tmp_path / "x.safetensors")
    came, expected = pretrained.load(tmp_path / "x.ckpt"), pretrained.load(tmp_path / "x.safetensors")
    check_loaded(came)
    if task == "mlm":
        assert torch.equal(came.itm.weight, authors["itm_score.fc.weight"])
        assert not came(torch.randn(1, 3, 24, 24), torch.tensor([[1, 2]])).matching_logits.isnan().any()
        assert not expected.itm.weight.any() and not expected.itm.bias.any()  # Hugging Face's has none: no opinion
        expected.itm.load_state_dict(came.itm.state_dict())
    same(came.state_dict(), expected.state_dict())


@pytest.mark.parametrize("name, kind", [("vilt_nlvr2", heads.Pairs), ("vilt_irtr", ViLTRetrieval)])
def test_vilt_for_tasks(name, kind, tmp_path, foreign):
    tensors = tensors_of(name, random, VILT_SIZES)
    torch.save(lightning(tensors, foreign), tmp_path / "x.ckpt")
    model = pretrained.load(tmp_path / "x.ckpt")
    check_loaded(model)
    assert type(model) is kind
    encoder = model.backbone if kind is heads.Pairs else model.encoder
    assert torch.equal(encoder.modality.weight, tensors["token_type_embeddings.weight"])
    assert torch.equal(encoder.text.token_type.weight, tensors["text_embeddings.token_type_embeddings.weight"])
    images, ids = torch.randn(2, 3, 16, 32), torch.tensor([[1, 2, 3], [1, 4, 0]])
    if kind is heads.Pairs:
        assert torch.equal(model.head[3].weight, tensors["nlvr2_classifier.3.weight"])
        assert model({"left": {"images": images}, "right": {"images": -images}, "ids": ids}).shape == (2, 2)
    else:
        assert torch.equal(model.rank.weight, tensors["rank_output.weight"])
        assert model(images, ids[:, None]).shape == (2, 1)
    with pytest.raises(ValueError, match="image: expected None"):
        pretrained.load(tmp_path / "x.ckpt", image=32)


@pytest.mark.parametrize("task", ["mlm", "vqa"])
def test_hugging_face_vilt_at_published_size(task, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `test` is not installed")
    kind = {"mlm": "ViltForMaskedLM", "vqa": "ViltForQuestionAnswering"}[task]
    config = transformers.ViltConfig(num_labels=3129, tie_word_embeddings=False)
    theirs = getattr(transformers, kind)(config)
    if task == "mlm":  # as published; the library now ties them unless they come from a file with two
        theirs.mlm_score.decoder.weight = torch.nn.Parameter(0.02 * torch.randn(30522, 768))
    with torch.no_grad():  # as large as trained ones; the library takes eps 1e-12 where the authors' code has 1e-6
        for part in ("word_embeddings", "position_embeddings"):
            getattr(theirs.vilt.embeddings.text_embeddings, part).weight.mul_(20)
        theirs.vilt.embeddings.patch_embeddings.projection.weight.mul_(2)
        theirs.vilt.embeddings.position_embeddings.normal_()
    hugging_face(theirs, tmp_path / "new")
    ours = pretrained.load(tmp_path / "new")
    check_loaded(ours)
    images = pretrained.pictures("vilt")(Image.effect_noise((480, 300), 80))[None]
    assert images.shape == (1, 3, 384, 608)
    ids = torch.tensor([[101, 2048, 8870, 103, 1012, 102, 0, 0]])
    with torch.no_grad():
        reference = theirs(input_ids=ids, attention_mask=(ids != 0).long(), pixel_values=images,
                           pixel_mask=torch.ones(1, 384, 608, dtype=torch.int64)).logits
        if task == "mlm":
            out = ours.mlm(ours.encoder(images, ids).text)[:, :6]
            reference = reference[:, :6]  # what stands at padding means nothing
        else:
            out = ours({"images": images, "ids": ids})
    assert reference.std() > 0.01
    torch.testing.assert_close(out, reference, rtol=1e-4, atol=1e-4)

    as_published(f"hf_vilt_b32_{task}", theirs, tmp_path / "old", num_attention_heads=12, layer_norm_eps=1e-12)
    del theirs
    same(pretrained.load(tmp_path / "old").state_dict(), ours.state_dict())


def test_hugging_face_vilt_with_tied_words(tmp_path):
    theirs = tensors_of("hf_vilt_b32_mlm", random, VILT_SIZES)
    theirs.pop("mlm_score.decoder.weight")
    theirs.pop("mlm_score.bias")  # today's name is mlm_score.decoder.bias alone
    torch.save(theirs, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"missing \(1\) mlm.decoder.weight"):
        pretrained.load(tmp_path)
    (tmp_path / "config.json").write_text('{"tie_word_embeddings": true, "num_attention_heads": 3}')
    model = pretrained.load(tmp_path)
    assert model.config.heads == 3
    assert torch.equal(model.mlm.decoder.weight, theirs["vilt.embeddings.text_embeddings.word_embeddings.weight"])
    assert torch.equal(model.mlm.bias, theirs["mlm_score.decoder.bias"])


# ---- tied tensors


@pytest.mark.parametrize("left_out", [None, 0, 1])
@pytest.mark.parametrize("name, sizes", [("vilbert_base", "VILBERT_SIZES"), ("hf_vilt_b32_mlm", "VILT_SIZES"),
                                         ("albef_pretrain", "ALBEF_SIZES"), ("albef_nlvr", "ALBEF_SIZES")])
def test_tied_tensors_under_either_name_or_both(name, sizes, left_out):
    without = DEEPER if name != "albef_pretrain" and name != "albef_nlvr" else ALBEF_DEEPER
    tensors = tensors_of(name, random, globals()[sizes], without)
    expected = pretrained.assemble(Checkpoint(dict(tensors), {})).state_dict()
    groups = [[key for key in group if key in tensors and not re.match(r"\w+_m\.", key)]
              for group in layout(name)["tied"]]
    groups = [group for group in groups if len(group) == 2]
    assert groups
    if left_out is None:
        for group in groups:
            wrong = tensors | {group[1]: tensors[group[1]] + 1}
            with pytest.raises(ValueError, match="different numbers"):
                pretrained.assemble(Checkpoint(wrong, {}))
    else:
        for group in groups:
            tensors.pop(group[left_out])
        came = pretrained.assemble(Checkpoint(tensors, {})).state_dict()
        random_start = ("image_queue", "text_queue")
        same({k: t for k, t in came.items() if not k.startswith(random_start)},
             {k: t for k, t in expected.items() if not k.startswith(random_start)})


# ---- ViLBERT

VILBERT_SIZES = {768: 24, 1024: 32, 2048: 64, 3072: 96, 30522: 40, 1601: 11, 512: 12, 3129: 7, 1533: 6}


@pytest.mark.parametrize("name", ["vilbert_base", "vilbert_multitask"])
@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"model_state_dict": {f"module.{k}": t for k, t in w.items()}},
                                  lambda w: {k.replace("LayerNorm.weight", "LayerNorm.gamma")
                                             .replace("LayerNorm.bias", "LayerNorm.beta"): t for k, t in w.items()}])
def test_vilbert(name, wrap, tmp_path):
    tensors = tensors_of(name, random, VILBERT_SIZES)
    torch.save(wrap(tensors), tmp_path / "x.bin", _use_new_zipfile_serialization=False)
    model = pretrained.load(tmp_path / "x.bin")
    check_loaded(model)
    picture = {"regions": torch.randn(2, 3, 64), "boxes": torch.tensor([[[0., 0, 9, 9]] * 3] * 2)}
    ids = torch.tensor([[1, 2, 3], [1, 4, 0]])
    if name == "vilbert_base":
        assert type(model) is ViLBERT and model(**picture, ids=ids).fused.shape == (2, 32)
        vilbert = model
    else:
        assert type(model) is multitask.ViLBERTTasks
        out = model(picture, ids, task=torch.tensor([1, 19]))
        assert {k: tuple(t.shape) for k, t in out.items()} == {
            "vqa": (2, 7), "gqa": (2, 6), "match": (2, 1), "entailment": (2, 3), "region": (2, 4, 1), "word": (2, 4, 1)}
        vilbert = model.backbone
        for ours, theirs in (("vqa.3", "vil_prediction.logit_fc.3"), ("gqa.2", "vil_prediction_gqa.logit_fc.2"),
                             ("pairs.0", "vil_binary_prediction.logit_fc.0"), ("match", "vil_logit"),
                             ("entailment", "vil_tri_prediction"), ("region", "vision_logit"),
                             ("word", "linguisic_logit")):
            assert torch.equal(model.get_submodule(ours).weight, tensors[f"{theirs}.weight"]), ours
    for ours, theirs in (("vision_embed.feat", "v_embeddings.image_embeddings"), ("text_pool", "t_pooler.dense"),
                         ("vision_embed.loc", "v_embeddings.image_location_embeddings"),
                         ("vision_pool", "v_pooler.dense"),
                         ("vision_blocks.1.mlp.fc2", "encoder.v_layer.1.output.dense"),
                         ("text_blocks.1.ln1", "encoder.layer.1.attention.output.LayerNorm")):
        assert torch.equal(vilbert.get_submodule(ours).weight, tensors[f"bert.{theirs}.weight"]), ours


def test_co_attention_of_vilbert_by_its_authors_names():
    """The authors' layer, written out: each stream's queries meet the other's keys and values."""
    tensors = tensors_of("vilbert_base", random, VILBERT_SIZES)
    co = pretrained.assemble(Checkpoint(dict(tensors), {})).co[1]
    vision, text = torch.randn(2, 5, 32), torch.randn(2, 4, 24)

    def linear(name, x):
        name = f"bert.encoder.c_layer.1.{name}"
        return torch.nn.functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(name, x):
        weight, bias = (tensors[f"bert.encoder.c_layer.1.{name}.{part}"] for part in ("weight", "bias"))
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, 1e-12)

    def attend(q, k, v):  # one head at this size
        return (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v

    q1, k1, v1 = (linear(f"biattention.{part}1", vision) for part in ("query", "key", "value"))
    q2, k2, v2 = (linear(f"biattention.{part}2", text) for part in ("query", "key", "value"))
    new_vision = norm("biOutput.LayerNorm1", vision + linear("biOutput.dense1", attend(q1, k2, v2)))
    new_text = norm("biOutput.LayerNorm2", text + linear("biOutput.dense2", attend(q2, k1, v1)))
    outputs = []
    for name, x in (("t", new_text), ("v", new_vision)):
        hidden = torch.nn.functional.gelu(linear(f"{name}_intermediate.dense", x))
        outputs.append(norm(f"{name}_output.LayerNorm", x + linear(f"{name}_output.dense", hidden)))
    for came, expected in zip(co(text, vision, None, None), outputs):
        torch.testing.assert_close(came, expected, rtol=1e-4, atol=1e-5)


# ---- VSE++


@pytest.mark.parametrize("old_python", [True, False])
def test_vsepp_for_precomputed_features(old_python, tmp_path):
    sizes = {1024: 16, 4096: 12, 300: 10, 3072: 48, VOCABULARY: 20}
    tensors = tensors_of("vsepp_vgg19", random, sizes, without=r"0\.cnn\..+")
    pair = [{k[2:]: t for k, t in tensors.items() if k.startswith(f"{i}.")} for i in (0, 1)]
    opt = options(data_name="coco_precomp", cnn_type="vgg19", measure="order", use_abs=True, margin=0.05,
                  no_imgnorm=True, max_violation=False)
    torch.save({"epoch": 1, "model": pair, "best_rsum": 1.0, "opt": opt, "Eiters": 3}, tmp_path / "model_best.pth.tar",
               _use_new_zipfile_serialization=False, **({"pickle_module": python2()} if old_python else {}))
    model = pretrained.load(tmp_path / "model_best.pth.tar")
    check_loaded(model)
    assert type(model) is VSE
    assert model.config == VSEConfig(embed_dim=16, image=224, cnn="precomputed", cnn_width=12, finetune=True, vocab=20,
                                     word_dim=10, measure="order", margin=0.05, max_violation=False, warm_up=0,
                                     no_imgnorm=True, use_abs=True)
    assert torch.equal(model.vision.fc.weight, tensors["0.fc.weight"])
    for name, tensor in model.text.state_dict().items():
        assert torch.equal(tensor, tensors[f"1.{name}"]), name
    assert model(torch.randn(2, 12), torch.tensor([[1, 5, 2], [1, 2, 0]])).scores.shape == (2, 2)


@pytest.mark.parametrize("name", ["vsepp", "vsepp_vgg19"])
def test_vsepp_at_published_size(name, tmp_path):
    tensors = tensors_of(name, one_number)
    pair = [{k[2:]: t for k, t in tensors.items() if k.startswith(f"{i}.")} for i in (0, 1)]
    cnn = {"vsepp": "resnet152", "vsepp_vgg19": "vgg19"}[name]
    torch.save({"epoch": 1, "model": pair, "best_rsum": 1.0, "opt": options(cnn_type=cnn), "Eiters": 3},
               tmp_path / "x.pth.tar", _use_new_zipfile_serialization=False)
    model = pretrained.load(tmp_path / "x.pth.tar")
    assert model.config == replace(VSEConfig.paper(cnn, VOCABULARY), finetune=True)
    assert not model.training
    for key, tensor in tensors.items():
        ours = re.sub(r"^0\.", "vision.", re.sub(r"^1\.", "text.", key)).replace(".module", "")
        ours = ours.replace("classifier.1.", "classifier.0.").replace("classifier.4.", "classifier.3.")
        came = model.state_dict()[ours]
        assert came.shape == tensor.shape and (came == tensor.flatten()[0]).all(), key

    torch.save({"model": pair, "opt": options(cnn_type="resnet50")}, tmp_path / "x.pth.tar")
    with pytest.raises(ValueError, match="cnn_type in opt: expected"):
        pretrained.load(tmp_path / "x.pth.tar")


# ---- ALBEF

ALBEF_SIZES = {768: 24, 2304: 72, 3072: 96, 30522: 40, 512: 12, 257: 10, 577: 17, 16: 8, 256: 16, 65536: 6}
# Two blocks for pictures, two for text, four that look at pictures, four that say answers.
ALBEF_DEEPER = (r"visual_encoder(_m)?\.blocks\.([2-9]|1\d)\..+|text_encoder.+\.layer\.([2-5]|1\d)\..+|"
                r"text_decoder.+layer\.[45]\..+")
ALBEF_FILES = {"albef_pretrain": ALBEF, "albef_retrieval": ALBEF, "albef_vqa": heads.ALBEFAnswers,
               "albef_ve": heads.Classifier, "albef_nlvr": heads.ALBEFPairs}


@pytest.mark.parametrize("name", ALBEF_FILES)
@pytest.mark.parametrize("bare", [True, False])
def test_albef(name, bare, tmp_path):
    tensors = tensors_of(name, random, ALBEF_SIZES, ALBEF_DEEPER)
    beside = {"optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(9)}}, "param_groups": [{"lr": 1e-5}]},
              "lr_scheduler": {"t_initial": 30}, "config": {"image_res": 256}, "epoch": 29}
    torch.save(tensors if bare else {"model": tensors} | beside, tmp_path / "x.pth")
    model = pretrained.load(tmp_path / "x.pth")
    check_loaded(model)
    assert type(model) is ALBEF_FILES[name]
    side = 24 if name == "albef_pretrain" else 32
    images, ids = torch.randn(2, 3, side, side), torch.tensor([[1, 2, 3], [1, 4, 0]])
    if type(model) is ALBEF:
        body = model.online
        assert torch.equal(model.temperature, tensors["temp"])
        assert torch.equal(model.itm.weight, tensors["itm_head.weight"])
        assert torch.equal(body.image_proj.weight, tensors["vision_proj.weight"])
        assert model.config.index_targets == (name == "albef_retrieval")
        assert model(images, ids).matching_logits.isfinite().all()
    elif type(model) is heads.ALBEFAnswers:
        body = model.online.body
        assert torch.equal(model.online.decoder.fusion[1].xattn.k.weight,
                           tensors["text_decoder.bert.encoder.layer.1.crossattention.self.key.weight"])
        scores, _ = model.rank({"images": images}, ids, torch.tensor([[1, 5, 2], [1, 6, 2], [1, 7, 2]]), 2)
        assert scores.isfinite().all()
    else:
        body = model.backbone
        picture = {"images": images}
        batch = picture | {"left": picture, "right": picture, "ids": ids}
        assert torch.equal(model.head[2].weight, tensors["cls_head.2.weight"])
        assert model(batch).shape == (2, {"albef_ve": 3, "albef_nlvr": 2}[name])
    if hasattr(model, "momentum"):
        same(model.momentum.state_dict(), model.online.state_dict())
        assert not any(p.requires_grad for p in model.momentum.parameters())

    level = "bert." if name == "albef_pretrain" else ""
    assert torch.equal(body.text.embed.tok.weight, tensors[f"text_encoder.{level}embeddings.word_embeddings.weight"])
    assert torch.equal(body.vision.cls, tensors["visual_encoder.cls_token"][0, 0])
    assert torch.equal(body.vision.pos, tensors["visual_encoder.pos_embed"][0])
    for number in (0, 1):
        assert torch.equal(torch.cat([body.vision.blocks[number].attn.get_submodule(m).weight for m in "qkv"]),
                           tensors[f"visual_encoder.blocks.{number}.attn.qkv.weight"])
        theirs = f"text_encoder.{level}encoder.layer.{number}."
        assert torch.equal(body.text.layers[number].mlp.fc1.weight, tensors[theirs + "intermediate.dense.weight"])
    for number in range(4):  # the first six read the text alone
        theirs = f"text_encoder.{level}encoder.layer.{6 + number}."
        assert torch.equal(body.text.fusion[number].xattn.v.bias, tensors[theirs + "crossattention.self.value.bias"])
        for norm, part in (("lnx", "crossattention.output"), ("ln1", "attention.output"), ("ln2", "output")):
            weight = body.text.fusion[number].get_submodule(norm).weight
            assert torch.equal(weight, tensors[f"{theirs}{part}.LayerNorm.weight"])


def test_albef_of_another_picture_size(tmp_path):
    torch.save({"model": tensors_of("albef_pretrain", random, ALBEF_SIZES, ALBEF_DEEPER)}, tmp_path / "x.pth")
    small, large = pretrained.load(tmp_path / "x.pth"), pretrained.load(tmp_path / "x.pth", image=40)
    assert (small.config.image, large.config.image) == (24, 40)
    for one, other in ((large.online, small.online), (large.momentum, small.momentum)):
        assert torch.equal(one.vision.pos, _names.resize_positions(other.vision.pos, 40, 8))
    large(torch.randn(1, 3, 40, 40), torch.tensor([[1, 2]]))


def test_berts_of_albef_compute_what_bert_computes(tmp_path):
    """Names of BERT are its library's: its outputs with the same weights."""
    transformers = pytest.importorskip("transformers", reason="the extra `test` is not installed")
    def bert(**more):
        return transformers.BertConfig(vocab_size=40, hidden_size=24, num_attention_heads=1, intermediate_size=96,
                                       max_position_embeddings=12, **more)

    encoder = hugging_face(transformers.BertModel(bert(num_hidden_layers=2), add_pooling_layer=False), tmp_path / "e")
    decoder = hugging_face(transformers.BertLMHeadModel(
        bert(num_hidden_layers=4, is_decoder=True, add_cross_attention=True)), tmp_path / "d")
    tensors = tensors_of("albef_vqa", random, ALBEF_SIZES, ALBEF_DEEPER)
    known = set(tensors)
    for prefix, theirs in (("text_encoder", encoder), ("text_decoder", decoder)):
        state = {f"{prefix}.{name}": tensor for name, tensor in theirs.state_dict().items() if "_ids" not in name}
        assert state.keys() <= known
        tensors |= state
    model = pretrained.assemble(Checkpoint(tensors, {})).online
    ids, states = torch.tensor([[1, 2, 3, 4], [1, 5, 6, 0]]), torch.randn(2, 3, 24)
    real = torch.tensor([[True, True, False], [True, True, True]])
    with torch.no_grad():
        read = encoder(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state
        torch.testing.assert_close(model.body.text.read(ids, ids > 0), read, rtol=1e-5, atol=1e-5)
        said = decoder(input_ids=ids, attention_mask=(ids > 0).long(), encoder_hidden_states=states,
                       encoder_attention_mask=real.long()).logits
        torch.testing.assert_close(model(states, real, ids)[ids > 0], said[ids > 0], rtol=1e-5, atol=1e-5)


# ---- text

MERGES = ["a t</w>", "c at</w>", "p h", "o t", "ph ot", "phot o</w>", "o f</w>", "d o", "do g</w>", "' s</w>"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat", "##s", "sno", "##w", "##man", "on", ",",
          ".", "!", "\u732b", "don", "'", "t", "dont", "-", "two"]


@pytest.fixture
def merges(tmp_path):
    path = tmp_path / "merges.txt"
    path.write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    return path


@pytest.fixture
def pieces(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return path


TEXTS = ["a photo of a cat", "A  DOG\u2019s\n photo!!", "it's the dog's cat, 42 caf\u00e9s", "\u732b <|endoftext|>",
         "<dog>"]


def test_clip_text(merges):
    words = pretrained.tokenizer("clip", merges)
    start, end = 512 + len(MERGES), 513 + len(MERGES)
    assert (len(words), words.first, words.last, words.pad_id) == (end + 1, [start], [end], 0)
    ids = words(["A photo of a cat", "dog"])
    # The bytes come in the order of the authors' table, where "!" is 0: "a" is 64, and 256 more at the end of a word.
    photo, of, cat, dog = (512 + MERGES.index(pair) for pair in ("phot o</w>", "o f</w>", "c at</w>", "do g</w>"))
    assert ids.tolist() == [[start, 320, photo, of, 320, cat, end], [start, dog, end, 0, 0, 0, 0]]
    assert ids.dtype == torch.int64 and words.decode(ids[0]) == "a photo of a cat"
    assert words("a " * 75).shape == (1, 77)
    with pytest.raises(ValueError, match="text: expected at most 77 tokens .*truncate=True"):
        words("a " * 76)
    assert words("a " * 200, truncate=True)[0, -2:].tolist() == [320, end]
    assert words("a " * 20, length=9, truncate=True).shape == (1, 9)
    assert words("&amp;lt;") .tolist() == words("<").tolist()


@pytest.mark.parametrize("how", ["merges", "gz", "vocab.json"])
def test_clip_text_as_the_library_reads_it(how, merges, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `test` is not installed")
    known = pretrained.tokenizer("clip", merges)
    tokens = [*byte_letters(), *(letter + "</w>" for letter in byte_letters()), *(m.replace(" ", "") for m in MERGES)]
    vocabulary = {token: i for i, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text(merges.read_text())
    theirs = transformers.CLIPTokenizerFast.from_pretrained(folder)
    if how == "gz":
        with gzip.open(tmp_path / "bpe_simple_vocab_16e6.txt.gz", "wt", encoding="utf-8") as file:
            file.write(merges.read_text())
        known = pretrained.tokenizer("clip", tmp_path / "bpe_simple_vocab_16e6.txt.gz")
    elif how == "vocab.json":
        known = pretrained.tokenizer("clip", folder)
    for text in TEXTS:
        assert known.encode(text) == theirs(text)["input_ids"], text


def byte_letters():
    """The authors' letters for the 256 bytes: printable ones for themselves, then those from 256 on."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def test_only_as_many_merges_as_clip_has(tmp_path):
    """The published file holds 262,145 lines."""
    path = tmp_path / "merges.txt"
    letters = byte_letters()
    path.write_text("\n".join(["title", *(f"{a} {b}" for a in letters for b in letters)]), encoding="utf-8")
    words = pretrained.tokenizer("clip", path)
    assert len(words) == 49408 and words.first == [49406] and words.last == [49407]


def test_bert_text(pieces, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `test` is not installed")
    theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path)
    for kind, length in (("vilt", 40), ("vilbert", 512)):
        words = pretrained.tokenizer(kind, pieces)
        for text in ("A dog, on snowman.", "two DOGS [MASK] don't", "\u732b\u732b caf\u00e9", "x" * 200):
            assert words.encode(text) == theirs(text)["input_ids"], text
        assert words(["a dog", "a"]).tolist() == [[2, 5, 6, 3], [2, 5, 3, 0]]
        assert words.decode([2, 5, 9, 10, 11, 3, 0]) == "a snowman"
        assert words("a " * (length - 2)).shape == (1, length)
        with pytest.raises(ValueError, match=f"at most {length} tokens"):
            words("a " * (length - 1))
        assert words("a " * 900, truncate=True)[0, [0, -2, -1]].tolist() == [2, 5, 3]
    assert pretrained.tokenizer("vilt", tmp_path).encode("a") == [2, 5, 3]  # the folder


def test_albef_text(pieces):
    words = pretrained.tokenizer("albef", pieces)
    # No [SEP]; punctuation away, hyphens and slashes become blanks.
    assert words("A dog's two-dogs, on/snowman!").tolist() == [[2, *words.pieces("a dogs two dogs on snowman")]]
    assert words.encode("don't") == [2, PIECES.index("dont")]
    assert words.encode("a dog", last=[3]) == [2, 5, 6, 3]  # an answer
    assert len(words.encode("a " * 50)) == 31
    assert len(pretrained.tokenizer("albef", pieces, words=50).encode("a " * 60)) == 51
    assert words.encode("a " * 30, length=25, truncate=True) == [2] + [5] * 24
    assert clean_caption('  The <person> said: "A;B" ~ (x) #1 * y?\n') == "the person said ab x 1 y"


class Vocabulary:
    """Stands for vocab.Vocabulary of the authors' code."""


@pytest.mark.parametrize("old_python", [True, False])
def test_vse_text(old_python, tmp_path):
    thing = Vocabulary()
    known = ["<pad>", "<start>", "<end>", "<unk>", "a", "dog", "n't", "do", "caf\u00e9"]
    thing.word2idx, thing.idx2word = {word: i for i, word in enumerate(known)}, dict(enumerate(known))
    thing.idx = len(known)
    with open(tmp_path / "coco_vocab.pkl", "wb") as file:
        (Python2Pickler if old_python else pickle.Pickler)(file, 2).dump(thing)
    for path in (tmp_path, tmp_path / "coco_vocab.pkl"):
        words = pretrained.tokenizer("vse", path)
        assert len(words) == 9
        assert words(["A dog", "don't, caf\u00e9"]).tolist() == [[1, 4, 5, 2, 0, 0], [1, 7, 6, 3, 8, 2]]
        assert words.decode([1, 4, 3, 5, 2, 0]) == "a <unk> dog"
        assert words("a " * 500).shape == (1, 502)


def test_words_of_the_penn_treebank():
    for text, expected in (
            ("a dog's tail, two cats.", "a dog 's tail , two cats ."),
            ("they can't don't we're i'll", "they ca n't do n't we 're i 'll"),
            ('he says "hello" (loudly)!', "he says `` hello '' ( loudly ) !"),
            ("a well-dressed man at 4:30 p.m. sits", None),
            ("one. two? three; four: 5,000", "one . two ? three ; four : 5,000"),
            ("wait... no -- cannot", "wait ... no -- can not"), ("the dogs' bowls", "the dogs ' bowls"), ("", "")):
        assert treebank_words(text) == (text.split() if expected is None else expected.split()), text


@pytest.mark.parametrize("kind, content, says", [
    ("clip", "only a title", "pairs of pieces"),
    ("clip", "title\na b c", "pairs of pieces"),
    ("vilt", "a\nb\n[PAD]", "BERT's vocab.txt"),
    ("vse", "hello", "no pickled vocabulary"),
])
def test_wrong_vocabularies(kind, content, says, tmp_path):
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"file: .*{says}"):
        pretrained.tokenizer(kind, path)


def test_wrong_text_arguments(pieces, tmp_path):
    with pytest.raises(ValueError, match="kind: expected clip, albef"):
        pretrained.tokenizer("bert", pieces)
    with pytest.raises(FileNotFoundError, match="vocabulary of vilt is vocab.txt"):
        pretrained.tokenizer("vilt", tmp_path / "nowhere.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="merges.txt or bpe_simple"):
        pretrained.tokenizer("clip", tmp_path / "empty")
    words = pretrained.tokenizer("vilt", pieces)
    with pytest.raises(TypeError, match="text: expected a text, but got int"):
        words([5])
    with pytest.raises(ValueError, match="texts: expected at least one"):
        words([])


def test_text_without_the_package(pieces, merges, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for kind, path in (("vilt", pieces), ("clip", merges)):
        with pytest.raises(ImportError, match=r'pip install -e "\.\[pretrained\]"'):
            pretrained.tokenizer(kind, path)


# ---- pictures


@pytest.mark.parametrize("kind, size, shape", [
    ("clip", (300, 260), (224, 224)), ("albef", (300, 260), (256, 256)), ("vse", (300, 260), (224, 224)),
    ("vilt", (300, 260), (384, 416)), ("clip", (20, 500), (224, 224)), ("vilt", (1000, 500), (320, 608))])
def test_pictures(kind, size, shape):
    picture = Image.effect_noise(size, 90)
    for given in (picture, picture.convert("RGB"), picture.convert("RGBA")):
        came = pretrained.pictures(kind)(given)
        assert came.shape == (3, *shape) and came.dtype == torch.float32
    whole = Image.new("RGB", size, (255, 0, 128))
    mean, std = {"vilt": ((0.5,) * 3, (0.5,) * 3), "vse": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}.get(
        kind, ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)))
    expected = (torch.tensor([1, 0, 128 / 255]) - torch.tensor(mean)) / torch.tensor(std)
    torch.testing.assert_close(pretrained.pictures(kind)(whole)[:, 3, 5], expected)


def test_pictures_are_resized_as_the_authors_do():
    picture = Image.effect_noise((150, 90), 90).convert("RGB")
    clip = picture.resize((int(224 * 150 / 90), 224), Image.Resampling.BICUBIC)
    left = round((clip.width - 224) / 2)
    for kind, expected in (
            ("clip", clip.crop((left, 0, left + 224, 224))),
            ("albef", picture.resize((256, 256), Image.Resampling.BICUBIC)),
            ("vilt", picture.resize((608, 352), Image.Resampling.BICUBIC)),
            ("vse", picture.resize((int(256 * 150 / 90), 256), Image.Resampling.BILINEAR).crop((101, 16, 325, 240)))):
        came = pretrained.pictures(kind)(picture)
        transform = pretrained.pictures(kind).transforms[-1]
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (transform.mean, transform.std))
        pixels = torch.from_numpy(np.array(expected)).permute(2, 0, 1) / 255
        torch.testing.assert_close(came * std + mean, pixels, rtol=0, atol=1e-5)


def test_pictures_of_other_sizes_and_as_tensors():
    picture = torch.randint(256, (3, 90, 150), dtype=torch.uint8)
    assert pretrained.pictures("albef", 384)(picture).shape == (3, 384, 384)
    assert pretrained.pictures("clip", 336)(picture).shape == (3, 336, 336)
    assert pretrained.pictures("vilt", 64)(picture).shape == (3, 64, 96)
    for wrong in (picture.float(), picture[:1], picture[None]):
        with pytest.raises(ValueError, match="picture: expected a PIL picture"):
            pretrained.pictures("clip")(wrong)
    with pytest.raises(ValueError, match="kind: expected clip, albef, vilt, vse"):
        pretrained.pictures("vilbert")


def test_vilt_sizes():
    for (height, width), expected in {(384, 384): (384, 384), (300, 480): (384, 608), (300, 500): (352, 608),
                                      (1000, 500): (608, 320), (480, 640): (384, 512), (10, 5000): (32, 608)}.items():
        assert vilt_size(height, width) == expected


def test_pad():
    images, sizes = pretrained.pad([torch.ones(3, 16, 24), torch.ones(3, 24, 8)])
    assert images.shape == (2, 3, 24, 24) and sizes.tolist() == [[16, 24], [24, 8]] and sizes.dtype == torch.int64
    assert images[0, :, :16].all() and images[1, :, :, :8].all() and images.sum() == 3 * 24 * (16 + 8)
    ids = torch.tensor([[1, 2], [1, 3]])
    ViLT(ViLTConfig())(images, ids, sizes)
    with pytest.raises(ValueError, match="images: expected at least one"):
        pretrained.pad([])


# ---- where files come from


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIMM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pretrained"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("minimm._download.download_url_to_file", refuse)
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra `test` is not installed")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)


@pytest.mark.parametrize("name", pretrained.known())
def test_offline_says_which_file_to_put_where(name, cache, no_network):
    with pytest.raises(OSError, match="get .* elsewhere.* put .* to .* and run the same line again") as error:
        pretrained.load(name)
    assert str(cache) in str(error.value)


@pytest.mark.parametrize("kind", ["clip", "albef", "vilt", "vilbert", "vse"])
def test_offline_vocabulary(kind, cache, no_network):
    with pytest.raises(OSError, match="put .* and run the same line again") as error:
        pretrained.tokenizer(kind)
    assert str(cache) in str(error.value)


def test_a_file_that_was_put_there_is_found(cache, no_network):
    tensors = tensors_of("vilt_irtr", random, VILT_SIZES)
    (cache / "vilt").mkdir(parents=True)
    torch.save({"state_dict": tensors}, cache / "vilt" / "vilt_irtr_coco.ckpt")
    assert type(pretrained.load("vilt_irtr_coco.ckpt")) is ViLTRetrieval
    assert (cache / "vilt" / "vilt_irtr_coco.ckpt.sha256.json").exists()  # from now on it must stay what it is
    tensors["rank_output.bias"] += 1
    torch.save({"state_dict": tensors}, cache / "vilt" / "vilt_irtr_coco.ckpt")
    with pytest.raises(ValueError, match="SHA-256"):
        pretrained.load("vilt_irtr_coco.ckpt")


def test_published_checksum(cache, no_network):
    (cache / "clip").mkdir(parents=True)
    torch.save(small_clip()[0], cache / "clip" / "ViT-B-32.pt")
    with pytest.raises(ValueError, match="its source publishes 40d365715913c9da98579312b702a82c"):
        pretrained.load("ViT-B/32")


def test_a_folder_that_was_put_there_is_found(cache, no_network, merges):
    tensors = tensors_of("hf_clip_vit_b32", random, CLIP_SIZES)
    folder = cache / "openai" / "clip-vit-base-patch32"
    folder.mkdir(parents=True)
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="config.json"):
        pretrained.load("openai/clip-vit-base-patch32")
    (folder / "config.json").write_text("{}")
    assert type(pretrained.load("openai/clip-vit-base-patch32")) is CLIP
    (folder / "merges.txt").write_text(merges.read_text())
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(
        [*byte_letters(), *(b + "</w>" for b in byte_letters()), "<|startoftext|>", "<|endoftext|>",
         *(m.replace(" ", "") for m in MERGES)])}))
    assert pretrained.tokenizer("clip").encode("a") == [512, 320, 513]  # as vocab.json says


@pytest.mark.parametrize("safe", [True, False])
def test_hugging_face_download(safe, cache, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra `test` is not installed")
    asked = []

    def download(name, file, local_dir):
        asked.append(file)
        if file == "model.safetensors" and not safe:
            raise huggingface_hub.utils.EntryNotFoundError("404")
        local_dir.mkdir(parents=True, exist_ok=True)
        if file == "config.json":
            (local_dir / file).write_text("{}")
        elif safe:
            save_file(tensors_of("hf_clip_vit_b32", random, CLIP_SIZES), local_dir / file)
        else:
            torch.save(tensors_of("hf_clip_vit_b32", random, CLIP_SIZES), local_dir / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    for _ in range(2):  # the second time from the cache
        assert type(pretrained.load("some-one/a.clip")) is CLIP
    assert asked == ["config.json", "model.safetensors"] + ([] if safe else ["pytorch_model.bin"])


def test_without_huggingface_hub(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install -e "\.\[pretrained\]"'):
        pretrained.load("dandelin/vilt-b32-mlm")


def test_one_file_of_a_tar_archive(cache, no_network):
    (cache / "vsepp").mkdir(parents=True)
    with tarfile.open(cache / "vsepp" / "vocab.tar", "w") as archive:
        for name, data in (("../../evil", b"x"), ("./vocab/coco_vocab.pkl", pickle.dumps(5)), ("vocab/other", b"y")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(ValueError, match="coco_vocab.pkl: no pickled vocabulary"):
        pretrained.tokenizer("vse")
    files = {p.name for p in (cache / "vsepp").rglob("*") if p.is_file()}
    assert files == {"vocab.tar", "vocab.tar.sha256.json", "coco_vocab.pkl"}
    (cache / "vsepp" / "runs.tar").write_bytes((cache / "vsepp" / "vocab.tar").read_bytes())
    with pytest.raises(ValueError, match="runs.tar: expected runs/f30k_vse.._vggfull/model_best.pth.tar in it"):
        pretrained.load("vsepp/f30k_vse++_vggfull")
    (cache / "vsepp" / "runs.tar.sha256.json").unlink()
    (cache / "vsepp" / "runs.tar").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="runs.tar: damaged or no tar archive"):
        pretrained.load("vsepp/f30k_vse++_vggfull")


@pytest.mark.parametrize("name", ["no/such/file.pt", "folder/x.pth", "ViT-Z/99.bin", "something"])
def test_neither_a_file_nor_a_name(name, cache):
    with pytest.raises(FileNotFoundError, match="neither a file or folder that is there, nor .*ViT-B/32.*ALBEF.pth"):
        pretrained.load(name)
    with pytest.raises(ValueError, match="name_or_path: expected a file, a folder or a name"):
        pretrained.load("")
    with pytest.raises(ValueError, match="expected ViT-B/32, written so, but got 'vit-b/32'"):
        pretrained.load("vit-b/32")
    with pytest.raises(TypeError, match="name_or_path"):
        pretrained.load(5)


def test_sources_are_the_published_ones():
    """Every address stands in a layout's file, or is that of VSE++'s vocabularies in its README."""
    known = " ".join(text for path in LAYOUTS.glob("*.json") for text in layout(path.stem)["source"]["released_files"])
    card = (Path(__file__).parents[1] / "data" / "pretrained.md").read_text(encoding="utf-8")
    for release in source("pretrained"):
        assert release["card"] == "pretrained.md" and release["licence"] in card and release["homepage"] in card
        assert release["files"].keys() <= release["what"].keys()
        for name in release["what"]:
            assert name in card, name
        for entry in release["files"].values():
            assert entry["url"] in known
            assert "sha256" not in entry or entry["sha256"] in entry["url"]
            assert entry.get("member", "runs/f30k_vse++_vggfull") in known
        for name in release["what"].keys() - release["files"].keys():
            assert name in known


def test_importing_fetches_nothing():
    import subprocess

    code = ("import socket, sys; socket.socket.connect = lambda *a: sys.exit('network'); import minimm.pretrained; "
            "assert not {'tokenizers', 'huggingface_hub', 'transformers'} & set(sys.modules)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
