"""One model of an explorer: its controls, its picture, and what is kept of it."""

import html
from functools import cache

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.colors import to_hex
from PIL import Image, ImageDraw

from .. import plots
from ..scenes import SIDE
from . import scores
from .figures import heads_of, one_word, overlay, pair, place
from .words import meant

SHOWN = 320  # pixels of a side, at least, for small pictures
CLICKED = 256  # places, at most, that can be clicked: each is a button of its own
WIDE = {"width": "min(34em, 100%)"}
NAMES = {"description_width": "7em"}
_USUAL = ""  # the value of a menu's first line; None would leave the menu empty


def menu(name, options=(), **more):
    return widgets.Dropdown(description=name, options=options, layout=WIDE, style=NAMES, **more)


def _slider(name, last):
    return widgets.IntSlider(description=name, value=1, min=1, max=last, layout=WIDE, style=NAMES)


class Side:
    """One model of an explorer: its own controls, its picture, and its Looks and maps, kept.

    On the picture lies a button for each place. Buttons are for the mouse: with the keyboard, which had to pass all of
    them, row and column are chosen. pick(side, number of a place) is called for one that is clicked."""

    def __init__(self, name, model, see, pick):
        self.name, self.model, self.see, self.pick = name, model, see, pick
        self.layer, self.head = menu("layer"), menu("head")
        self.row, self.column = _slider("row", 1), _slider("column", 1)
        self.picture, self.words, self.score = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.picture.layout = {"grid_area": "1 / 1", "margin": "0"}
        self.places, self.clear = [], widgets.ButtonStyle(button_color="transparent")
        self.view = widgets.GridBox([self.picture], layout={"justify_content": "flex-start", "overflow": "hidden"})
        self.controls = (self.layer, self.head, self.row, self.column)
        title = widgets.HTML(f"<b>{html.escape(name)}</b>")
        self.box = widgets.VBox([title, self.layer, self.head, self.view, self.score, self.row, self.column, self.words],
                                layout={"width": "36em"})

    def read(self, picture, sentence, tokenizer):
        """What has to be computed before a Pair and its first Look can be shown; nothing changes if it fails."""
        of = pair(self.model, picture, sentence, self.see, tokenizer)
        look = cache(lambda target: of.look(self.model, target))
        look(None)
        return of, look, cache(lambda target, *choice: look(target).maps(*choice))

    def take(self, of, look, maps):
        self.pair, self.look, self.maps = of, look, maps

    def offer(self, method, target):
        """Fill the menus with the layers and heads of a method, the sliders with places; what was chosen stays if it can."""
        look = self.look(target)
        usual = look.usual_layer(method)
        layers = [(f"the usual one, {usual}" if usual else "all", _USUAL),
                  *((name if usual else f"from {name} on", name) for name in look.layers(method))]
        heads = [("mean of all", _USUAL), *((str(h), h) for h in range(heads_of(look, method)))]
        for menu, options in ((self.layer, layers), (self.head, heads)):
            value = menu.value
            if menu.options != tuple(options):
                menu.options = options
                menu.value = value if value in dict(options).values() else _USUAL
            menu.disabled = len(options) == 1
        maps = self.maps(target, method, None, None)
        self.column.description = "column" if maps.boxes is None else "region"
        shape = (1, *maps.values.shape[2:])[-2:]
        for slider, last in zip((self.row, self.column), shape):
            slider.max, slider.value, slider.disabled = last, min(slider.value, last), last == 1
        self._lay(maps.places(*self.pair.shown.size[::-1]))

    def _lay(self, places):
        # a button over each place, small ones on top
        if places == self.places:
            return
        self.places, buttons = places, []
        width, height = (side * self.zoom for side in self.pair.shown.size)
        self.picture.layout.width, self.picture.layout.height = f"{width}px", f"{height}px"
        if len(places) <= CLICKED:
            for number, (name, *corners) in enumerate(places):
                x0, y0, x1, y1 = (round(share * side) for share, side in zip(corners, (width, height) * 2))
                button = widgets.Button(tooltip=name, style=self.clear, tabbable=False, layout={
                    "grid_area": "1 / 1", "margin": f"{y0}px 0 0 {x0}px", "padding": "0", "width": f"{x1 - x0}px",
                    "height": f"{y1 - y0}px"})
                button.on_click(lambda _, number=number: self.pick(self, number))
                buttons.append(((x1 - x0) * (y1 - y0), button))
        self.view.children = [self.picture, *(b for area, b in sorted(buttons, key=lambda of: -of[0]) if area)]

    @property
    def zoom(self):
        return max(1, SHOWN // max(self.pair.shown.size))

    def go_to(self, number):
        """Choose a place by its number."""
        row, column = divmod(number, self.column.max)
        self.row.value, self.column.value = row + 1, column + 1

    def chosen(self, method, target):
        layer, head = (None if menu.value == _USUAL else menu.value for menu in (self.layer, self.head))
        return self.maps(target, method, layer, head)

    def values(self, method, target):
        """The values of all words that are shown: `w ...`."""
        return self.chosen(method, target).values[0, [at[0] for _, at in self.pair.words]]

    def show(self, method, target, index, scale, opacity):
        """Draw the map of a word, score it, and say what the chosen place gives to each word."""
        word, positions = self.pair.words[index]
        shown, maps = self.pair.shown, one_word(self.chosen(method, target), positions[0])
        drawn = overlay(shown, maps.pixels(*shown.size[::-1])[0, 0], scale, opacity)
        zoom = self.zoom
        drawn = drawn.resize([side * zoom for side in shown.size], Image.Resampling.NEAREST)
        here = torch.zeros_like(maps.values)
        at = self.column.value - 1 if maps.boxes is not None else (self.row.value - 1, self.column.value - 1)
        here[0, 0][at] = 1
        y, x = np.nonzero(maps._replace(values=here).pixels(*shown.size[::-1])[0, 0].cpu().numpy())
        if len(x):  # a region may lie behind others
            corners = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) * zoom - [0, 0, 1, 1]
            for inset, colour in ((0, "black"), (1, "white")):  # one of them is seen on any ground
                ImageDraw.Draw(drawn).rectangle([*(corners[:2] + inset), *(corners[2:] - inset)], outline=colour)
        alt = f"{self.name}: the map of “{word}” by {method}, highest at {place(maps, 0)}."
        self.picture.value = plots.image(drawn, alt)
        self.score.value = f"<p>{html.escape(self._score(word, maps))}</p>"
        values = [values[at].item() for values in self.values(method, target)]
        where = f"{self.column.description} {self.column.value}"
        where = f"row {self.row.value}, {where}" if maps.boxes is None else where
        words = " ".join(self._word(name, value, scale) for (name, _), value in zip(self.pair.words, values))
        self.words.value = f"<p>{where} of the picture, for each word:<br>{words}</p>"

    def _score(self, word, maps):
        if self.pair.scene is None:
            return "Not scored: only scenes know where their things are."
        mask = meant(self.pair.scene, word)
        if mask is None:
            return f"Not scored: “{word}” is not true of some things of the picture and untrue of others."
        pixels, mask = maps.pixels(SIDE, SIDE)[0].cpu(), mask[None]
        hit = "on" if scores.pointing(pixels, mask).item() else "not on"
        energy, iou = scores.energy(pixels, mask).item(), scores.best_iou(pixels, mask).item()
        return (f"The peak is {hit} what “{word}” means, give or take {scores.TOLERANCE} pixels; {energy:.0%} of the map are (of an "
                f"even map {mask.double().mean().item():.0%}); IoU at the best threshold {iou:.0%}.")

    @staticmethod
    def _word(name, value, scale):
        colour = scale.colours(torch.tensor([value]))[0] / 255
        ink = "black" if colour @ (0.299, 0.587, 0.114) > 0.5 else "white"  # readable on it in either theme
        return (f'<span style="background:{to_hex(colour)};color:{ink};padding:2px 4px">{html.escape(name)} '
                f'{value:.2g}</span>')
