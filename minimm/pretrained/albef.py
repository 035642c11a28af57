"""ALBEF: the pre-trained model, those fine-tuned for retrieval (and grounding) and for questions, and what the training
scripts write for entailment and for two pictures."""

import re
from dataclasses import replace

import torch

from .._errors import expect
from ..models.albef import ALBEF, ALBEFConfig, Body
from ..models.heads import ALBEFAnswers, ALBEFPairs, Answerer, Classifier, PairBody, albef_head
from ._names import (bert_blocks, count, fill, language_head, rename, resize_positions, text_embedding, vision_sizes,
                     vision_transformer)

# The pre-trained file has a level `bert` that the fine-tuned ones lack; the decoder for answers has it always.
NAMES = [
    *vision_transformer(r"visual_encoder", r"vision."),
    *text_embedding(r"text_encoder\.(?:bert\.)?embeddings", r"text.embed."),
    *bert_blocks(r"text_encoder\.(?:bert\.)?encoder\.layer", r"text.layers."),
    *bert_blocks(r"text_encoder\.(?:bert\.)?encoder\.fusion", r"text.fusion."),  # renumbered below
    *language_head(r"text_encoder\.cls\.predictions", r"mlm."),
    (r"text_encoder\.cls\.predictions\.decoder\.weight", r"text.embed.tok.weight"),  # tied
    (r"vision_proj\.(weight|bias)", r"image_proj.\1"),
    (r"text_proj\.(weight|bias)", r"text_proj.\1"),
    (r"itm_head\.(weight|bias)", r"itm.\1"),
    (r"temp", r"temperature"),
    *text_embedding(r"text_decoder\.bert\.embeddings", r"decoder.embed."),
    *bert_blocks(r"text_decoder\.bert\.encoder\.layer", r"decoder.fusion."),
    *language_head(r"text_decoder\.cls\.predictions", r"mlm."),
    (r"text_decoder\.cls\.predictions\.decoder\.weight", r"decoder.embed.tok.weight"),  # tied, but not to the encoder's
    (r"cls_head\.(\d)\.(weight|bias)", r"head.\1.\2"),
    (r"[a-z_]+_m\..+", None),  # the momentum copy: training alone uses it
    (r"image_queue|text_queue|idx_queue|queue_ptr", None),
]


def authors(tensors, facts, image=None):
    """An ALBEF; for questions ALBEFAnswers. Their momentum copies start as the model is, the queues at random. For
    entailment (three classes) a Classifier, for two pictures ALBEFPairs.

    image: pixels of a side, if the table of positions is to be resized (256 in pre-training, 384 in fine-tuning).
    """
    weights = rename(_halves(tensors), NAMES)
    sizes = vision_sizes(weights, "vision.")
    weights["vision.pos"] = resize_positions(weights["vision.pos"], image, sizes["patch"])
    vocab, width = weights["text.embed.tok.weight"].shape
    two_pictures = len(weights.get("head.2.weight", ())) == 2  # true or false; entailment has three classes
    config = ALBEFConfig.paper(
        image=image or sizes["image"], patch=sizes["patch"], vision_width=sizes["width"], vision_layers=sizes["layers"],
        vision_heads=sizes["heads"], vision_hidden=sizes["hidden"], context=len(weights["text.embed.pos.weight"]),
        vocab=vocab, text_width=width, text_layers=count(weights, "text.layers."),
        fusion_layers=count(weights, "text.fusion.") // (2 if two_pictures else 1), text_heads=max(1, width // 64),
        text_hidden=len(weights["text.layers.0.mlp.fc1.weight"]))

    if "itm.weight" in weights:
        config = replace(config, embed_dim=len(weights["image_proj.weight"]), index_targets="mlm.bias" not in weights)
        model = fill(ALBEF(config), _within("online", weights, besides=("itm", "temperature")),
                     besides=r"momentum\..+|(image|text|index)_queue\..+|steps")
        model.momentum.load_state_dict(model.online.state_dict())
        return model
    if "decoder.embed.tok.weight" in weights:
        weights = _within("online", _within("body", weights, besides=("decoder", "mlm")))
        model = fill(ALBEFAnswers(Answerer(config)), weights, besides=r"momentum\..+|steps")
        model.momentum.load_state_dict(model.online.state_dict())
        return model
    classes, hidden = weights["head.2.weight"].shape
    body, kind = (PairBody(config), ALBEFPairs) if two_pictures else (Body(config), Classifier)
    if two_pictures:
        _share(weights)
    return fill(kind(body, classes, albef_head, hidden), _within("backbone", weights, besides=("head",)))


def _within(module, weights, besides=()):
    """The names, but for those of the modules `besides`, within a module."""
    return {name if name.partition(".")[0] in besides else f"{module}.{name}": tensor
            for name, tensor in weights.items()}


def _share(weights):
    """The two cross-attentions of a pair share the maps of keys and values: one name or both may be in the file."""
    for name in [name for name in weights if re.match(r"text\.fusion\.\d+\.xattn\.[kv]\.", name)]:
        number = int(name.split(".")[2])
        twin = name.replace(str(number), str(number ^ 1), 1)
        one, other = weights[name], weights.setdefault(twin, weights[name])
        expect(one is other or torch.equal(one, other), f"{name} and {twin}", "different numbers",
               "one tensor under two names")


def _halves(tensors):
    """The text encoder's blocks under two names, with numbers of their own: `layer` reads the text alone; `fusion`,
    from the first block with cross-attention on, looks at the picture."""
    numbers = [int(m[1]) for name in tensors
               if (m := re.fullmatch(r"text_encoder\..*encoder\.layer\.(\d+)\.crossattention\..+", name))]

    def renumbered(match):
        number = int(match[2]) - min(numbers, default=len(tensors))
        return f"{match[1]}fusion.{number}." if number >= 0 else match[0]

    return {re.sub(r"^(text_encoder\..*encoder\.)layer\.(\d+)\.", renumbered, name): tensor
            for name, tensor in tensors.items()}
