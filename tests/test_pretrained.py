"""Released weights: files of exactly the published layouts, with random values, load; whatever else comes is refused, and
nothing that a file contains is executed. tests/layouts holds every name, shape and type of those files."""

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
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks import peers
from minimm import pretrained
from minimm._download import source
from minimm.models.clip import CLIP, CLIPConfig
from minimm.pretrained import _names, _reader, _sources
from minimm.pretrained._reader import Checkpoint
from minimm.pretrained.pictures import vilt_size
from minimm.pretrained.text import clean_caption, treebank_words

LAYOUTS = Path(__file__).parent / "layouts"


def layout(name):
    return json.loads((LAYOUTS / f"{name}.json").read_text())


def released(name):
    """{name: (shape, type)} of the released file: the first variant, under the names that it has there."""
    found = layout(name)
    absent = set(found["variants"][0]["absent"])
    old_names = {new: old for old, new in found.get("renames_in_released_files", {}).items()}
    return {old_names.get(key, key): (shape, getattr(torch, dtype)) for key, (shape, dtype) in found["tensors"].items()
            if key not in absent}


def tensors_of(name, make, sizes=None, layers=2):
    """{name: make(shape, type)} for the released file `name`, tied names being one tensor.

    sizes: {published size: small one}, and then only the first `layers` blocks of every kind.
    """
    found = released(name)
    if sizes:
        last = re.compile(r"\.(?:resblocks|layers?|blocks|v_layer|c_layer)\.(\d+)\.")
        found = {key: ([sizes.get(n, n) for n in shape], dtype) for key, (shape, dtype) in found.items()
                 if (match := last.search(key)) is None or int(match[1]) < layers}
    tensors = {key: make(shape, dtype) for key, (shape, dtype) in found.items()}
    for first, *others in layout(name)["tied"]:
        tensors |= {other: tensors[first] for other in others if other in tensors}
    return tensors


def random(shape, dtype):
    return torch.randn(shape).to(dtype) if dtype.is_floating_point else torch.arange(torch.Size(shape).numel()).view(shape)


def on_meta(shape, dtype):
    return torch.empty(shape, dtype=dtype, device="meta")


def one_number(shape, dtype):
    """A tensor whose file holds a single number, whatever its size."""
    return random([], dtype).expand(shape)


def check_published(name, model, unused=(), besides=()):
    """The built model has as many parameters as the file, without what is unused, momentum copies, queues and doubles.

    unused: names (regular expressions) in the file; besides: beginnings of the model's own names that no file holds.
    """
    found = layout(name)
    doubles = {other for _, *others in found["tied"] for other in others}
    buffers = set(found["buffers"])
    theirs = sum(torch.Size(shape).numel() for key, (shape, _) in released(name).items()
                 if key not in doubles | buffers and not any(re.fullmatch(pattern, key) for pattern in unused))
    ours = sum(p.numel() for key, p in model.named_parameters() if not key.startswith(tuple(besides)))
    assert ours == theirs, name


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
    lambda w: {"model": w, "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(9)}}}, "epoch": 2, "config": {}},
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
    "class of our own": b"cminimm.pretrained._reader\n_Tensor\n(N}(Vof\n}ustb.",
}


def by_hand(name, marker):
    text = BY_HAND[name]
    return text.replace(b"{marker!r}", repr(str(marker)).encode()).replace(b"{marker}", str(marker).encode())


def harmless(pickled, tmp_path, marker):
    """The pickle alone, and within every container."""
    system = pickle.dumps(0x1950a86a20f9469cfc6c, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    script = {"x/data.pkl": pickled, "x/constants.pkl": pickled, "x/code/__torch__.py": "raise SystemExit", "x/version": "3"}
    for number, content in enumerate((
            archive_of(**{"x/data.pkl": pickled, "x/version": "3"}), archive_of(**script), system + pickled)):
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
    before = torch._utils._rebuild_tensor_v2.__defaults__, torch.FloatStorage.__dict__.copy(), _reader._Tensor.of
    harmless(by_hand(name, marker), tmp_path, marker)
    assert before == (torch._utils._rebuild_tensor_v2.__defaults__, torch.FloatStorage.__dict__.copy(), _reader._Tensor.of)


def test_attack_beside_good_weights(weights, tmp_path):
    """The weights come, the call beside them does not happen."""
    marker = tmp_path / "harm"
    for name, call in attacks(marker).items():
        for zipped in (True, False):
            torch.save({"state_dict": weights, "callbacks": call}, tmp_path / "x", _use_new_zipfile_serialization=zipped)
            same(_reader.read(tmp_path / "x").tensors, weights)
            assert not marker.exists(), name


# ---- CLIP

# Published size: small size. The same number is the same size everywhere in a layout.
CLIP_SIZES = {768: 24, 2304: 72, 3072: 96, 512: 16, 1536: 48, 2048: 64, 49408: 40, 77: 9, 50: 10, 224: 24, 32: 8}


def small_clip():
    """OpenAI's names with small sizes: (tensors, the model's config)."""
    tensors = tensors_of("clip_vit_b32", random, CLIP_SIZES)
    tensors |= {"input_resolution": torch.tensor(24), "context_length": torch.tensor(9), "vocab_size": torch.tensor(40)}
    return tensors, CLIPConfig(embed_dim=16, image=24, patch=8, vision_width=24, vision_layers=2, vision_heads=1, context=9,
                               vocab=40, text_width=16, text_layers=2, text_heads=1, eot_id=39, stem=False)


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
    (lambda t: t.update({"visual.attnpool.positional_embedding": torch.zeros(2)}), r"unknown names \(1\): visual.attnpool"),
    (lambda t: t.update({"visual.transformer.resblocks.1.ln_1.bias": torch.zeros(2)}), r"vision.blocks.1.ln1.bias: expected \(24,\)"),
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


@pytest.mark.parametrize("name", ["clip_vit_b32", "hf_clip_vit_b32"])
def test_published_clip(name):
    tensors = tensors_of(name, on_meta)
    sizes = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}
    tensors |= {key: torch.tensor(number) for key, number in sizes.items() if key in tensors}
    with torch.device("meta"):
        model = pretrained.assemble(Checkpoint(tensors, {}))
        assert model.config == CLIPConfig.paper()
        check_published(name, model)
        check_published(name, CLIP(CLIPConfig.paper()))


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


# ---- Hugging Face's files, at published size: the same outputs


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
    config = transformers.CLIPConfig(projection_dim=16, vision_config=towers | {"image_size": 24, "patch_size": 8},
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
