"""Results of runs: what is made in which order, and how they are put side by side."""

import json
from types import SimpleNamespace

import pytest
import torch

from minimm.evaluation.probes import ATTRIBUTES
from minimm.models.labelled import LabelledConfig
from minimm.scenes import load
from minimm.training import RECIPES, results, tables


def test_runs_are_rows_of_the_table_and_seed_0_comes_first():
    runs = results.runs()
    assert len(set(runs)) == len(runs) and {name for name, _ in runs} <= set(RECIPES)
    seeds = [seed for _, seed in runs]
    assert seeds == sorted(seeds[:seeds.count(0)]) + [s for s in seeds if s] and set(seeds) == {0, 1, 2}
    for name in ("vse", "albef", "vilt-retrieval", "clip-vqa"):
        assert {seed for n, seed in runs if n == name} == {0, 1, 2}
    assert ("albef-pairs", 0) in runs and ("albef-pairs", 1) not in runs and ("clip-vqa-without-picture", 0) in runs


def test_a_curve_is_the_mean_of_stretches():
    run = SimpleNamespace(losses={"a": [1.0, 3.0, 5.0, 7.0, 9.0], "b": [2.0] * 5})
    assert results.curve(run, points=2) == {"a": [2.0, 6.0, 9.0], "b": [2.0, 2.0, 2.0]}


def stored(folder, name, seed, r1, seconds=60.0, **more):
    result = {"seconds": seconds, "seconds of starts": {"labels": 30.0},
              "test": {"text retrieval": {"r1": r1}, "machine": "x", **more}, "novel": {}}
    results.save(folder / f"{name}-seed{seed}.json", result)


def test_the_table_by_hand(tmp_path):
    stored(tmp_path, "clip", 0, 80.0)
    stored(tmp_path, "clip", 1, 90.004, seconds=120.0)
    stored(tmp_path, "vse", 0, 70.0, extra=1)
    rows = tables.collect(tmp_path)
    assert rows["clip"]["seeds"] == [0, 1]
    assert rows["clip"]["minutes"] == tables.spread([1.5])  # of the first seed: the second one took longer
    assert rows["clip"]["test"]["text retrieval"]["r1"] == {"mean": 85.0, "lowest": 80.0, "highest": 90.0, "runs": 2}
    assert rows["clip"]["test"]["machine"] == "x" and rows["vse"]["test"]["extra"]["mean"] == 1
    lines = tables.markdown(rows, ("vse", "clip")).splitlines()
    assert lines[0] == "| test split | vse | clip |"
    assert "| minutes, with starts | 1.5 | 1.5 |" in lines
    assert "| text R@1 of 1,000 | 70.0 | 85.0 (80.0 to 90.0) |" in lines and "| questions |  |  |" in lines


def test_a_mapping_that_one_seed_lacks_is_left_out():
    assert tables.combined([{"a": 1, "b": 2}, {"a": 3}]) == {"a": tables.spread([1, 3])}


def test_an_unknown_run_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["minimm.training.results", "clap"])
    with pytest.raises(SystemExit):
        results.main()
    assert "names: expected some of vse, clip" in capsys.readouterr().err


def test_a_result_that_is_there_is_not_made_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "result_path", lambda name, seed: tmp_path / f"{name}-seed{seed}.json")
    monkeypatch.setattr("sys.argv", ["minimm.training.results", "vse", "--seeds", "1"])
    results.save(tmp_path / "vse-seed1.json", {"recipe": results.settings("vse", 1)})
    monkeypatch.setattr(results, "measure", lambda *_: pytest.fail("made again"))
    results.main()
    assert "vse-seed1.json is there" in capsys.readouterr().out


def test_a_result_of_another_recipe_is_made_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "result_path", lambda name, seed: tmp_path / f"{name}-seed{seed}.json")
    monkeypatch.setattr("sys.argv", ["minimm.training.results", "vse", "--seeds", "1"])
    monkeypatch.setattr(results.tables, "write", lambda _: None)
    results.save(tmp_path / "vse-seed1.json", {"recipe": {**results.settings("vse", 1), "steps": 7}})
    new = {"recipe": results.settings("vse", 1), "seconds": 1.5}
    monkeypatch.setattr(results, "measure", lambda *_: (None, new))
    results.main()
    assert "vse-seed1.json is made" in capsys.readouterr().out
    assert json.loads((tmp_path / "vse-seed1.json").read_text())["seconds"] == 1.5 and results.is_there("vse", 1)


def test_what_a_recipe_did_not_have_had_its_default():
    told = json.loads(json.dumps(results.settings("vse", 1)))
    old = {key: value for key, value in told.items() if key not in ("noise", "number")}
    assert len(old) == len(told) - 2 and results.is_now(old, "vse", 1) and not results.is_now({}, "vse", 1)
    assert not results.is_now({**old, "noise": 0.1}, "vse", 1) and not results.is_now(old, "clip", 1)


def test_towers_alone_are_probed(monkeypatch):
    monkeypatch.setattr(results, "PROBED_ON", 60)
    data, pixels = load("test", 40), torch.zeros(2, 3, 64, 64)
    for name, tower in results.TOWERS.items():
        model = results.weights.untrained(name).eval()
        assert tower(model).features(pixels).shape == (2, LabelledConfig().width)
        probed = results.measured(model, name, "", data, None)["probes"]
        assert set(probed) == set(ATTRIBUTES) and all(0 <= of["accuracy"] <= 100 for of in probed.values())


def test_maps_are_scored_model_by_model(tmp_path, monkeypatch, capsys):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(results._paths, "data_dir", lambda: tmp_path)
    monkeypatch.setattr(results, "ARCHITECTURES", ("vse", "vilbert"))
    monkeypatch.setattr(results, "EXPLAINED", 6)
    monkeypatch.setattr(results, "train", lambda name, seed, folder: (results.weights.untrained(name), None))
    monkeypatch.setattr(results, "regions", lambda part, folder: SimpleNamespace(see=f"regions of {len(part)}"))
    made, broken = [], "vilbert"

    def report(model, untrained, data, see):
        name = type(model).__name__.lower()
        if name == broken:
            raise KeyboardInterrupt
        assert type(untrained) is type(model) and not untrained.training
        made.append(name)
        return {"icon": len(data), "see": see}
    monkeypatch.setattr(results.scores, "report", report)
    monkeypatch.setattr("sys.argv", ["minimm.training.results", "explained", "--seeds", "0"])
    with pytest.raises(KeyboardInterrupt):
        results.main()
    broken = None
    results.main()  # goes on where it was stopped
    results.main()
    assert made == ["vse", "vilbert"]
    assert capsys.readouterr().out.split("\n")[:2] == ["explained.json has vse", "explained.json has vilbert"]
    found = json.loads((tmp_path / "results" / "explained.json").read_text())
    assert found["vse"]["see"] is None and found["vilbert"]["see"] == "regions of 6" and found["vse"]["scenes"] == 6
    found["vse"]["recipe"]["steps"] = 7  # another recipe: made again
    results.save(tmp_path / "results" / "explained.json", found)
    results.main()
    assert made == ["vse", "vilbert", "vse"]


def test_one_number_of_all_models(monkeypatch):
    rows = {"vse-vqa": {"test": {"all": tables.spread([70.0, 74.0])}}, "albef-vqa": {"test": {"all": tables.spread([98.0])}},
            "albef": {"test": {"all": tables.spread([1.0])}}, "vilt-vqa": {"test": {}}}
    monkeypatch.setattr(tables, "collect", lambda: rows)
    assert tables.across("-vqa", "test", "all") == {"vse": 72.0, "albef": 98.0}
    assert tables.across("-why", "test", "all") == {} == tables.across("-vqa", "test", "all", "more")
