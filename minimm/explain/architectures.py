"""What an explanation has to know of each architecture: the score that is explained, the part with the attention, the order
of its layers, and which of its states are words and which are places of the picture.

Letters: b pairs, l tokens, n places, h heads.
"""

from functools import singledispatch
from typing import NamedTuple

import torch
from torch import nn

from .._errors import expect
from ..evaluation.masked import language
from ..evaluation.pairs import match
from ..layers import check_numbers
from ..models.albef import ALBEF, Body
from ..models.clip import CLIP
from ..models.heads import Answerer, Choices, Classifier
from ..models.multitask import ViLBERTTasks
from ..models.vilbert import ViLBERT
from ..models.vilt import ViLT, ViLTEncoder, ViLTRetrieval
from ..models.vse import VSE
from ..objectives.masking import IGNORE, causal_cross_entropy
from ..objectives.momentum import Distilling

# The score.


@singledispatch
def score(model, picture, ids, target=None):
    """What is explained, a number a pair `b`: without a target how well picture and sentence match, or what a fine-tuned
    model says. picture: a mapping of tensors, a row a text.

    target: of a Classifier a class, or one for each pair `b`; of an Answerer the ids of an answer `b a`; of any model a
    function (model, picture, ids) -> `b`, such as `word_at(3)`. Raises ValueError for a target that a model does not
    have and for a head that reads two pictures, TypeError for a model that it does not know.
    """
    _no_target(target)
    return match(model, picture, ids)


def _no_target(target):
    expect(target is None, "target", target, "None, or a function of model, picture and ids")


@score.register(CLIP)
def clip_score(model, picture, ids, target=None):
    _no_target(target)
    return model(picture["images"], ids).logits_per_image.diagonal()


@score.register(VSE)
def vse_score(model, picture, ids, target=None):
    _no_target(target)
    return model(picture["images"], ids).scores.diagonal()


@score.register(ALBEF)  # which is a Distilling as well
def albef_score(model, picture, ids, target=None):
    _no_target(target)
    return match(model, picture, ids)


@score.register(Distilling)
def distilled_score(model, picture, ids, target=None):
    return score(model.online, picture, ids, target)


@score.register(Classifier)
def class_score(model, picture, ids, target=None):
    expect(model.pictures == 1, "model", f"a {type(model).__name__}, which reads two pictures", "one that reads one")
    logits = model({**picture, "ids": ids})
    if target is None:
        return logits.amax(1)
    wanted = torch.as_tensor(target, device=ids.device).expand(len(ids))
    return logits.gather(1, check_numbers(wanted, *logits.shape, "target")[:, None])[:, 0]


@score.register(Choices)
def choice_score(model, picture, ids, target=None):
    _no_target(target)
    return model({**picture, "ids": ids[:, None]})[:, 0]


@score.register(Answerer)
def answer_score(model, picture, ids, target=None):
    states, mask = model.question(picture, ids)
    if target is None:  # the likeliest first word
        return model(states, mask, ids.new_full((len(ids), 1), model.config.cls_id))[:, 0].log_softmax(-1).amax(1)
    expect(torch.is_tensor(target) and target.ndim == 2 and len(target) == len(ids) and target.shape[1] > 1, "target",
           getattr(target, "shape", target), "ids of an answer for each question, `b a`: [CLS] and words")
    return -causal_cross_entropy(model(states, mask, target), torch.where(target == model.config.pad_id, IGNORE, target))


def word_at(position, word=None):
    """A target: how likely a model finds a word (its id; default: the likeliest one) at a position of the text, such as
    that of [MASK]; its logit. For what `evaluation.masked.language` knows."""
    def target(model, picture, ids):
        logits = language(model, picture, ids)[:, position]
        return logits.amax(1) if word is None else logits[:, word]
    return target


def ask_for_words(model, ids, chosen, hide):
    """How to ask a pre-trained model for certain words of its own: (ids `b l`, target).

    chosen `b l` of bool: the tokens asked for, hide `b` of bool: whether these, and these only, are asked for without being
    read. A model that learnt to fill in words reads [MASK] in their place; its score is the sum of their logits.
    CLIP and VSE++, which have one vector for a text, read them on their own, between the first token and the last; their
    score is how well that matches. Without `hide` the whole text is read.
    Raises ValueError for another model: under a head words have no score of their own.
    """
    expect(isinstance(model, (CLIP, VSE, ViLT, ViLBERT, ALBEF)), "target", f"'word' for a {type(model).__name__}",
           "one of the five pre-trained models")
    if not isinstance(model, (CLIP, VSE)):
        def target(model, picture, hidden):
            return (language(model, picture, hidden).gather(2, ids[..., None])[..., 0] * chosen).sum(1)
        return ids.masked_fill(chosen & hide[:, None], model.config.mask_id), target
    real, place = real_tokens(model, ids), torch.arange(ids.shape[1], device=ids.device)
    ends = (place == 0) | (place == real.sum(1, keepdim=True) - 1)
    kept = torch.where(hide[:, None], chosen | ends, real)
    order = (~kept).long().argsort(dim=1, stable=True)  # what is kept comes first, in order
    return ids.gather(1, order).masked_fill(place >= kept.sum(1, keepdim=True), getattr(model.config, "pad_id", 0)), None


def real_tokens(core, ids):
    """Which tokens are no padding: `b l` of bool. With CLIP, which has no id for padding, those up to its end-of-text token."""
    if isinstance(core, CLIP):
        end = (ids == core.config.eot_id).long()
        return end.cumsum(1) - end == 0
    return ids != core.config.pad_id


# The part that attends.


@singledispatch
def backbone(model):
    """The part of a model that reads picture and text: names of layers are those within it. Raises TypeError for a model
    that it does not know."""
    raise TypeError("model: expected a CLIP, VSE, ViLBERT, ViLT or ALBEF, or a head on one of them, but got a "
                    f"{type(model).__name__}")


@backbone.register(CLIP)
@backbone.register(VSE)
@backbone.register(ViLBERT)
@backbone.register(ViLTEncoder)
@backbone.register(Body)
def itself(model):
    return model


@backbone.register(ViLT)
@backbone.register(ViLTRetrieval)
def vilt_backbone(model):
    return model.encoder


@backbone.register(Distilling)  # ALBEF is one
def online_backbone(model):
    return backbone(model.online)


@backbone.register(Classifier)
@backbone.register(Choices)
@backbone.register(ViLBERTTasks)
def backbone_of_head(model):
    return backbone(model.backbone)


@backbone.register(Answerer)
def answerer_backbone(model):
    return model.body


class Grid(NamedTuple):
    """Places of a picture: rows, columns, the step between them in pixels, and at which pixel, counted from the picture's first,
    the first one has its middle. A patch has its middle in its middle. A place behind convolutions with padding has it at a
    multiple of the step: half a patch further up and left, as a padded convolution with a step of 2 begins at the edge."""

    rows: int
    columns: int
    step: int
    first: float


class Anatomy(NamedTuple):
    """steps: the attention layers in the order of computation, each a mapping (queries of, keys of) -> name, as
    `methods.relevancy` takes them. across: the pair whose weights say what a word (or, with two towers, the picture as a
    whole) sees of the picture. rows, places: where tokens stand among its queries, and places among its keys.
    real: modality -> `b q` of bool, which queries are no padding; left out where there is none.
    grid: Grid of places, or None for regions. at `b n`: where the places stand on the grid; None: in order.
    convolution: the name of the last one, or None."""

    steps: list
    across: tuple
    rows: slice | list
    places: slice
    real: dict
    grid: Grid | None
    at: torch.Tensor | None = None
    convolution: str | None = None


@singledispatch
def anatomy(core, picture, ids):
    """Anatomy of what `backbone` returns, in evaluation mode, for these inputs."""
    raise TypeError(f"core: expected what `backbone` returns, but got a {type(core).__name__}")


def _own(kind, name, layers):
    return [{(kind, kind): f"{name}.{i}.attn"} for i in range(len(layers))]


def _square(config, first):
    return Grid(*(config.image // config.patch,) * 2, config.patch, first)


def _first(patch, stem):
    return 0 if stem else (patch - 1) / 2


@anatomy.register(CLIP)
def clip_anatomy(core, picture, ids):
    text = _own("text", "text.blocks", core.text.blocks)
    if core.config.resnet:  # the mean of all places, a query of its own, looks at them
        # The steps of 2 are an average of 2 x 2, but for the first one.
        return Anatomy([*text, {("whole", "image"): "vision.pool.attn"}], ("whole", "image"), slice(0, 1), slice(1, None), {},
                       _square(core.config, 15))
    return Anatomy(text + _own("image", "vision.blocks", core.vision.blocks), ("image", "image"), slice(0, 1),
                   slice(1, None), {}, _square(core.config, _first(core.config.patch, core.config.stem)))


@anatomy.register(VSE)
def vse_anatomy(core, picture, ids):
    c = core.config
    expect(c.cnn != "precomputed", "model", "a VSE of features computed before", "one that sees the picture")
    names = [name for name, _ in core.vision.cnn.named_children()]
    pool = next(i for i, part in enumerate(core.vision.cnn.children()) if isinstance(part, nn.AdaptiveAvgPool2d))
    step = 8 if c.cnn == "small" else 32
    # VGG's steps of 2 are a maximum of 2 x 2, those of the others padded convolutions.
    grid = Grid(c.image // step, c.image // step, step, _first(step, c.cnn != "vgg19"))
    return Anatomy([], None, None, None, {}, grid, convolution=f"vision.cnn.{names[pool - 1]}")


@anatomy.register(Body)
def albef_anatomy(core, picture, ids):
    fusion = [{pair: f"text.fusion.{i}.{layer}"} for i in range(len(core.text.fusion))
              for pair, layer in ((("text", "text"), "attn"), (("text", "image"), "xattn"))]
    steps = [*_own("image", "vision.blocks", core.vision.blocks), *_own("text", "text.layers", core.text.layers), *fusion]
    return Anatomy(steps, ("text", "image"), slice(None), slice(1, None), {"text": ids != core.config.pad_id},
                   _square(core.config, _first(core.config.patch, core.config.stem)))


@anatomy.register(ViLBERT)
def vilbert_anatomy(core, picture, ids):
    c, regions = core.config, core.check(*map(picture.get, ("regions", "boxes", "region_mask", "sizes")))
    text, vision = _own("text", "text_blocks", core.text_blocks), _own("image", "vision_blocks", core.vision_blocks)
    steps, t, v = [], 0, 0
    for i, (t_next, v_next) in enumerate(zip(c.text_co, c.vision_co)):
        steps += text[t:t_next] + vision[v:v_next]
        steps.append({("text", "image"): f"co.{i}.text.attn", ("image", "text"): f"co.{i}.vision.attn"})
        t, v = t_next, v_next
    real_text, rows = ids != c.pad_id, slice(None)
    if c.tasks:  # a token for the task stands behind [CLS]
        real_text, rows = torch.cat([real_text[:, :1], real_text], dim=1), [0, *range(2, ids.shape[1] + 1)]
    real = {"text": real_text, "image": nn.functional.pad(regions.mask, (1, 0), value=True)}
    return Anatomy(steps + text[t:] + vision[v:], ("text", "image"), rows, slice(1, None), real, None)


@anatomy.register(ViLTEncoder)
def vilt_anatomy(core, picture, ids):
    images, length, patch = picture["images"], ids.shape[1], core.config.patch
    with torch.no_grad():
        _, image_real, at = core.embed_images(images, picture.get("sizes"), 1)
    return Anatomy(_own("pair", "blocks", core.blocks), ("pair", "pair"), slice(0, length), slice(length + 1, None),
                   {"pair": torch.cat([ids != core.config.pad_id, image_real], dim=1)},
                   Grid(*(side // patch for side in images.shape[2:]), patch, _first(patch, False)), at)
