"""Grids of maps: what they show, in one scale; files; bad input."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from minimm import plots, scenes
from minimm.explain import Look, figure, figure_of_heads
from minimm.explain.figures import Pair, Scale, as_picture, heads_of, overlay, pair
from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.models.clip import CLIP, CLIPConfig
from minimm.models.vilbert import ViLBERT, ViLBERTConfig
from minimm.models.vse import VSE, VSEConfig
from minimm.scenes import Scene, Thing, normalise

SCENE = Scene("night", (Thing("umbrella", "red", "large", "top left", 1, 1),
                        Thing("cup", "blue", "small", "bottom right", 37, 37)))
SENTENCE = "a red umbrella and a blue cup"


def albef(seed=0):
    torch.manual_seed(seed)
    return ALBEF(ALBEFConfig(vision_width=16, vision_layers=1, vision_heads=2, vision_hidden=16, text_width=16, text_layers=1,
                             fusion_layers=2, text_heads=2, text_hidden=16, queue=8, stem=False, alpha_steps=0))


def vilbert():
    torch.manual_seed(0)
    return ViLBERT(ViLBERTConfig(text_width=12, text_layers=1, text_heads=2, text_hidden=16, region_features=6, vision_width=8,
                                 vision_layers=1, vision_heads=2, vision_hidden=16, co_width=10, co_heads=2, text_co=(0,),
                                 vision_co=(0,)))


def regions(picture):
    boxes = torch.tensor([[[0.0, 0, 32, 32], [32, 32, 64, 64], [0, 32, 32, 64]]])
    return {"regions": torch.rand(1, 3, 6, generator=torch.Generator().manual_seed(1)), "boxes": boxes}


def test_pictures(tmp_path):
    drawn = scenes.draw(SCENE)
    whole = Image.fromarray(drawn)
    whole.save(tmp_path / "scene.png")
    for came in (SCENE, whole, tmp_path / "scene.png", str(tmp_path / "scene.png"), (tmp_path / "scene.png").read_bytes(),
                 whole.convert("RGBA")):
        picture, scene = as_picture(came)
        assert np.array_equal(np.asarray(picture), drawn) and scene is (SCENE if came is SCENE else None)
    with pytest.raises(TypeError, match="picture: expected a Scene, a path"):
        as_picture(3)
    with pytest.raises(OSError):
        as_picture(tmp_path / "none.png")
    with pytest.raises(OSError):
        as_picture(b"no picture")


def test_pair():
    of = pair(albef(), SCENE, SENTENCE)
    assert of.inputs["images"].equal(normalise(torch.from_numpy(scenes.draw(SCENE)).permute(2, 0, 1)[None]))
    assert [word for word, _ in of.words] == SENTENCE.split() and of.words[2] == ("umbrella", [3, 4, 5])
    assert of.index("a") == 0 and of.index("cup") == 6
    # Of a picture of another size the middle, scaled: here three equal squares beside each other.
    drawn = scenes.draw(SCENE)
    wide = Image.fromarray(np.concatenate([0 * drawn, drawn, 0 * drawn], 1))
    assert pair(albef(), wide, SENTENCE).inputs["images"].equal(of.inputs["images"])
    # What somebody else makes of the picture is shown as it is.
    seen = pair(albef(), wide, SENTENCE, see=lambda picture: {"images": torch.linspace(-2, 5, 3 * 64 * 64).view(1, 3, 64, 64)})
    assert seen.shown.size == (64, 64) and np.asarray(seen.shown)[0, 0, 0] == 0 and np.asarray(seen.shown)[-1, -1, -1] == 255
    with pytest.raises(ValueError, match="see: expected a function that gives ViLBERT the regions"):
        pair(vilbert(), SCENE, SENTENCE)
    for sentence, message in (("", "sentence"), ("[PAD]", "sentence"), ("a red zeppelin", "unknown word 'zeppelin'")):
        with pytest.raises(ValueError, match=message):
            pair(albef(), SCENE, sentence)


def test_other_tokenizer():
    class Released:
        first, last = [1], [2]

        def __call__(self, texts):
            return scenes.tokenizer(texts)

        def decode(self, ids):
            return scenes.tokenizer.vocabulary[int(ids[0])]

    of = pair(albef(), SCENE, "a red cup", tokenizer=Released())
    assert of.words == [("a", [1]), ("red", [2]), ("cup", [3])]
    assert of.look(albef()).maps().values.equal(pair(albef(), SCENE, "a red cup").look(albef()).maps().values)


def test_scale():
    positive, signed = Scale.of(torch.tensor([0.0, 2]), torch.tensor([1.0])), Scale.of(torch.tensor([-3.0, 2]))
    assert (positive.low, positive.high, signed.low, signed.high) == (0, 2, -3, 3)
    assert Scale.of(torch.zeros(3)) == (0, 1)
    assert positive.colours(torch.tensor([0.0, 2, 9])).tolist() == [[68, 1, 84], [253, 231, 36], [253, 231, 36]]  # viridis' ends
    assert signed.colours(torch.zeros(1)).min() > 240  # 0 has no colour


def test_overlay():
    shown, scale = Image.fromarray(scenes.draw(SCENE)), Scale(0, 1)
    pixels = torch.zeros(64, 64)
    pixels[:, 32:] = 1
    full = np.asarray(overlay(shown, pixels, scale, 1.0))
    assert full[0, 0].tolist() == [68, 1, 84] and full[0, 63].tolist() == [253, 231, 36]
    none = np.asarray(overlay(shown, pixels, scale, 0.0))
    assert np.array_equal(none, np.asarray(shown.convert("L").convert("RGB")))


def test_figure_is_of_these_words_and_methods():
    model = albef()
    fig, alt = figure(model, SCENE, SENTENCE, words=["red", "cup"], methods=["attention", "relevancy"])
    axes = np.array(fig.axes[:-1]).reshape(2, 3)  # the last one is the colour bar
    assert [ax.get_title() for ax in axes[0]] == ["picture", "red", "cup"]
    assert [ax.get_ylabel() for ax in axes[:, 1]] == ["attention", "relevancy"]
    assert (fig.axes[-1].get_ylim()) == (0, 1) and "share" in fig.axes[-1].get_ylabel()
    # A cell is the word's map, as a share of the highest of the two.
    of = pair(model, SCENE, SENTENCE)
    look = Look(model, of.inputs, of.ids, of.numbers)
    pixels = look.maps("relevancy").pixels(64, 64)[0, [2, 9]]
    expected = overlay(of.shown, pixels[1] / pixels.max(), Scale(0, 1))
    assert np.array_equal(np.asarray(axes[1, 2].images[0].get_array()), np.asarray(expected))
    # In words: the highest place.
    row, column = divmod(int(look.maps("attention").values[0, 2].argmax()), 8)
    assert f"red by attention at row {row + 1}, column {column + 1};" in alt and SENTENCE in alt


def test_figure_of_all_and_below_zero():
    fig, _ = figure(albef(), SCENE, "a red cup")
    look = pair(albef(), SCENE, "a red cup").look(albef())
    assert len(fig.axes) == len(look.methods) * 4 + 1
    assert fig.axes[-1].get_ylim() == (-1, 1)  # the gradient has a sign, so all have room for one


def test_files():
    fig, _ = figure(albef(), SCENE, "a red cup", words=["cup"], methods=["grad-cam"], target="word")
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=kind)
        assert buffer.getvalue().startswith(start) and len(buffer.getvalue()) > 5000
    assert plots.png(fig).startswith(b"\x89PNG")


def test_figure_of_regions():
    fig, alt = figure(vilbert(), SCENE, "a red cup", words=["red"], methods=["attention"], see=regions)
    assert len(fig.axes) == 3 and "red by attention at region" in alt


def test_figure_of_heads():
    model = albef()
    fig, alt = figure_of_heads(model, SCENE, SENTENCE, "umbrella")
    axes = np.array(fig.axes[:-1]).reshape(2, 3)
    look = pair(model, SCENE, SENTENCE).look(model)
    assert [ax.get_ylabel() for ax in axes[:, 1]] == list(look.layers()) and axes[0, 2].get_title() == "head 1"
    highest = max(look.maps("attention", layer, head).values[0, 3].max().item() for layer in look.layers() for head in (0, 1))
    assert fig.axes[-1].get_ylim() == (0, pytest.approx(highest))
    assert "2 layers of 2 heads" in alt and "umbrella" in alt
    for method, heads in (("attention", 2), ("grad-cam", 2), ("relevancy", 0)):
        assert heads_of(look, method) == heads
    with pytest.raises(ValueError, match="method: expected one of a layer's heads"):
        figure_of_heads(model, SCENE, SENTENCE, "red", "relevancy")
    vse = VSE(VSEConfig(embed_dim=12, cnn_width=16, word_dim=8, warm_up=0))
    with pytest.raises(ValueError, match="method: expected one of a layer's heads"):
        figure_of_heads(vse, SCENE, SENTENCE, "red", "grad-cam")


def test_bad_input():
    with pytest.raises(ValueError, match="word: expected one of a, red, cup, but got 'star'"):
        figure(albef(), SCENE, "a red cup", words=["star"])
    with pytest.raises(ValueError, match="method: expected for a Encoders one of attention, .*, but got 'transport'"):
        figure(albef(), SCENE, "a red cup", methods=["transport"])
    with pytest.raises(ValueError, match="words, methods: expected at least one of each"):
        figure(albef(), SCENE, "a red cup", words=[])
    with pytest.raises(ValueError, match="layer: expected for attention one of"):
        figure(albef(), SCENE, "a red cup", methods=["attention"], layer="text.fusion.9.xattn")
    torch.manual_seed(0)
    clip = CLIP(CLIPConfig(vision_layers=1, text_layers=1))
    assert isinstance(pair(clip, SCENE, "a red cup"), Pair)
    with pytest.raises(ValueError, match="method"):
        figure(clip, SCENE, "a red cup", methods=["saliency"])
