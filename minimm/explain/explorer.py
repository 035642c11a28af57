"""Where a model looks, to try out: a word's map of the picture, a place's words, every method, layer and head.

    Explorer(model, scene, "a red cup and a star")
    Explorer(albef, "cat.jpg", "a cat on a chair", second=vilt)

Nothing here is drawn by matplotlib, which takes longer than a move should.
"""

import html
from functools import cache

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.colors import to_hex
from PIL import Image, ImageDraw

from .. import plots
from .._errors import expect
from ..scenes import SIDE
from ..scenes.gallery import describe
from . import scores
from .figures import OPACITY, Scale, as_picture, heads_of, one_word, overlay, pair, place
from .html import save_html
from .looking import METHODS
from .words import first_of_meaning, meant

#: What is explained -> the target of `Look`.
TARGETS = {"how well picture and sentence match": None, "each word on its own": "word"}
SHOWN = 320  # pixels of a side, at least, for small pictures
CLICKED = 256  # places, at most, that can be clicked: each is a button of its own
_WIDE = {"width": "34em"}
_NAMES = {"description_width": "7em"}
_USUAL = ""  # the value of a menu's first line; None would leave the menu empty


def _menu(name, options=(), **more):
    return widgets.Dropdown(description=name, options=options, layout=_WIDE, style=_NAMES, **more)


def _slider(name, last):
    return widgets.IntSlider(description=name, value=1, min=1, max=last, layout=_WIDE, style=_NAMES)


class Side:
    """One model of an explorer: its own controls, its picture, and its Looks and maps, kept.

    On the picture lies a button for each place. Buttons are for the mouse: with the keyboard, which had to pass all of
    them, row and column are chosen. pick(side, number of a place) is called for one that is clicked."""

    def __init__(self, name, model, see, pick):
        self.name, self.model, self.see, self.pick = name, model, see, pick
        self.layer, self.head = _menu("layer"), _menu("head")
        self.row, self.column = _slider("row", 1), _slider("column", 1)
        self.picture, self.words, self.score = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.picture.layout = {"grid_area": "1 / 1", "margin": "0"}
        self.places, self.clear = [], widgets.ButtonStyle(button_color="transparent")
        self.view = widgets.GridBox([self.picture], layout={"justify_content": "flex-start", "overflow": "hidden"})
        self.controls = (self.layer, self.head, self.row, self.column)
        title = widgets.HTML(f"<b>{html.escape(name)}</b>")
        self.box = widgets.VBox([title, self.layer, self.head, self.view, self.score, self.row, self.column, self.words])

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


class Explorer(widgets.VBox):
    """Widgets: the sentence as words to choose from, the picture with the map of the chosen word and a frame around the chosen
    place (word to picture), and below it what this place gives to each word (picture to words). A place is chosen by a click on
    the picture, or by its row and column.

    model: what `Look` takes; picture: a Scene, the path of a file, a Pillow picture; both picture and sentence can be changed
    later, a file is then uploaded. second: another model, shown beside the first; both have one colour scale, for all words of
    the sentence by the shown method, so that words and models can be compared.
    word, method: shown first (default: the first word that is no "a" or "of", and the first method that all models have).
    see, second_see, tokenizer: see `figures.pair`. A scene's map is scored, see `scores`.

    The model runs once for a picture and a sentence, and once more when each word is asked for on its own; every move after
    that draws what was kept. What goes wrong later, and what a model prints, stands below in `messages`; the picture then
    stays as it was.
    Raises ValueError for a word that is not in the sentence, a method that a model does not have, and models without a method
    in common; and what `pair` and `Look` raise.
    """

    def __init__(self, model, picture, sentence, second=None, *, word=None, method=None, see=None, second_see=None,
                 tokenizer=None):
        self._busy, self._tokenizer, self._picture = True, tokenizer, picture
        names = [type(m).__name__ for m in (model, second) if m is not None]
        if len(names) == 2 and names[0] == names[1]:
            names = ["first " + names[0], "second " + names[1]]
        self.sides = [Side(name, *of, lambda *place: self._answer(self._pick, *place))
                      for name, of in zip(names, ((model, see), (second, second_see)))]
        self.messages = widgets.Output()
        self.sentence = widgets.Text(description="sentence", continuous_update=False, layout=_WIDE, style=_NAMES)
        self.upload = widgets.FileUpload(description="another picture", accept="image/*", layout={"width": "14em"})
        self.word = widgets.ToggleButtons(description="word", style={"button_width": "auto", **_NAMES})
        self.method = _menu("method")
        self.target = _menu("explained", list(TARGETS.items()))
        self.opacity = widgets.FloatSlider(description="opacity", value=OPACITY, min=0, max=1, step=0.05, layout=_WIDE,
                                           style=_NAMES)
        self.legend = widgets.HTML()

        self._read(picture, sentence)
        offered = [m for m in METHODS if all(m in side.look(None).methods for side in self.sides)]
        expect(offered, "second", f"a {names[-1]}", f"a model with a method that a {names[0]} has")
        expect(method is None or method in offered, "method", repr(method), f"one of {', '.join(offered)}")
        self.method.options = offered
        self.method.value = method or offered[0]
        if word is not None:
            self.word.value = self.sides[0].pair.index(word)
        self._offer()
        self._show()
        super().__init__([widgets.HBox([self.sentence, self.upload]), self.word, self.method, self.target, self.opacity,
                          self.legend, widgets.HBox([side.box for side in self.sides], layout={"flex_flow": "row wrap"}),
                          self.messages])
        self._busy = False
        for control in (self.word, self.opacity, *(c for side in self.sides for c in side.controls)):
            control.observe(lambda change: self._answer(self._show), "value")
        for control in (self.method, self.target):
            control.observe(lambda change: self._answer(self._choose, change), "value")
        self.sentence.observe(lambda change: self._answer(self._change, self._picture, change.new), "value")
        self.upload.observe(lambda change: self._answer(self._uploaded, change.new), "value")

    def save_html(self, path, second=False):
        """Write what the explorer shows of its first model, or of the second, with all methods, layers and heads, as a page that
        needs no kernel and no network; see `explain.save_html`. Raises ValueError if there is no second model."""
        expect(not second or len(self.sides) == 2, "second", second, "False: there is one model")
        side = self.sides[bool(second)]
        of = side.pair
        save_html(path, side.model, of.inputs, of.ids, of.numbers, [name for name, _ in of.words], self.target.value,
                  shown=of.shown, alt=describe(of.scene) if of.scene else "The picture that the model saw")

    def _answer(self, action, *arguments):
        # What an answer itself changes asks for no other one.
        if self._busy:
            return
        self._busy, self.messages.outputs, wrong = True, (), None
        try:
            with self.messages:
                try:
                    action(*arguments)
                except (ValueError, TypeError, OSError) as error:  # said in a line; anything else with its traceback
                    wrong = error
            if wrong is not None:
                self.messages.append_stderr(f"{wrong}\n")
        finally:
            self._busy = False

    def _read(self, picture, sentence):
        # All sides or none.
        found = [side.read(picture, sentence, self._tokenizer) for side in self.sides]
        for side, of in zip(self.sides, found):
            side.take(*of)
        self._picture, self._sentence, self.sentence.value = picture, sentence, sentence
        names = [(name, i) for i, (name, _) in enumerate(found[0][0].words)]
        if self.word.options != tuple(names):
            self.word.options = names
            self.word.value = first_of_meaning([name for name, _ in names])

    def _change(self, picture, sentence):
        self._read(picture, sentence)
        self._offer()
        self._show()

    def _uploaded(self, files):
        if files:
            self._change(as_picture(files[0]["content"])[0], self._sentence)

    def _pick(self, side, number):
        side.go_to(number)
        self._show()

    def _choose(self, change):
        try:
            self._offer()
        except (ValueError, TypeError):  # such as each word of a model that answers questions
            change.owner.value = change.old
            self._offer()
            raise
        self._show()

    def _offer(self):
        for side in self.sides:
            side.offer(self.method.value, self.target.value)

    def _show(self):
        method, target = self.method.value, self.target.value
        scale = Scale.of(*(side.values(method, target) for side in self.sides))
        for side in self.sides:
            side.show(method, target, self.word.value, scale, self.opacity.value)
        colours = ", ".join(to_hex(c / 255) for c in scale.colours(torch.linspace(scale.low, scale.high, 9)))
        bar = f"display:inline-block;width:12em;height:1em;background:linear-gradient(to right, {colours})"
        self.legend.value = (f'<p>{method}, all words: {scale.low:.3g} <span role="img" aria-label="colour scale" '
                             f'style="{bar}"></span> {scale.high:.3g}</p>')
