"""What goes into data/results: the measures of one model, side by side."""

import pytest
import torch

from minimm.evaluation import report
from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.models.vilt import ViLT, ViLTConfig
from minimm.scenes import load


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(report, "SMALL_GALLERY", 6)
    monkeypatch.setattr(report, "RERANKED", 3)


def test_a_scorer_that_knows_the_pairs_finds_all_but_what_the_first_stage_left_out(monkeypatch):
    def knows(model, data, ids, see=None):
        return lambda pictures, texts: (pictures == texts).float()

    monkeypatch.setattr(report, "scorer", knows)
    data, first = load("test", 12), torch.eye(10)
    first[0, 1:5] = 2  # picture 0 finds four texts better than its own, which is lost to a second stage of three
    result = report.pair_encoder(None, data, first_stage=first)
    assert result["every pair"]["gallery"] == 6 and result["every pair"]["text retrieval"]["r1"] == 100
    again = result["re-ranked"]
    assert (again["gallery"], again["candidates"]) == (10, 3)
    assert again["ceiling"] == {"text": 90, "image": 100}
    assert again["text retrieval"]["r1"] == 90 and again["image retrieval"]["r1"] == 100


def test_without_a_first_stage_nothing_is_ranked_again():
    torch.manual_seed(0)
    model = ViLT(ViLTConfig(layers=1, width=16, heads=2, hidden=16)).train()
    result = report.pair_encoder(model, load("test", 8))
    assert set(result) == {"every pair"} and 0 <= result["every pair"]["text retrieval"]["r1"] <= 100
    assert model.training


def test_albef_is_its_own_first_stage():
    torch.manual_seed(0)
    model = ALBEF(ALBEFConfig(vision_layers=1, text_layers=1, fusion_layers=1, queue=8)).train()
    data = load("test", 8)
    result = report.albef(model, data, gallery=7)
    assert set(result) == {"every pair", "re-ranked", "cosines alone"} and model.training
    assert result["re-ranked"]["gallery"] == result["cosines alone"]["gallery"] == 7
    assert result["re-ranked"]["text retrieval"]["r1"] <= result["re-ranked"]["ceiling"]["text"]
    cosines, of_picture, _ = model.eval().rerank(data[:7].images(), data[:7].tokens(), 3)
    right = of_picture.argmax(1) == torch.arange(7)
    assert result["re-ranked"]["text retrieval"]["r1"] == pytest.approx(100 * right.double().mean().item())
    found = cosines.argmax(1) == torch.arange(7)
    assert result["cosines alone"]["text retrieval"]["r1"] == pytest.approx(100 * found.double().mean().item())
