"""One way to ask all five architectures where they look: for each word of a sentence a map of the picture.

    look = Look(model, {"images": images}, ids)     # one pass forward and backward
    look.methods                                    # what this model has
    look.maps("relevancy").values                   # b l rows columns

Letters: b pairs, l tokens, n places of a picture (of a grid of rows and columns, or r regions), h heads.
"""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .._errors import expect
from ..evaluation.embed import evaluating
from ..layers import check_ids
from ..models.clip import CLIP
from ..models.heads import of_each
from ..models.vilt import ViLT, ViLTEncoder
from . import methods
from .architectures import Grid, anatomy, ask_for_words, backbone, real_tokens, score
from .recording import check_not_compiled, record

#: What a picture may consist of.
PICTURE = ("images", "sizes", "regions", "boxes", "region_mask", "task")
#: Method -> what it is, in the order of the course.
METHODS = {
    "attention": "the weights of one layer, of one head or the mean of all",
    "rollout": "attention through all layers",
    "gradient": "attention times its gradient: what speaks for the score, and (below 0) against it",
    "grad-cam": "attention times what its gradient says for the score; of a CNN its last convolution",
    "relevancy": "attention times its gradient through all layers, by the rules of Chefer et al. 2021",
    "transport": "which word goes with which place, by ViLT's word-patch alignment",
    "similarity": "CLIP's cosine of every place with the sentence",
}
OF_LAYER = ("attention", "gradient", "grad-cam")


class Maps(NamedTuple):
    """values: for each token a map of the picture, `b l rows columns` with its grid, or of regions `b l r` with their boxes
    `b r 4` in pixels. All pieces of a word share its map, the mean of theirs; padding has 0."""

    values: torch.Tensor
    grid: Grid | None = None
    boxes: torch.Tensor | None = None

    def pixels(self, height, width, smooth=False):
        """`b l height width`: each pixel has the value of the place whose middle is nearest, or of the highest region that
        covers it, else 0. smooth: between the middles of places values change evenly. height, width: of the picture as the
        model sees it; for a grid also any other size that it is shown in."""
        if self.boxes is None:
            down, right = (self._nearest(side, places, smooth) for side, places in zip((height, width), self.grid[:2]))
            return down @ self.values @ right.mT
        x0, y0, x1, y1 = self.boxes[..., None, None].unbind(2)  # b r 1 1, each
        y, x = (torch.arange(side, device=x0.device) + 0.5 for side in (height, width))  # middles of pixels
        covered = (x0 <= x) & (x < x1) & (y0 <= y[:, None]) & (y[:, None] < y1)  # b r h w
        painted = torch.where(covered[:, None], self.values[..., None, None], float("-inf")).amax(2)
        return painted.masked_fill(painted == float("-inf"), 0)

    def places(self, height, width):
        """Name and rectangle (left, top, right, bottom, as shares of the picture) of every place, or of every region of the first
        picture: a list of (name, left, top, right, bottom). Those of a grid tile it; height, width: as of `pixels`."""
        if self.boxes is not None:
            corners = (self.boxes[0].cpu().float() / torch.tensor([width, height, width, height])).clamp(0, 1).tolist()
            return [(f"region {i}", *box) for i, box in enumerate(corners, start=1)]
        y, x = (self._edges(side, places) for side, places in zip((height, width), self.grid[:2]))
        return [(f"row {i + 1}, column {j + 1}", x[j], y[i], x[j + 1], y[i + 1])
                for i in range(self.grid.rows) for j in range(self.grid.columns)]

    def _edges(self, side, places):
        # where places begin and end; the outermost ones reach to the picture's edge
        first, step = self.grid.first, self.grid.step
        return [0, *((first + 0.5 + step * (i + 0.5)) / side for i in range(places - 1)), 1]

    def _nearest(self, side, places, smooth):
        # how much each pixel of a side gets from each place: `side places`
        pixel = (torch.arange(side) + 0.5) * (places * self.grid.step / side) - 0.5  # as the model counts
        at = ((pixel - self.grid.first) / self.grid.step).clamp(0, places - 1)
        at = at if smooth else (at + 0.5).floor().clamp(max=places - 1)  # between two: the further one
        return (1 - (at[:, None] - torch.arange(places)).abs()).clamp(min=0).to(self.values)


class Look:
    """A model's look at pairs: attention and gradients of one pass, from which every method makes its maps.

    picture: a mapping of tensors, `images` and perhaps `sizes`, or `regions`, `boxes` and so on (and `task`, for a ViLBERT that
    was told one), as the model takes them, a row a text (or with `of` `b`, see `models.heads`); ids `b l`. words `b l`: numbers of the words that tokens belong to,
    -1 for special tokens, such as `scene_words(ids)`; default: every token but the first and the last is a word.
    The model runs in evaluation mode and gets its own back.

    target: what is explained. None: how well picture and sentence match, or what a fine-tuned model says; what else a model
    has see `architectures.score`. Maps of different words are different rows of the same attention; CLIP and VSE++ have
    one for the whole sentence, which all words then share.
    "word", for the five as pre-trained: each word is asked for on its own, and its map explains the answer, see
    `architectures.ask_for_words`. Special tokens then have the maps of the sentence with all its words. It takes as many
    passes as there are words, and one more, all in one batch.

    After it: score `b`; methods: names of what the model has, keys of METHODS; weights and gradients: name of a layer of
    the model's backbone -> `p h q k`, p: pairs, or with "word" words. Raises what the model raises, and TypeError for a
    model that it does not know.
    """

    def __init__(self, model, picture, ids, words=None, target=None):
        check_not_compiled(model)
        self.core, first = backbone(model), next(model.parameters())
        check_ids(ids, self.core.config.vocab)
        ids = ids.to(first.device)
        self.picture = {name: of_each(picture[name], picture, ids).to(first.device) for name in PICTURE if name in picture}
        for name in ("images", "regions"):  # as the model, which may be in half precision
            if name in self.picture and self.picture[name].is_floating_point():
                self.picture[name] = self.picture[name].to(first.dtype)
        self.real = real_tokens(self.core, ids)
        if words is None:
            place = torch.arange(ids.shape[1], device=ids.device)
            inner = self.real & (place > 0) & (place < self.real.sum(1, keepdim=True) - 1)
            words = torch.where(inner, place, -1)
        expect(words.shape == ids.shape, "words", f"shape {tuple(words.shape)}", f"that of ids, {tuple(ids.shape)}")
        self.words = words.to(ids.device)
        # Which row of what is computed each token's map comes from.
        self.at = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)
        self.by_word = isinstance(target, str)
        if self.by_word:
            expect(target == "word", "target", repr(target), "None, 'word', or what the model has")
            self.at, of, chosen, hide = _each_word(self.words)
            ids, target = ask_for_words(model, ids[of], chosen, hide)
            self.picture = {name: t[of] for name, t in self.picture.items()}
        self.ids = ids

        half = first.dtype in (torch.float16, torch.bfloat16)  # models normalise in float32, and not all of them go back
        with evaluating(model), torch.enable_grad(), torch.autocast(first.device.type, first.dtype, enabled=half):
            self.anatomy = anatomy(self.core, self.picture, ids)
            layers = [name for step in self.anatomy.steps for name in step.values()]
            with record(self.core, layers or [self.anatomy.convolution], gradients=True) as maps:
                scores = (target if callable(target) else partial(score, target=target))(model, self.picture, ids)
                times = max(map(len, map(maps.calls, maps)), default=0)
                expect(times == 1, "target", f"one that ran the model {times} times", "one that runs it once")
                gradients = maps.gradients(scores)
        self.score = scores.detach()[self.at[:, 0]]
        # Padding looks at something too, but nobody should follow it.
        self.weights, self.gradients = ({name: t.detach() for name, t in found.items()} for found in (maps, gradients))
        for step in self.anatomy.steps:
            for (queries, _), name in step.items():
                if queries in self.anatomy.real:
                    self.weights[name] = self.weights[name] * self.anatomy.real[queries][:, None, :, None]
        self.methods = tuple(name for name in METHODS if name in self._has())

    def _has(self):
        if self.anatomy.convolution:
            return ("grad-cam",)
        through = ("relevancy",) if self.anatomy.across[0] == "whole" else ("rollout", "relevancy")
        own = ("transport",) if isinstance(self.core, ViLTEncoder) else ("similarity",) \
            if isinstance(self.core, CLIP) and not self.core.config.resnet else ()
        return (*OF_LAYER, *through, *own)

    def layers(self, method="attention"):
        """Names of the layers that a method can be asked for. Of "rollout" and "relevancy" the layer is the first that
        counts. Raises ValueError for a method that the model does not have."""
        expect(method in self.methods, "method", repr(method),
               f"for a {type(self.core).__name__} one of {', '.join(self.methods)}")
        if self.anatomy.convolution:
            return (self.anatomy.convolution,)
        across, steps = self.anatomy.across, self.anatomy.steps
        if method in OF_LAYER:
            return tuple(step[across] for step in steps if across in step)
        return tuple(name for step in steps for name in step.values()) if method in ("rollout", "relevancy") else ()

    def usual_layer(self, method):
        """The layer of "attention", "gradient" and "grad-cam" that `maps` takes by default: the last one, or, for the gradient of a
        whole sentence's score by its words, the one in the middle. None for the other methods."""
        layers = self.layers(method)
        if method not in OF_LAYER:
            return None
        # A sentence's score is read out at its first token (but CLIP's at the picture's): in the last layer the rows of
        # words have no gradient. ALBEF's authors take the third of six.
        early = method != "attention" and not self.by_word and not isinstance(self.core, CLIP)
        return layers[(len(layers) - 1) // 2 if early else -1]

    def maps(self, method="grad-cam", layer=None, head=None):
        """Maps by one of `methods`.

        layer: of "attention", "gradient" and "grad-cam" which one (default: `usual_layer`); of "rollout" and "relevancy" the
        first one that counts (default: all). head: a number, of the first three (default: the mean of all).
        Raises ValueError for a method, a layer or a head that the model does not have.
        """
        layers = self.layers(method)
        layer = self.usual_layer(method) if layer is None else layer
        expect(layer is None or layer in layers, "layer", repr(layer),
               f"for {method} one of {', '.join(layers)}" if layers else f"None: {method} is of no layer")
        heads = self.weights[layer].shape[1] if method in OF_LAYER and not self.anatomy.convolution else 0
        expect(head is None or isinstance(head, int) and 0 <= head < heads, "head", head,
               f"None, or 0 to {heads - 1}" if heads else f"None: {method} is of no head here")
        if self.anatomy.convolution:
            found = methods.grad_cam_of_convolution(self.weights[layer], self.gradients[layer])
            return self._shared(found.flatten(1)[:, None])
        if method in OF_LAYER:
            found = self._of_layer(method, layer, head)
        elif method == "rollout":
            found = self._rollout(layer)
        elif method == "relevancy":
            found = self._relevancy(layer)[self.anatomy.across]
        else:
            return self._shared(self._transport() if method == "transport" else self._similarity())
        return self._shared(found[:, self.anatomy.rows, self.anatomy.places])

    def word_relevance(self, layer=None):
        """How much each token matters to the score, by "relevancy": `b l`, 0 for the token where the pair is read out. layer: the
        first one that counts. Raises ValueError for the target "word" and for a model without attention among its words."""
        expect(not self.by_word, "target", "'word'", "a score of the whole sentence")
        expect("relevancy" in self.methods, "model", f"a {type(self.core).__name__}", "one with attention among its words")
        R = self._relevancy(layer)
        if isinstance(self.core, CLIP):
            found = methods.text_relevance(R["text", "text"], real_tokens(self.core, self.ids).sum(1) - 1)
        else:
            found = R["pair", "pair"] if ("pair", "pair") in R else R["text", "text"]
            found = F.pad(found[:, 0, self.anatomy.rows][:, 1:], (1, 0))
        return found[self.at[:, 0]] * self.real

    def _of_layer(self, method, layer, head):
        if method == "attention":
            return methods.attention(self.weights[layer], head)
        of = methods.attention_gradient if method == "gradient" else methods.grad_cam
        return of(self.weights[layer], self.gradients[layer], head)

    def _steps(self, layer):
        # from the layer on, all if it is None
        steps = self.anatomy.steps
        expect(layer is None or any(layer in step.values() for step in steps), "layer", repr(layer),
               f"one of {', '.join(self.layers('relevancy'))}")
        return steps[next((i for i, step in enumerate(steps) if layer in step.values()), 0):]

    def _rollout(self, layer):
        steps, (s, q) = self._steps(layer), self.anatomy.across
        if s == q:
            return methods.rollout([self.weights[step[s, s]] for step in steps if (s, s) in step])
        last = max((i for i, step in enumerate(steps) if (s, q) in step), default=None)
        expect(last is not None, "layer", repr(layer), "one with a layer from words to places behind it")
        own, other = ([self.weights[step[m, m]] for step in steps[:last] if (m, m) in step] for m in (s, q))
        return methods.rollout_across(own, self.weights[steps[last][s, q]], other)

    def _relevancy(self, layer):
        sizes = {}
        for step in self.anatomy.steps:
            for (s, q), name in step.items():
                b, _, sizes[s], sizes[q] = self.weights[name].shape
        like = methods.single(self.weights[name])
        steps = [{pair: self._of_layer("grad-cam", name, None) for pair, name in step.items()} for step in self._steps(layer)]
        return methods.relevancy(steps, {(s, q): like.new_zeros(b, sizes[s], sizes[q]) for s in sizes for q in sizes})

    @torch.no_grad()
    def _transport(self):
        with evaluating(self.core):
            states = self.core(self.picture["images"], self.ids, self.picture.get("sizes"))
        return ViLT.align(self.core, states, self.ids).plan[:, :, 1:]  # it asks its model for `config` alone

    @torch.no_grad()
    def _similarity(self):
        with evaluating(self.core):
            vision = self.core.vision
            places = vision.proj(vision.ln_final(vision.tokens(self.picture["images"])[:, 1:]))
            return methods.patch_similarity(places, self.core.encode_text(self.ids))[:, None]

    def _shared(self, rows):
        # `p l n`, or `p 1 n` where all words share one row, as Maps: a word's pieces get the mean of theirs
        token = torch.arange(self.at.shape[1], device=rows.device) if rows.shape[1] > 1 else 0
        rows = rows[self.at, token] * self.real[..., None]  # b l n
        same = (self.words[:, :, None] == self.words[:, None]) & (self.words >= 0)[:, None]
        same = same | torch.eye(same.shape[1], dtype=torch.bool, device=same.device)
        rows = same.to(rows.dtype) @ rows / same.sum(2, keepdim=True)
        first, grid = self.at[:, 0], self.anatomy.grid
        if grid is None:
            regions = self.core.check(*map(self.picture.get, ("regions", "boxes", "region_mask", "sizes")))
            return Maps(rows, boxes=regions.boxes[first])
        if self.anatomy.at is not None:
            canvas = rows.new_zeros(*rows.shape[:2], grid.rows * grid.columns)
            rows = canvas.scatter(2, self.anatomy.at[first][:, None].expand_as(rows), rows)
        return Maps(rows.unflatten(2, grid[:2]), grid)


def maps(model, picture, ids, method="grad-cam", layer=None, head=None, target=None, words=None):
    """Where a model looks, for each token of each sentence: Maps. Arguments and errors as of `Look` and `Look.maps`."""
    return Look(model, picture, ids, words, target).maps(method, layer, head)


def _each_word(words):
    """Rows for each sentence as it is, and for each of its words: at `b l`, the row of each token; of `p`, each row's sentence;
    chosen `p l` of bool, the word's tokens, or those of all words; hide `p`: whether the row is one word's."""
    at, of, chosen, hide = torch.zeros_like(words), [], [], []
    for i, numbers in enumerate(words):
        at[i] = len(of)
        own = [numbers == number for number in numbers[numbers >= 0].unique().tolist()]
        for row, tokens in enumerate(own):
            at[i][tokens] = len(of) + 1 + row
        of += [i] * (1 + len(own))
        chosen += [numbers >= 0, *own]
        hide += [False] + [True] * len(own)
    return at, torch.tensor(of, device=words.device), torch.stack(chosen), torch.tensor(hide, device=words.device)
