"""All that the course measures of a model with two towers, in one mapping."""

import torch

from ..objectives.contrastive import similarity
from ..scenes import ICONS, Mention, tokenizer
from ..scenes.captions import phrase
from . import foils, probes, zero_shot
from .embed import embed
from .retrieval import best_possible, retrieval

#: One prompt, and an ensemble of prompts; {} is a name with its article, such as "an umbrella".
PROMPT = "{}"
PROMPTS = ("{}", "a picture of {}", "we see {}", "here is {}", "look, {}", "{} in this picture", "{} at night",
           "{} in the forest", "{} on stone", "{} in the desert")
NAMES = tuple(phrase(Mention(icon)) for icon in ICONS)


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

    def features(data):
        return embed(lambda pictures: model.vision.features(pictures.to(device)).float().cpu(), data.images())

    images = encode_image(test)
    scores = similarity(images[:gallery], encode_text(test[:gallery].tokens()), torch.zeros(()))
    found, best = retrieval(scores), best_possible([c[0] for c in test[:gallery].captions], test.scenes[:gallery])
    alone = [i for i, scene in enumerate(test.scenes) if len(scene.things) == 1]
    right = torch.tensor([list(ICONS).index(test.scenes[i].things[0].icon) for i in alone])

    def zero_shot_accuracy(templates):
        weights = zero_shot.classifier(encode_text, tokenizer, NAMES, templates)
        return 100 * (zero_shot.predict(images[alone], weights) == right).double().mean().item()

    train_part, test_part = ((features(data), data.scenes) for data in (probed_on, test))
    result = {
        "gallery": len(scores),
        "text retrieval": {**found.text._asdict(), "best possible r1": best[0]},
        "image retrieval": {**found.image._asdict(), "best possible r1": best[1]},
        "zero-shot icon": {"scenes of one thing": len(alone), "one prompt": zero_shot_accuracy([PROMPT]),
                           "ensemble": zero_shot_accuracy(PROMPTS), "chance": 100 / len(ICONS)},
        "probes": {name: probes.probe(train_part, test_part, name)._asdict() for name in probes.ATTRIBUTES},
        "foils": {kind: {"pairs": len(pairs), "told apart": foils.told_apart(images, encode_text, tokenizer, pairs)}
                  for kind in foils.KINDS for pairs in [foils.foils(test.scenes, kind)]},
    }
    model.train(training)
    return result
