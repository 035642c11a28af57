"""A look as one page that needs no kernel and no network: words and places of the picture hover and click."""

import base64
import html
import json
import re

import numpy as np
import torch
from PIL import Image

from .. import plots
from .._errors import expect
from .._paths import write_whole
from ..scenes import tokenizer
from ..scenes.data import MEAN, STD
from .figures import OPACITY, Scale, heads_of
from .looking import METHODS, OF_LAYER, Look
from .page import PAGE
from .words import first_of_meaning, scene_words, words_of

#: Of a colour scale: what fits into a byte, and even, so that one of them is the 0 in the middle.
STEPS = 254
#: What the page says is explained.
_TARGETS = {None: "the model's score of picture and sentence", "word": "each word, as an answer of the model"}


def save_html(path, model, picture, sentence, words=None, names=None, target=None, methods=None, shown=None,
              alt="The picture that the model saw"):
    """Write a page in which a reader picks a word and sees where the model looks for it, or a place and sees which words
    look there, by method, layer and head, on one colour scale for all words.

    picture, words, target: as `Look` takes them, of one pair. sentence: a text about the scenes, or ids `1 l`. names: the
    words as the reader sees them, one for each number in `words`; default: both as the scenes' tokenizer has them.
    methods: names of METHODS, default: all that the model has; those of one layer come with each layer and each head,
    "rollout" and "relevancy" through all layers. shown: a Pillow picture of the same view, sharper perhaps; default: the
    tensor, if it is normalised as the scenes are. alt: what somebody who cannot see the picture should know.

    The file is whole or absent. Raises ValueError for more than one pair, for names that are not one a word, for regions
    without `shown`, for a method that the model does not have, and what `Look` raises.
    """
    ids = tokenizer([sentence]) if isinstance(sentence, str) else sentence
    expect(torch.is_tensor(ids) and ids.ndim == 2 and len(ids) == 1, "sentence",
           tuple(ids.shape) if torch.is_tensor(ids) else type(ids).__name__, "a text, or the ids `1 l` of one")
    if names is None:
        expect(words is None, "names", "None, but words", "names for them")
        words, names = scene_words(ids), [word for word, _ in words_of(ids[0])]
    expect(shown is not None or "images" in picture, "shown", "None", "a Pillow picture: the model sees regions")
    shown = _picture(picture["images"][0]) if shown is None else shown

    look = Look(model, picture, ids, words, target)
    methods = look.methods if methods is None else methods
    expect(methods and not isinstance(methods, str), "methods", repr(methods), f"some of {', '.join(look.methods)}")
    at = [int((look.words[0] == number).nonzero()[0, 0]) for number in look.words[0].unique() if number >= 0]
    expect(at and len(names) == len(at), "names", f"{len(names)} for {len(at)} words", "one for each word, at least one")
    if "images" in picture:
        height, width = picture["images"].shape[2:]
    else:
        height, width = picture["sizes"][0].tolist() if "sizes" in picture else (look.core.config.image,) * 2

    maps = look.maps(methods[0])
    places, columns = maps.places(height, width), 1 if maps.grid is None else maps.grid.columns
    kept = picture["region_mask"][0].nonzero()[:, 0].tolist() if "region_mask" in picture else range(len(places))
    data = {"words": list(names), "first": first_of_meaning(names), "places": [places[i] for i in kept], "columns": columns,
            "methods": [_method(look, method, at, list(kept)) for method in methods],
            "colours": [_text(Scale(low, 1.0).colours(torch.linspace(low, 1.0, STEPS + 1))) for low in (0.0, -1.0)]}
    title = f"Where {type(model).__name__} looks: {' '.join(names)}"
    explained = _TARGETS[target] if target is None or look.by_word else "a score that was asked for"
    parts = {"title": html.escape(title), "alt": html.escape(alt), "explained": explained,
             "opacity": f"{100 * OPACITY:.0f}",
             "rendering": "pixelated" if shown.width < 480 else "auto",  # enlarged, not blurred
             "picture": base64.b64encode(plots.png(shown)).decode(), "ratio": f"{width} / {height}",
             # Within a script only "<" could end it.
             "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c")}
    page = re.sub(r"@(\w+)@", lambda found: parts[found[1]], PAGE).encode()
    write_whole(path, lambda file: file.write(page))


def _picture(image):
    # undoes what the scenes' `normalise` did to one picture `c h w`
    pixels = ((image.detach().cpu().float() * STD + MEAN) * 255).round().clamp(0, 255)
    return Image.fromarray(pixels.byte().permute(1, 2, 0).numpy())


def _text(numbers):
    return base64.b64encode(np.ascontiguousarray(numbers, dtype=np.uint8)).decode()


def _method(look, method, at, places):
    layers = look.layers(method) if method in OF_LAYER else (None,)
    usual = layers.index(look.usual_layer(method))
    return {"name": method, "what": METHODS[method], "usual": usual, "layers": [
        {"name": layer or "all",
         "heads": [_quantised(look.maps(method, layer, head).values[0, at].flatten(1)[:, places])
                   for head in (None, *range(heads_of(look, method)))]} for layer in layers]}


def _quantised(values):
    """The maps of all words `w n` in STEPS steps from low to high, the ends of their colour scale. One row where all words
    share it."""
    values, scale = values.detach().cpu().double(), Scale.of(values)
    rows = values[:1] if values.equal(values[:1].expand_as(values)) else values
    steps = (rows - scale.low) * (STEPS / (scale.high - scale.low))
    return {"low": scale.low, "high": scale.high, "steps": _text(steps.round().numpy())}
