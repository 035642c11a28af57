"""The explorer, moved control by control: what it shows follows; bad input is said, and nothing is lost."""

import base64
import datetime
import io
import re
import time

import numpy as np
import pytest
import torch
from PIL import Image

from minimm import plots, scenes
from minimm.explain import Explorer, find_word, maps, meant, scores
from minimm.explain.figures import Scale, overlay, pair
from minimm.models import heads
from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.models.vse import VSE, VSEConfig
from test_explain_figures import SCENE, SENTENCE, albef, regions, vilbert

OTHER = scenes.make("test", 3)


def drawn(side):
    """The picture that a side shows, as pixels."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", side.picture.value)[1]))))


def said(explorer):
    return "".join(output["text"] for output in explorer.messages.outputs)


def words_of(explorer):
    return [label.rstrip("\u200b") for label, _ in explorer.word.options]


def uploaded(content):
    return ({"name": "a.png", "type": "image/png", "size": len(content), "content": memoryview(content),
             "last_modified": datetime.datetime.now(datetime.timezone.utc)},)


def test_it_shows_the_words_map():
    model = albef()
    explorer = Explorer(model, SCENE, SENTENCE, word="cup", method="relevancy")
    assert words_of(explorer) == SENTENCE.split()
    of = pair(model, SCENE, SENTENCE)
    all_maps = maps(model, of.inputs, of.ids, "relevancy", words=of.numbers)
    cup, = find_word(of.ids[0], "cup")
    words = [at[0] for _, at in of.words]
    scale = Scale.of(all_maps.values[0, words])  # of all words, so that they can be compared
    expected = np.asarray(overlay(of.shown, all_maps.pixels(64, 64)[0, cup], scale)).repeat(5, 0).repeat(5, 1)
    came = drawn(explorer.sides[0])
    assert came.shape == (320, 320, 3)
    row, column = divmod(int(all_maps.values[0, cup].argmax()), 8)  # the frame is around the highest place
    at, outside = (slice(40 * row, 40 * row + 40), slice(40 * column, 40 * column + 40)), np.ones((320, 320), bool)
    outside[at] = False
    assert np.array_equal(came[outside], expected[outside]) and np.array_equal(came[at][2:-2, 2:-2], expected[at][2:-2, 2:-2])
    assert came[at][0, 0].tolist() == [0, 0, 0] and came[at][1, 1].tolist() == [255, 255, 255]
    assert f"{scale.high:.3g}" in explorer.legend.value and 'role="img"' in explorer.legend.value
    # A score of this map, as anybody would take it.
    pixels, mask = all_maps.pixels(64, 64)[:, cup], meant(SCENE, "cup")[None]
    assert f"; {scores.energy(pixels, mask).item():.0%} of the map" in explorer.sides[0].score.value
    assert f"{scores.best_iou(pixels, mask).item():.0%}.</p>" in explorer.sides[0].score.value
    # From the picture to words: what the chosen place gives to each.
    side = explorer.sides[0]
    side.row.value, side.column.value = 3, 7
    assert "row 3, column 7 of the picture" in side.words.value
    assert f"cup {all_maps.values[0, cup, 2, 6].item():.2g}</span>" in side.words.value
    assert np.array_equal(drawn(side)[:80, :], expected[:80, :]) and drawn(side)[80, 240].tolist() == [0, 0, 0]


def test_every_control_changes_what_it_should():
    explorer = Explorer(albef(), SCENE, SENTENCE, second=albef(1))
    first, second = explorer.sides
    assert (first.name, second.name) == ("first ALBEF", "second ALBEF")
    moves = [(explorer.word, 2, 2), (explorer.method, "gradient", 2), (explorer.opacity, 0.3, 2), (first.head, 1, 1),
             (second.layer, "text.fusion.1.xattn", 1), (first.row, 4, 1), (second.column, 5, 1), (explorer.target, "word", 2)]
    for control, value, sides in moves:
        before, start = [side.picture.value for side in explorer.sides], time.perf_counter()
        control.value = value
        print(f"{control.description}: {1000 * (time.perf_counter() - start):.0f} ms")
        changed = sum(a != side.picture.value for a, side in zip(before, explorer.sides))
        assert changed >= sides and said(explorer) == "", control.description
    # What a method does not have cannot be chosen.
    explorer.method.value = "relevancy"
    assert first.head.disabled and first.head.label == "mean of all" and not first.layer.disabled
    # One scale for both: up to the highest of either.
    highest = max(side.values("relevancy", "word").max().item() for side in explorer.sides)
    assert f"</span> {highest:.3g}</p>" in explorer.legend.value


def test_one_scale_where_there_is_one_unit():
    explorer = Explorer(albef(), SCENE, SENTENCE, second=vilbert(), second_see=regions)
    for method, several in (("attention", False), ("relevancy", True), ("rollout", False), ("grad-cam", True)):
        explorer.method.value = method
        highest = [side.values(method, None).abs().max().item() for side in explorer.sides]
        assert explorer.legend.value.count("colour scale") == (2 if several else 1)
        for name, high in zip(("ALBEF", "ViLBERT"), highest) if several else (("all words", max(highest)),):
            assert re.search(rf"{name}: .*?</span> {re.escape(f'{high:.3g}')}\b", explorer.legend.value), method


def test_all_can_be_read_aloud():
    explorer = Explorer(albef(), SCENE, "a red cup")
    side = explorer.sides[0]
    for control in (explorer.sentence, explorer.upload, explorer.word, explorer.method, explorer.target, explorer.opacity,
                    *side.controls):
        assert control.description and control.tabbable is not False
    assert 'alt="ALBEF: the map of “red” by attention, highest at row ' in side.picture.value
    assert {control.description for control in side.controls} == {"layer", "head", "row", "column"}


def test_another_sentence_and_picture(tmp_path):
    explorer = Explorer(albef(), SCENE, SENTENCE)
    side = explorer.sides[0]
    explorer.word.value = 2
    explorer.sentence.value = "a blue cup"
    assert [name for name, _ in explorer.word.options] == ["a", "blue", "cup"] and explorer.word.value == 1
    before = side.picture.value
    # A word that the course does not know: said, and the rest stays; then all goes on.
    explorer.sentence.value = "a blue zeppelin"
    assert "unknown word 'zeppelin'" in said(explorer) and side.picture.value == before
    explorer.word.value = 2
    assert said(explorer) == "" and "“cup”" in side.picture.value
    explorer.word.value = 1
    # An upload, of another size, of what is no picture, and again.
    photograph = Image.fromarray(scenes.draw(OTHER)).resize((200, 130))
    explorer.upload.value = uploaded(plots.png(photograph))
    of = pair(side.model, photograph, "a blue cup")
    assert side.pair.inputs["images"].equal(of.inputs["images"]) and "Not scored: only scenes" in side.score.value
    before = side.picture.value
    explorer.upload.value = uploaded(b"no picture")
    assert "cannot identify image" in said(explorer) and side.picture.value == before
    photograph.save(tmp_path / "a.png")
    from_path = Explorer(side.model, tmp_path / "a.png", "a blue cup", word="blue").sides[0]
    assert from_path.picture.value == before and from_path.pair.inputs["images"].equal(of.inputs["images"])


def test_words_without_a_mask():
    explorer = Explorer(albef(), SCENE, SENTENCE, word="a")
    assert "Not scored: “a” is not true of some things" in explorer.sides[0].score.value


def test_a_model_of_regions_beside_one_of_places():
    explorer = Explorer(albef(), SCENE, "a red cup", second=vilbert(), second_see=regions)
    places, boxes = explorer.sides
    assert boxes.row.disabled and boxes.column.max == 3 and boxes.column.description == "region" and places.row.max == 8
    before = boxes.picture.value
    boxes.column.value = 2
    assert boxes.picture.value != before and "region 2 of the picture" in boxes.words.value
    assert drawn(boxes)[160, 160].tolist() == [0, 0, 0]  # the frame is the region's box, from pixel 32 on


def test_one_method_without_heads():
    torch.manual_seed(0)
    explorer = Explorer(VSE(VSEConfig(embed_dim=12, cnn_width=16, word_dim=8, warm_up=0)), SCENE, SENTENCE)
    side = explorer.sides[0]
    assert explorer.method.options == ("grad-cam",) and side.head.disabled
    before = side.picture.value
    side.layer.value = side.layer.options[1][1]  # the only one
    assert said(explorer) == "" and side.picture.value == before


def test_what_a_model_does_not_have_is_said():
    model = heads.Classifier(albef().online, 3)
    explorer = Explorer(model, SCENE, SENTENCE)
    before = explorer.sides[0].picture.value
    explorer.target.value = "word"
    assert "target: expected one of the five pre-trained models" in said(explorer)
    assert explorer.target.label.startswith("how well") and explorer.sides[0].picture.value == before
    explorer.word.value = 2
    assert said(explorer) == "" and explorer.sides[0].picture.value != before


def test_saved_as_a_page(tmp_path):
    explorer = Explorer(albef(), SCENE, "a red cup", second=vilbert(), second_see=regions)
    for second, at in ((False, "xattn"), (True, "co.0")):
        explorer.save_html(tmp_path / "map.html", second)
        page = (tmp_path / "map.html").read_text(encoding="utf-8")
        assert at in page and "cup" in page and "umbrella at the top left" in page
    with pytest.raises(ValueError, match="second: expected False"):
        Explorer(albef(), SCENE, "a red cup").save_html(tmp_path / "map.html", second=True)


def test_bad_input():
    for options, message in (({"word": "star"}, "word: expected one of a, red"), ({"method": "saliency"}, "method: expected one of"),
                             ({"see": lambda picture: {"images": torch.zeros(1, 3, 24, 24)}}, r"images: expected shape")):
        with pytest.raises(ValueError, match=message):
            Explorer(albef(), SCENE, SENTENCE, **options)
    with pytest.raises(ValueError, match="see: expected a function"):
        Explorer(vilbert(), SCENE, SENTENCE)
    with pytest.raises(TypeError, match="picture"):
        Explorer(albef(), None, SENTENCE)


def test_latency_at_the_courses_size():
    torch.manual_seed(0)
    explorer, took = Explorer(ALBEF(ALBEFConfig()), SCENE, SENTENCE), {}
    for control, value in ((explorer.word, 2), (explorer.method, "relevancy"), (explorer.opacity, 0.5),
                           (explorer.method, "attention"), (explorer.sides[0].head, 1), (explorer.sides[0].row, 3), (explorer.target, "word"), (explorer.word, 1)):
        before, start = explorer.sides[0].picture.value, time.perf_counter()
        control.value = value
        took[f"{control.description} {value}"] = round(1000 * (time.perf_counter() - start))
        assert explorer.sides[0].picture.value != before, control.description
    print("ms:", took)


def test_menus_show_their_first_line_from_the_start():
    explorer = Explorer(albef(), SCENE, SENTENCE)
    side = explorer.sides[0]
    assert (side.layer.label, side.head.label) == ("the usual one, text.fusion.1.xattn", "mean of all")
    # A page shows nothing for a value of None.
    assert None not in [menu.value for menu in (explorer.word, explorer.method, explorer.target, side.layer, side.head)]


def test_it_opens_on_a_word_that_says_something():
    for sentence, word in (("there is a red cup", "red"), ("a cup of a cup", "cup"), ("of the", "of")):
        explorer = Explorer(albef(), SCENE, sentence)
        assert explorer.word.label == word, sentence


def test_a_word_that_comes_twice_has_two_buttons_that_can_be_lit():
    explorer = Explorer(albef(), SCENE, "a red cup and a red cup")
    assert words_of(explorer) == "a red cup and a red cup".split()
    assert len({label for label, _ in explorer.word.options}) == 7  # a browser finds a button by its label


def test_a_click_on_the_picture_chooses_a_place():
    explorer = Explorer(albef(), SCENE, SENTENCE, second=vilbert(), second_see=regions)
    places, boxes = explorer.sides
    picture, *buttons = places.view.children
    assert picture is places.picture and len(buttons) == 64 and {b.layout.width for b in buttons} == {"40px"}
    assert [b.tooltip for b in buttons[:9]] == [*(f"row 1, column {i}" for i in range(1, 9)), "row 2, column 1"]
    assert buttons[9].layout.margin == "40px 0 0 40px"
    before = places.picture.value
    buttons[18].click()
    assert (places.row.value, places.column.value) == (3, 3) and "row 3, column 3 of the picture" in places.words.value
    assert places.picture.value != before and drawn(places)[80, 80].tolist() == [0, 0, 0] and said(explorer) == ""
    last = boxes.view.children[-1]
    last.click()
    assert last.tooltip == "region 3" and boxes.column.value == 3 and "region 3 of the picture" in boxes.words.value
    explorer.word.value = 0  # no new buttons for the same places
    assert places.view.children[1:] == tuple(buttons)
