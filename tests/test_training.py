"""The loop: what it promises of steps, checkpoints and failures."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from minimm import scenes
from minimm.models.clip import CLIP, CLIPConfig
from minimm.training import fit, load_checkpoint
from minimm.training.loop import learning_rate, parameter_groups
from minimm.training.schedules import albef_learning_rate

SMALL = CLIPConfig(embed_dim=8, vision_width=16, vision_layers=1, vision_heads=2, text_width=16, text_layers=1,
                   text_heads=2)


def make(config=SMALL, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CLIP(config)


def batches(size=8):
    return scenes.Batches(scenes.load("test", 64), size)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_one_seed_one_result(tmp_path):
    first, second = make(), make()
    run = fit(first, batches(), 5, warmup=2)
    with torch.random.fork_rng():
        torch.manual_seed(99)  # what the reader drew before must not matter
        fit(second, batches(), 5, warmup=2, evaluate=lambda model: torch.rand(3), every=2)
    assert same(first, second)
    assert not same(first, make())
    assert run.steps == 5 and run.ended_by == "steps" and len(run.losses["contrastive"]) == 5


def test_the_readers_random_numbers_stay():
    torch.manual_seed(4)
    expected = torch.rand(2)
    torch.manual_seed(4)
    fit(make(), batches(), 2, warmup=1)
    assert torch.equal(torch.rand(2), expected)


def test_resumed_run_is_the_uninterrupted_one(tmp_path):
    whole, parts = make(), make()
    fit(whole, batches(), 7, warmup=2, checkpoint=tmp_path / "whole.pt")
    fit(parts, batches(), 7, warmup=2, checkpoint=tmp_path / "parts.pt", minutes=1e-9, save_every=3)
    again = make(seed=5)  # what stands in the model does not matter: the checkpoint has it all
    run = fit(again, batches(), 7, warmup=2, checkpoint=tmp_path / "parts.pt")
    assert same(whole, again) and run.steps == 7


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_training import batches, make
from minimm.training import fit
fit(make(), batches(), 30, warmup=2, checkpoint=sys.argv[1], save_every=2)
"""


def test_killed_at_any_moment(tmp_path):
    script = SCRIPT.format(tests=os.path.dirname(__file__))
    path = tmp_path / "run.pt"
    for wait in (0.0, 0.15, 0.4):  # after the first checkpoint
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(wait)
        process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        process.wait()
        load_checkpoint(path, make())  # whole
    killed, whole = make(), make()
    fit(killed, batches(), 30, warmup=2, checkpoint=path, save_every=2)
    fit(whole, batches(), 30, warmup=2)
    assert same(killed, whole)


def test_the_clock_only_ends_a_run():
    run = fit(make(), batches(), 50, warmup=2, minutes=1e-9, evaluate=lambda model: 7, every=20)
    assert run.steps == 1 and run.ended_by == "minutes" and "ended early" in str(run)
    assert run.evaluations == {1: 7}  # at the end, whatever ended it


class Broken(torch.nn.Module):
    """Its second term is not a number from step 3 on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2, 2))

    def loss(self, step):
        return {"fine": self.weight.square().sum(), "shaky": self.weight.sum() * (math.nan if step >= 3 else 1.0)}


def test_nan_stops_the_run_and_the_last_good_state_stays(tmp_path):
    path, model = tmp_path / "run.pt", Broken()
    with pytest.raises(FloatingPointError, match=r"shaky is nan in step 3.*run\.pt"):
        fit(model, lambda step: step, 6, warmup=1, checkpoint=path, save_every=1)
    kept = Broken()
    assert load_checkpoint(path, kept).steps == 3 and kept.weight.isfinite().all()
    with pytest.raises(FloatingPointError, match="no checkpoint was asked for"):
        fit(Broken(), lambda step: step, 6, warmup=1)


def test_terms_are_added():
    run = fit(Broken(), lambda step: 0, 2, warmup=1)
    assert set(run.losses) == {"fine", "shaky"} and run.losses["fine"][0] == 4


def test_evaluation_mode_and_steps():
    seen = []
    model = make()
    run = fit(model, batches(), 5, warmup=1, every=2,
              evaluate=lambda m: seen.append((m.training, torch.is_grad_enabled())) or 7)
    assert run.evaluations == {2: 7, 4: 7, 5: 7} and set(seen) == {(False, False)}


def test_checkpoints_that_do_not_fit(tmp_path):
    path, model = tmp_path / "run.pt", make()
    fit(model, batches(), 3, warmup=1, checkpoint=path)
    other = make(replace(SMALL, embed_dim=4))
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(ValueError, match="another model .*embed_dim: 8 there, 4 here"):
        fit(other, batches(), 3, warmup=1, checkpoint=path)
    assert all(torch.equal(before[k], v) for k, v in other.state_dict().items())
    with pytest.raises(ValueError, match="another model .*class: 'CLIP' there, 'Broken' here"):
        fit(Broken(), lambda step: 0, 3, warmup=1, checkpoint=path)
    with pytest.raises(ValueError, match="other settings|another settings"):
        fit(make(), batches(), 3, warmup=1, lr=0.5, checkpoint=path)
    for damage in (lambda data: data[:len(data) // 2], lambda data: b"", lambda data: b"hello"):
        broken = tmp_path / "broken.pt"
        broken.write_bytes(damage(path.read_bytes()))
        with pytest.raises(ValueError, match="cut short or no checkpoint"):
            fit(make(), batches(), 3, warmup=1, checkpoint=broken)
    torch.save({"weights": {}}, tmp_path / "else.pt")
    with pytest.raises(ValueError, match="another kind of file"):
        load_checkpoint(tmp_path / "else.pt", make())
    assert not list(tmp_path.glob("*.part"))


def test_decay_only_where_it_belongs():
    model = make()
    decayed, kept = (group["params"] for group in parameter_groups(model, 0.1))
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in kept} >= {"log_scale", "vision.cls", "text.ln_final.weight", "vision.blocks.0.mlp.fc1.bias"}
    assert all(p.ndim >= 2 for p in decayed) and len(decayed) + len(kept) == len(names)


def test_schedule():
    rates = [learning_rate(step, 100, 1.0, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5) and rates[99] < 1e-3 and rates[10:] == sorted(rates[10:], reverse=True)


def test_albef_schedule_when_an_epoch_outlasts_the_warm_up():
    rates = [albef_learning_rate(0, i, 1.0, 0.1, 0.5, epochs=6, warmup_epochs=2) for i in range(300)]
    assert rates == [0.5] * 101 + [0.75] * 100 + [1.0] * 99  # a step in iterations 100 and 200
    later = [albef_learning_rate(epoch, 7, 1.0, 0.1, 0.5, epochs=6, warmup_epochs=2) for epoch in (3, 6, 8)]
    assert later == pytest.approx([0.55, 0.1, 0.1])


@pytest.mark.parametrize("options, words", [({"steps": 0}, "steps"), ({"steps": 3, "warmup": 4}, "warmup"),
                                            ({"steps": 3, "warmup": 1, "precision": "half"}, "precision")])
def test_wrong_arguments(options, words):
    with pytest.raises(ValueError, match=words):
        fit(make(), batches(), **options)


def test_bfloat16_trains_too():
    run = fit(make(), batches(), 3, warmup=1, precision="bfloat16")
    assert run.precision == "bfloat16" and all(map(math.isfinite, run.losses["contrastive"]))


@pytest.mark.cuda
def test_cuda_run_is_repeatable():
    first, second = make().cuda(), make().cuda()
    for model in (first, second):
        fit(model, scenes.Batches(scenes.load("test", 64), 8, device="cuda"), 5, warmup=2)
    assert same(first, second)


@pytest.mark.parametrize("steps", ["0", "-1"])
def test_a_run_of_no_steps_is_refused(steps, monkeypatch, capsys):
    from minimm.training import __main__ as command

    monkeypatch.setattr("sys.argv", ["minimm.training", "clip", "--steps", steps])
    with pytest.raises(SystemExit):
        command.main()
    assert f"--steps: expected at least 1, but got {steps}" in capsys.readouterr().err
