"""Maps over pictures: what figures and the explorer share, and grids of them that stand still.

    fig, alt = figure(model, scene, "a red cup", words=["red", "cup"], methods=["attention", "relevancy"])
    plots.show(fig, alt)
    fig.savefig("cup.svg")

One colour scale for a whole grid, from 0 (or, where something is below 0, as far down as up) to what is highest.
"""

import io
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from PIL import Image, ImageOps

from .. import plots, scenes
from .._errors import expect
from ..models.vilbert import ViLBERT
from ..scenes import Scene, normalise
from .architectures import backbone
from .looking import OF_LAYER, Look
from .words import scene_words, words_of

OPACITY = 0.6  # of a map over its picture


def as_picture(picture):
    """(Pillow picture in RGB, Scene or None). picture: a Scene, the path of a file, its bytes, or a Pillow picture.
    Raises TypeError for anything else, OSError for a file that is not there or no picture."""
    if isinstance(picture, Scene):
        return Image.fromarray(scenes.draw(picture)), picture
    if isinstance(picture, (str, Path)):
        picture = Image.open(picture)
    elif isinstance(picture, (bytes, memoryview)):
        picture = Image.open(io.BytesIO(picture))
    expect(isinstance(picture, Image.Image), "picture", f"a {type(picture).__name__}",
           "a Scene, a path, bytes of a file or a Pillow picture", TypeError)
    return ImageOps.exif_transpose(picture).convert("RGB"), None


class Pair(NamedTuple):
    """A picture and a sentence as one model reads them. shown: the picture as the model sees it, Pillow's; inputs: what the model
    takes; ids `1 l`, numbers `1 l` as the words of `Look`; words: a list of (word, its positions); scene: or None."""

    shown: Image.Image
    inputs: dict
    ids: torch.Tensor
    numbers: torch.Tensor | None
    words: list
    scene: Scene | None

    def look(self, model, target=None):
        """A Look of the model at this pair."""
        return Look(model, self.inputs, self.ids, self.numbers, target)

    def index(self, word):
        """The number of a word, of its first appearance. Raises ValueError for one that is not in the sentence."""
        names = [name for name, _ in self.words]
        expect(word in names, "word", repr(word), f"one of {', '.join(names)}")
        return names.index(word)


def pair(model, picture, sentence, see=None, tokenizer=None):
    """A Pair. picture: as of `as_picture`, fitted to the model's square: the middle, scaled.

    see: function of the Pillow picture, in its own size -> what the model sees, a mapping of tensors with one row; needed by
    ViLBERT (the regions of a detector, or saved ones) and by released weights (their own sizes and colours).
    tokenizer: a released one; then each of its tokens is a word. Default: the course's.
    Raises ValueError for a sentence that is empty or has an unknown word, and what `as_picture` raises.
    """
    own, scene = as_picture(picture)
    expect(isinstance(sentence, str) and sentence.strip(), "sentence", repr(sentence), "a text with words")
    if see is None:
        core = backbone(model)
        expect(not isinstance(core, ViLBERT), "see", None, "a function that gives ViLBERT the regions of the picture")
        shown = ImageOps.fit(own, (core.config.image,) * 2)
        inputs = {"images": normalise(torch.from_numpy(np.array(shown)).permute(2, 0, 1)[None])}
    else:
        inputs, shown = see(own), own
        if "images" in inputs:  # cut and scaled in whatever way: back to colours, all by one rule
            seen = inputs["images"][0].float()
            seen = (seen - seen.min()) / (seen.max() - seen.min()).clamp(min=1e-6)
            shown = Image.fromarray((255 * seen).byte().permute(1, 2, 0).cpu().numpy())
    if tokenizer is None:
        ids = scenes.tokenizer([sentence])
        numbers, words = scene_words(ids), words_of(ids[0])
    else:
        ids, numbers = tokenizer([sentence]), None
        inner = range(len(tokenizer.first), ids.shape[1] - len(tokenizer.last))
        words = [(tokenizer.decode(ids[0, i:i + 1]), [i]) for i in inner]
    expect(words, "sentence", repr(sentence), "a text with words")
    return Pair(shown, inputs, ids, numbers, words, scene)


class Scale(NamedTuple):
    """Colours for values from `low` to `high`: a perceptual map, or, below 0 too, one whose middle is 0."""

    low: float
    high: float

    @classmethod
    def of(cls, *tensors):
        """A scale for all values of some tensors."""
        high = max(t.abs().max().item() for t in tensors) or 1.0  # where all is 0, any
        return cls(-high if any((t < 0).any() for t in tensors) else 0.0, high)

    @property
    def map(self):
        return matplotlib.colormaps["PuOr_r" if self.low < 0 else plots.STYLE["image.cmap"]]

    def colours(self, values):
        """`... -> ... 3` of uint8, numpy's."""
        values = np.asarray(values.cpu(), dtype=np.float32)
        return self.map(np.clip((values - self.low) / (self.high - self.low), 0, 1), bytes=True)[..., :3]


def overlay(shown, pixels, scale, opacity=OPACITY):
    """A map's pixels `h w` in colours over its picture, which turns grey, so that each colour means a value: Pillow picture."""
    colours = Image.fromarray(np.ascontiguousarray(scale.colours(pixels)))
    return Image.blend(shown.convert("L").convert("RGB"), colours, opacity)


def one_word(maps, at):
    """The Maps `1 1 ...` of the token at a position of the only sentence."""
    return maps._replace(values=maps.values[:1, at:at + 1])


def heads_of(look, method):
    """How many heads a method can be asked for; 0: none."""
    return 0 if look.anatomy.convolution or method not in OF_LAYER else look.weights[look.layers(method)[-1]].shape[1]


def place(maps, at):
    """Where a token's map is highest, in words."""
    values = maps.values[0, at]
    row, column = np.unravel_index(int(values.argmax()), (1, *values.shape)[-2:])
    return f"row {row + 1}, column {column + 1}" if maps.boxes is None else f"region {column + 1}"


def _grid(pair, cells, rows, columns, scale, label, opacity):
    """A figure of maps in rows and columns beside their picture. cells: (row, column) -> Maps of one token."""
    side = 1.35  # inches
    width, height = side * (1 + len(columns)) + 1.6, side * len(rows) + 0.7
    fig, axes = plots.figure(len(rows), 1 + len(columns), width, height, squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    axes[0, 0].imshow(pair.shown)
    axes[0, 0].set_title("picture")
    for (r, c), maps in cells.items():
        pixels = maps.pixels(*pair.shown.size[::-1])[0, 0]
        axes[r, 1 + c].imshow(overlay(pair.shown, pixels, scale, opacity))
    for c, name in enumerate(columns):
        axes[0, 1 + c].set_title(name)
    for r, name in enumerate(rows):
        axes[r, 1].set_ylabel(name)
    bar = fig.colorbar(ScalarMappable(Normalize(scale.low, scale.high), scale.map), ax=axes, shrink=0.9)
    bar.set_label(label)
    return fig


def figure(model, picture, sentence, words=None, methods=None, layer=None, head=None, target=None, see=None, tokenizer=None,
           opacity=OPACITY):
    """(figure, alternative text): a row a method, a column a word.

    words: default all of the sentence; methods: default all that the model has; layer, head, target: see `Look`; picture, see and
    tokenizer: see `pair`. Methods have different units: each is shown as a share of the highest that it has among these
    words, in one scale for all. Raises ValueError for a word that is not in the sentence, and what Look and `pair` raise.
    """
    of = pair(model, picture, sentence, see, tokenizer)
    chosen = [of.words[i] for i in map(of.index, words)] if words is not None else of.words
    look = of.look(model, target)
    methods = list(methods if methods is not None else look.methods)
    expect(chosen and methods, "words, methods", f"{len(chosen)}, {len(methods)}", "at least one of each")
    cells, said = {}, []
    for r, method in enumerate(methods):
        maps = look.maps(method, layer, head)
        at = [positions[0] for _, positions in chosen]
        shares = maps._replace(values=maps.values / Scale.of(maps.values[0, at]).high)
        for c, (word, positions) in enumerate(chosen):
            cells[r, c] = one_word(shares, positions[0])
            said.append(f"{word} by {method} at {place(shares, positions[0])}")
    fig = _grid(of, cells, methods, [word for word, _ in chosen], Scale.of(*(maps.values for maps in cells.values())),
                "share of the highest", opacity)
    return fig, f"Where the model looks for words of “{sentence}”. Highest: {'; '.join(said)}."


def figure_of_heads(model, picture, sentence, word, method="attention", target=None, see=None, tokenizer=None, opacity=OPACITY):
    """(figure, alternative text): the maps of one word, a row a layer, a column a head, in one scale and the method's own unit.

    method: "attention", "gradient" or "grad-cam"; all else as of `figure`. Raises ValueError for a method without heads too.
    """
    of = pair(model, picture, sentence, see, tokenizer)
    at, look = of.words[of.index(word)][1][0], of.look(model, target)
    layers, heads = look.layers(method), heads_of(look, method)
    expect(heads, "method", repr(method), "one of a layer's heads")
    found = {(r, c): look.maps(method, layer, c) for r, layer in enumerate(layers) for c in range(heads)}
    cells = {key: one_word(maps, at) for key, maps in found.items()}
    scale = Scale.of(*(maps.values for maps in cells.values()))
    fig = _grid(of, cells, layers, [f"head {c}" for c in range(heads)], scale, method, opacity)
    r, c = max(cells, key=lambda key: cells[key].values.max().item())
    return fig, (f"By {method}: the maps of “{word}” in “{sentence}”, {len(layers)} layers of {heads} "
                 f"heads. Highest: {layers[r]}, head {c}, at {place(cells[r, c], 0)}.")
