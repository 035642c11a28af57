"""What fine-tuning starts from: a pre-trained model under the head of a task, as its authors put it there.

CLIP and VSE++ were not made for these tasks: they get ViLT's heads on their two embeddings, and the same data.
"""

from dataclasses import replace

import torch

from ..layers import take_weights
from ..models.albef import ALBEF, Body
from ..models.heads import (ALBEFAnswers, ALBEFPairs, Answerer, Choices, Classifier, Distilled, PairBody, Pairs,
                            albef_head, joint_width, vilbert_head, vilt_head)
from ..models.multitask import MultiTask, answerer_on, pair_body_on
from ..models.vilbert import ViLBERT
from ..models.vilt import ViLTEncoder, ViLTRetrieval
from ..scenes import ANSWERS, TASKS
from ..scenes.statements import LABELS

#: What a momentum copy remembers in fine-tuning, and how many steps it takes until its word counts. The authors' 0.995
#: remembers 200 steps; these runs have a few hundred.
MOMENTUM, ALPHA, ALPHA_STEPS = 0.98, 0.4, 100


def start_patches(encoder, vision):
    """Give ViLT's encoder the patches, positions and blocks of a vision transformer, as the authors start from a ViT."""
    for name in ("patch", "blocks", "ln_final"):
        take_weights(encoder.get_submodule(name), vision.get_submodule(name).state_dict(), "vision")
    with torch.no_grad():
        encoder.cls.copy_(vision.cls)
        encoder.pos.copy_(vision.pos)


def body_of(albef):
    """ALBEF's three transformers with their weights, without what only pre-training needs: a Body."""
    body = Body(albef.config)
    weights = albef.online.state_dict()
    take_weights(body, {name: weights[name] for name in body.state_dict()}, "albef")
    return body


def encoder_for_two(vilt):
    """ViLT's encoder with a modality for a second picture, which starts as that of the first: a ViLTEncoder."""
    encoder, weights = ViLTEncoder(replace(vilt.config, modalities=3)), vilt.encoder.state_dict()
    modality = weights["modality.weight"]
    take_weights(encoder, {**weights, "modality.weight": torch.cat([modality, modality[1:]])}, "vilt")
    return encoder


def classifier(model, classes, head=vilt_head):
    return Classifier(model, classes, head, 2 * joint_width(model))


def pairs(model, head=vilt_head):
    return Pairs(model, 2, head, 2 * joint_width(model))


def distilled(model):
    return Distilled(model, MOMENTUM, ALPHA, ALPHA_STEPS)


def together(trunk, heads):
    """All tasks on one trunk: a MultiTask. heads: task -> function of the trunk, as in HEADS."""
    return MultiTask(trunk, {task: heads[task](trunk) for task in TASKS})


def albef_together(model):
    """All tasks on one Body of ALBEF. Without momentum distillation, which would keep a copy of all of it."""
    body = body_of(model)
    return MultiTask(body, {
        "vqa": answerer_on(body, model.online), "entailment": Classifier(body, len(LABELS), albef_head),
        "pairs": ALBEFPairs(pair_body_on(body), 2, albef_head), "why": Choices(body)})


_TOWERS = {
    "vqa": lambda model: classifier(model, len(ANSWERS)),
    "entailment": lambda model: classifier(model, len(LABELS)),
    "pairs": pairs,
    "why": Choices,
    "multitask": lambda model: together(model, _TOWERS),
}
#: Architecture -> task -> function of the pre-trained model: the model that fine-tuning trains.
HEADS = {
    "vse": _TOWERS,
    "clip": _TOWERS,
    "vilbert": {
        "retrieval": lambda model: retrieving(model),
        "vqa": lambda model: classifier(model, len(ANSWERS), vilbert_head),
        "entailment": lambda model: classifier(model, len(LABELS), vilbert_head),
        "pairs": lambda model: pairs(model, vilbert_head),
        "why": Choices,
        "multitask": lambda model: together(model, HEADS["vilbert"]),
    },
    "vilt": {
        "retrieval": lambda model: ViLTRetrieval(model.config, model, false_texts=3),
        "vqa": lambda model: classifier(model.encoder, len(ANSWERS)),
        "entailment": lambda model: classifier(model.encoder, len(LABELS)),
        "pairs": lambda model: pairs(encoder_for_two(model)),
        "why": lambda model: Choices(model.encoder),
        "multitask": lambda model: together(encoder_for_two(model), _TOWERS),
    },
    "albef": {
        "retrieval": lambda model: retrieving(model),
        "vqa": lambda model: ALBEFAnswers(Answerer(model.config).start_from(model.online), MOMENTUM, ALPHA, ALPHA_STEPS),
        "entailment": lambda model: distilled(Classifier(body_of(model), len(LABELS), albef_head)),
        "pairs": lambda model: distilled(ALBEFPairs(PairBody(model.config).start_from(body_of(model)), 2, albef_head)),
        "why": lambda model: Choices(body_of(model)),
        "multitask": albef_together,
    },
}


def retrieving(pretrained):
    """ALBEF or ViLBERT in the mode that its configuration has for the fine-tuning of retrieval, with its weights."""
    mode = {"index_targets": True} if isinstance(pretrained, ALBEF) else {"retrieval": True}
    model = type(pretrained)(replace(pretrained.config, **mode))
    weights = pretrained.state_dict()
    own = model.state_dict()
    model.load_state_dict({name: weights.get(name, own[name]) for name in own})
    return model
