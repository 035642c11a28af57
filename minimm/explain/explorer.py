"""Where a model looks, to try out: a word's map of the picture, a place's words, every method, layer and head.

    Explorer(model, scene, "a red cup and a star")
    Explorer(albef, "cat.jpg", "a cat on a chair", second=vilt)

Nothing here is drawn by matplotlib, which takes longer than a move should.
"""

import html

import ipywidgets as widgets
import torch
from matplotlib.colors import to_hex

from .._errors import expect
from ..scenes.gallery import describe
from .figures import OPACITY, Scale, as_picture
from .html import save_html
from .looking import METHODS
from .side import NAMES, WIDE, Side, menu
from .words import first_of_meaning

#: What is explained -> what stands in the menu for it, in which None would be an empty line, -> the target of `Look`.
ASKED = {"how well picture and sentence match": "match", "each word on its own": "word"}
TARGETS = {"match": None, "word": "word"}
#: Methods whose values mean the same in every model: shares of attention, and cosines. The others have the unit of a score.
SHARES = ("attention", "rollout", "similarity")


def _legend(name, scale):
    colours = ", ".join(to_hex(c / 255) for c in scale.colours(torch.linspace(scale.low, scale.high, 9)))
    bar = f"display:inline-block;width:12em;height:1em;background:linear-gradient(to right, {colours})"
    return (f'{html.escape(name)}: {scale.low:.3g} <span role="img" aria-label="colour scale" style="{bar}"></span> '
            f'{scale.high:.3g}')


class Explorer(widgets.VBox):
    """Widgets: the sentence as words to choose from, the picture with the map of the chosen word and a frame around the chosen
    place (word to picture), and below it what this place gives to each word (picture to words). A place is chosen by a click on
    the picture, or by its row and column.

    model: what `Look` takes; picture: a Scene, the path of a file, a Pillow picture; both picture and sentence can be changed
    later, a file is then uploaded. Colours are on one scale for all words of the sentence. second: another model, shown beside
    the first, on the same scale where their values have one unit: by methods of SHARES, and if both are of one class.
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
        self.sentence = widgets.Text(description="sentence", continuous_update=False, layout=WIDE, style=NAMES)
        self.upload = widgets.FileUpload(description="another picture", accept="image/*", layout={"width": "14em"})
        self.word = widgets.ToggleButtons(description="word", style={"button_width": "auto", **NAMES})
        self.method = menu("method")
        self.target = menu("explained", list(ASKED.items()))
        self.opacity = widgets.FloatSlider(description="opacity", value=OPACITY, min=0, max=1, step=0.05, layout=WIDE,
                                           style=NAMES)
        self.legend = widgets.HTML()

        self._read(picture, sentence)
        offered = [m for m in METHODS if all(m in side.look(None).methods for side in self.sides)]
        expect(offered, "second", f"a {names[-1]}", f"a model with a method that a {names[0]} has")
        expect(method is None or method in offered, "method", repr(method), f"one of {', '.join(offered)}")
        self.method.options = offered
        self.method.value = method or offered[0]
        if word is not None:
            self.word.value = self.sides[0].pair.index(word)
        self._open()
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
        save_html(path, side.model, of.inputs, of.ids, of.numbers, [name for name, _ in of.words], TARGETS[self.target.value],
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
        names = [name for name, _ in found[0][0].words]
        # Of buttons with the same label only the first can be lit: every further one gets a space of no width more.
        labels = [(name + names[:i].count(name) * "\u200b", i) for i, name in enumerate(names)]
        if self.word.options != tuple(labels):
            self.word.options = labels
            self.word.value = first_of_meaning(names)

    def _open(self):
        # for the first time, on the place where each map of the chosen word is highest
        self._offer()
        for side in self.sides:
            side.go_to(int(side.values(self.method.value, TARGETS[self.target.value])[self.word.value].argmax()))
        self._show()

    def _change(self, picture, sentence):
        self._read(picture, sentence)
        self._open()

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
            side.offer(self.method.value, TARGETS[self.target.value])

    def _show(self):
        method, target = self.method.value, TARGETS[self.target.value]
        values = [side.values(method, target) for side in self.sides]
        one = method in SHARES or len({type(side.model) for side in self.sides}) == 1
        scales = [Scale.of(*values)] * len(values) if one else [Scale.of(own) for own in values]
        for side, scale in zip(self.sides, scales):
            side.show(method, target, self.word.value, scale, self.opacity.value)
        told = [("all words", scales[0])] if one else [(side.name, scale) for side, scale in zip(self.sides, scales)]
        self.legend.value = f"<p>{method}, {'; '.join(_legend(*of) for of in told)}</p>"
