"""All that the course measures of a model, in one mapping for data/results: plain numbers, in percent."""

import torch

from ..objectives.contrastive import similarity
from ..scenes import ICONS, Mention, tokenizer
from ..scenes.captions import phrase
from ..scenes.detection import targets
from . import foils, probes, zero_shot
from .detection import detection
from .embed import embed, evaluating
from .masked import masked_accuracy
from .pairs import ceiling, rerank, reranked, score_pairs, scorer
from .retrieval import best_possible, retrieval
from .tasks import accuracy, predictions

#: One prompt, and an ensemble of prompts; {} is a name with its article, such as "an umbrella".
PROMPT = "{}"
PROMPTS = ("{}", "a picture of {}", "we see {}", "here is {}", "look, {}", "{} in this picture", "{} at night",
           "{} in the forest", "{} on stone", "{} in the desert")
NAMES = tuple(phrase(Mention(icon)) for icon in ICONS)
#: Scenes of the gallery in which every pair is scored; candidates of a first stage that are scored again.
SMALL_GALLERY, RERANKED = 100, 32


@torch.no_grad()
def dual_encoder(model, probed_on, test, gallery=1000):
    """Retrieval, linear probes, zero-shot and foils of a model with `encode_image`, `encode_text` and
    `vision.features`, as plain numbers in percent: a mapping for data/results.

    probed_on: scenes that the probes are fitted on; test: scenes for all scores; gallery: the first so many of them
    are ranked against each other, with one caption each.
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device

    def encode_text(ids):
        return embed(model.encode_text, ids.to(device)).float().cpu()

    def encode_image(data):
        return embed(lambda pictures: model.encode_image(pictures.to(device)).float().cpu(), data.images())

    images = encode_image(test)
    scores = similarity(images[:gallery], encode_text(test[:gallery].tokens()), torch.zeros(()))
    found, best = retrieval(scores), best_possible([c[0] for c in test[:gallery].captions], test.scenes[:gallery])
    alone = [i for i, scene in enumerate(test.scenes) if len(scene.things) == 1]
    right = torch.tensor([list(ICONS).index(test.scenes[i].things[0].icon) for i in alone])

    def zero_shot_accuracy(templates):
        weights = zero_shot.classifier(encode_text, tokenizer, NAMES, templates)
        return 100 * (zero_shot.predict(images[alone], weights) == right).double().mean().item()

    result = {
        "gallery": len(scores),
        "text retrieval": {**found.text._asdict(), "best possible r1": best[0]},
        "image retrieval": {**found.image._asdict(), "best possible r1": best[1]},
        "every pair": small_gallery(scores),
        "zero-shot icon": {"scenes of one thing": len(alone), "one prompt": zero_shot_accuracy([PROMPT]),
                           "ensemble": zero_shot_accuracy(PROMPTS), "chance": 100 / len(ICONS)},
        "probes": probed(model.vision, probed_on, test),
        "foils": {kind: {"pairs": len(pairs), "told apart": foils.told_apart(images, encode_text, tokenizer, pairs)}
                  for kind in foils.KINDS for pairs in [foils.foils(test.scenes, kind)]},
    }
    model.train(training)
    return result


@torch.no_grad()
def probed(vision, probed_on, test):
    """Linear probes of a picture encoder with `features`, in evaluation mode, fitted on scenes and scored on others:
    {attribute: {"accuracy", "chance"}}."""
    device = next(vision.parameters()).device
    parts = [(embed(lambda pictures: vision.features(pictures.to(device)).float().cpu(), data.images()), data.scenes)
             for data in (probed_on, test)]
    return {name: probes.probe(*parts, name)._asdict() for name in probes.ATTRIBUTES}


def sides(found):
    """Retrieval as a mapping."""
    return {"text retrieval": found.text._asdict(), "image retrieval": found.image._asdict()}


@torch.no_grad()
def small_gallery(similarity):
    """Retrieval among the first SMALL_GALLERY pictures and texts, for models that are compared with those that score
    every pair; similarity `i t`."""
    return {"gallery": SMALL_GALLERY, **sides(retrieval(similarity[:SMALL_GALLERY, :SMALL_GALLERY]))}


@torch.no_grad()
def pair_encoder(model, test, see=None, first_stage=None):
    """Retrieval and masked words of a model that reads picture and sentence together (ViLT, ViLBERT, ALBEF).

    test: scenes; see: what the model sees of them; first_stage `i t`: similarities of the first scenes by a model with
    two towers, whose best RERANKED are scored again ("top 32 of 1000"; "ceiling": for how many the right one is there).
    """
    score = scorer(model, test, test.tokens(), see)
    all_pairs = score_pairs(score, torch.ones(SMALL_GALLERY, SMALL_GALLERY, dtype=torch.bool))
    result = {"every pair": small_gallery(all_pairs)}
    if first_stage is not None:
        text, image = ceiling(first_stage, RERANKED)
        result["re-ranked"] = {
            "gallery": len(first_stage), "candidates": RERANKED, "ceiling": {"text": text, "image": image},
            **sides(reranked(*rerank(score, first_stage, RERANKED)))}
    return result


@torch.no_grad()
def albef(model, test, gallery=1000):
    """The same of ALBEF, which is its own first stage."""
    with evaluating(model):
        part = test[:gallery]
        cosines, of_picture, of_text = model.rerank(part.images(), part.tokens(), RERANKED)
    text, image = ceiling(cosines, RERANKED)
    return {
        **pair_encoder(model, test),
        "re-ranked": {"gallery": len(cosines), "candidates": RERANKED, "ceiling": {"text": text, "image": image},
                      **sides(reranked(of_picture, of_text))},
        "cosines alone": {"gallery": len(cosines), **sides(retrieval(cosines))},
    }


def masked_words(model, test, see=None):
    """How often a masked word is one that makes the caption true."""
    return {what: masked_accuracy(model, test, what, see) for what in ("icon", "colour", "place", "relation")}


def answered(model, test, task, see=None, hide=None):
    """How often the answers of a fine-tuned model are right, by kind."""
    return accuracy(test, task, predictions(model, test, task, see, hide))


@torch.no_grad()
def detector(model, test, size=250):
    """How well a detector finds the things of scenes."""
    with evaluating(model) as device:
        parts = [model.regions(test[i:i + size].images().to(device)) for i in range(0, len(test), size)]
    found = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    return detection(found, targets(test.scenes))._asdict()
