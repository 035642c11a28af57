"""The published figures that the lecture shows."""

import pytest

from minimm.evaluation.published import published, systems


def test_figures_by_task():
    assert published("VQA", "VQA 2, test-dev")["ViLT"] == 71.26 and set(published("entailment")) == {"VILLA", "ALBEF"}
    coco = published("text retrieval", "MS-COCO, 1,000 pictures")
    assert list(coco) == ["sm-LSTM", "VSE++"] and coco["VSE++"] == [64.6, 90.0, 95.7]


def test_what_the_lecture_does_not_show_is_kept_apart():
    more = published("image retrieval", "Flickr30k", shown=False)
    assert more["SCAN"] == published("image retrieval", "Flickr30k")["before ViLBERT"]  # by the table that quotes it
    assert not set(more) & set(published("image retrieval", "Flickr30k"))


def test_what_does_not_compare_is_not_mixed():
    with pytest.raises(ValueError, match="data: .*Flickr30k, MS-COCO"):
        published("text retrieval")
    with pytest.raises(ValueError, match="data"):
        published("VQA", "Flickr30k")
    with pytest.raises(ValueError, match="task"):
        published("vqa")


def test_every_figure_is_a_share_or_has_a_unit():
    for name, told in [*systems().items(), *systems(shown=False).items()]:
        assert told["source"]
        for data, of in told["results"].items():
            for task, figures in of.items():
                if data in ("time", "pre-training", "27 data sets"):
                    assert figures > 0
                else:
                    figures = figures if isinstance(figures, list) else [figures]
                    assert all(0 < a <= 100 for a in figures) and figures == sorted(figures), (name, task)
                    assert len(figures) in (1, 3)
