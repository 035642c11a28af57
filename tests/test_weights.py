"""The weights that come with the course give the results that are written beside them."""

import json

import pytest
import torch

import minimm
from minimm import scenes
from minimm.evaluation.retrieval import retrieval
from minimm.objectives.contrastive import similarity
from minimm.training import weights


@pytest.mark.parametrize("name", weights.RECIPES)
def test_results_are_reproduced(name):
    recorded = json.loads((minimm.data_dir() / "results" / f"{name}.json").read_text())["test"]
    model, gallery = minimm.load(name), scenes.load("test", recorded["gallery"])
    assert not model.training
    with torch.no_grad():
        images, texts = model.encode_image(gallery.images()), model.encode_text(gallery.tokens())
    found = retrieval(similarity(images, texts, torch.zeros(())))
    for ours, side in ((found.text, "text retrieval"), (found.image, "image retrieval")):
        assert ours.r1 == pytest.approx(recorded[side]["r1"], abs=0.5)
        assert ours.mean == pytest.approx(recorded[side]["mean"], rel=0.05)


def test_wrong_names_and_files(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="name: expected one of clip"):
        minimm.load("clap")
    whole = (minimm.data_dir() / "weights" / "clip.safetensors").read_bytes()
    monkeypatch.setattr(weights, "data_dir", lambda: tmp_path)
    path = tmp_path / "weights" / "clip.safetensors"
    with pytest.raises(FileNotFoundError, match="clip.safetensors"):
        minimm.load("clip")
    path.parent.mkdir()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="cut short or no weights"):
        minimm.load("clip")
