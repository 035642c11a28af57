"""Real pictures and sentences: ALBEF and ViLT of the course's size learn NLVR (`corpora.nlvr`) from its dev split.

Both start from what the scenes taught them. Accuracy is that of held-out directories of dev; the public test is asked
once, by models that learnt from all of dev. `make results NLVR=folder` does it, run by run.
"""

import hashlib
import json
import statistics
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from .. import device as best_device, load
from .._paths import write_whole
from ..corpora import nlvr as corpus
from ..corpora.nlvr_batches import NLVRBatches, Words, read
from ..evaluation.nlvr import always, failures, judge, measure, percent, published
from ..layers import take_weights
from ..models.albef import Body
from ..models.heads import Classifier, albef_head
from ..models.vilt import ViLTEncoder
from ..pretrained._names import resize_positions
from ..scenes import tokenizer
from ..scenes.world import shuffled, stream
from . import recipes, tuning
from .loop import fit

BOX = 48  # pixels of a box; the smallest shapes are a tenth of it
FOLDS = 6  # the directories of dev
CURVE = 100  # steps between two points of the learning curve


def albef(pretrained, words, side):
    """A pre-trained ALBEF for other words and pictures of another side, with the head and the momentum copy of its
    fine-tuning. Positions are resized, as the authors do when pictures get larger."""
    config = replace(pretrained.config, image=side, vocab=len(words), never_masked=())
    body, weights = Body(config), tuning.body_of(pretrained).state_dict()
    weights["vision.pos"] = resize_positions(weights["vision.pos"], side, config.patch)
    weights["text.embed.tok.weight"] = known_words(weights["text.embed.tok.weight"], body.text.embed.tok, words)
    take_weights(body, weights, "pretrained")
    return tuning.distilled(Classifier(body, 2, albef_head))


def vilt(pretrained, words, side):
    """The same of a ViLT, which resizes its positions for every picture."""
    encoder = ViLTEncoder(replace(pretrained.config, vocab=len(words), never_masked=()))
    weights = pretrained.encoder.state_dict()
    weights["text.tok.weight"] = known_words(weights["text.tok.weight"], encoder.text.tok, words)
    take_weights(encoder, weights, "pretrained")
    return tuning.classifier(encoder, 2)


def known_words(pretrained, embedding, words):
    """A table `v d` for the words: the pre-trained row where the scenes have the token as well, else its own."""
    table = embedding.weight.detach().clone()
    for token, row in words.ids.items():
        if token in tokenizer.ids:
            table[row] = pretrained[tokenizer.ids[token]]
    return table


#: make: a pre-trained model, the words, the side of the pictures -> the model that is trained.
#: The rate is that of the tasks where words alone get one far; at 5e-4 ViLT ends where it began even on its own examples.
RECIPES = {"albef": recipes.Recipe(albef, steps=600, batch=32, lr=2e-4, starts=("albef",)),
           "vilt": recipes.Recipe(vilt, steps=600, batch=32, lr=2e-4, starts=("vilt",))}


def fine_tune(recipe, start, data, numbers, held=(), hide=False, checkpoint=None):
    """Train on the examples of `numbers`: (model, words, Run). With `held` the run's evaluations are accuracies in the
    first order of the boxes, of the held-out examples and of as many of those that are trained on."""
    words, device = Words([data.examples[i].sentence for i in numbers]), best_device()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = recipe.make(start, words, data.pictures.shape[-1])
    model = model.to(device, memory_format=torch.channels_last)
    seen = shuffled(stream("nlvr", "seen"), numbers)[:len(held)]

    def both(model):
        return {"train": percent(judge(model, data, seen, words, hide, orders=[0])),
                "held out": percent(judge(model, data, held, words, hide, orders=[0]))}

    run = fit(model, NLVRBatches(data, numbers, words, recipe.batch, 0, device, hide), recipe.steps, lr=recipe.lr,
              weight_decay=recipe.weight_decay, warmup=recipe.warmup, precision=recipe.precision,
              evaluate=both if held else None, every=CURVE, checkpoint=checkpoint)
    return model, words, run


def digest(model):
    """A number, in 16 hexadecimal digits, for the weights of a model."""
    made = hashlib.sha256()
    for tensor in model.state_dict().values():
        made.update(tensor.contiguous().numpy())
    return made.hexdigest()[:16]


def as_told(name, recipe):
    """A row as plain values."""
    return json.loads(json.dumps(asdict(replace(recipe, make=name))))


def is_now(result):
    """Whether a result of `nlvr`, as its file has it, was made by the rows as they are now."""
    told = {name: result.get(name, {}).get("recipe", {}) for name in RECIPES}
    return all(recipes.same_row(told[name], {**told[name], **as_told(name, recipe)}) for name, recipe in RECIPES.items())


def once(out, name, settings, make):
    """The mapping that `make(checkpoint)` returns, kept in a file: what the same settings made is not made again."""
    told = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
    path = out / f"nlvr-{name}-{told}.json"
    if not path.exists():
        text = json.dumps(make(path.with_suffix(".pt")), indent=1)
        write_whole(path, lambda file: file.write(text.encode()))
        path.with_suffix(".pt").unlink(missing_ok=True)
    return json.loads(path.read_text(encoding="utf-8"))


def of_row(name, recipe, start, dev, test, out, told, folds):
    """One row of `nlvr`, run by run."""
    number = {example: i for i, example in enumerate(dev.examples)}
    everything = list(range(len(dev.examples)))

    def fold(learnt, held, checkpoint):
        a, b = ([number[example] for example in part] for part in (learnt, held))
        model, words, run = fine_tune(recipe, start, dev, a, b, checkpoint=checkpoint)
        return {"directories": sorted({e.directory for e in held}), "examples": len(held), "words": len(words),
                **measure(judge(model, dev, b, words), held), "always the same": always(learnt, held),
                "seconds": run.seconds, "curve": run.evaluations}

    def final(hide, checkpoint):
        model, words, run = fine_tune(recipe, start, dev, everything, hide=hide, checkpoint=checkpoint)
        right = judge(model, test, range(len(test.examples)), words, hide)
        return {"parameters": sum(p.numel() for p in model.parameters() if p.requires_grad), "seconds": run.seconds,
                "train": percent(judge(model, dev, everything, words, hide, orders=[0])),
                **measure(right, test.examples), **failures(right, test.examples, words, dev.examples)}

    parts = [once(out, f"{name}-fold{i}", told, partial(fold, learnt, held))
             for i, (learnt, held) in enumerate(corpus.folds(dev.examples, folds))]
    scores = [part["accuracy"] for part in parts]
    return {"recipe": told, "folds": parts, "held out": statistics.fmean(scores), "spread": statistics.stdev(scores),
            "curve": {step: {what: statistics.fmean(part["curve"][step][what] for part in parts)
                             for what in ("train", "held out")} for step in parts[0]["curve"]},
            "test": once(out, f"{name}-test", told, partial(final, False)),
            "sentence alone": once(out, f"{name}-sentence", told, partial(final, True))}


def nlvr(folder, out="build/runs", rows=RECIPES, starts=None, box=BOX, folds=FOLDS):
    """All of data/results/nlvr.json: for each row the accuracy on `folds` folds of dev, with learning curves, and on
    the public test, with pictures and without, beside the published baselines.

    folder: of the corpus; out: where runs are kept, so that a killed one goes on; starts: row -> pre-trained model
    (default: the course's, as it ships); box: side of a box in pixels.
    """
    dev, test = (read(folder, split, box) for split in ("dev", "test"))
    result = {split: {"examples": len(data.examples), "always the same": always(dev.examples, data.examples)}
              for split, data in (("dev", dev), ("test", test))}
    result["published"] = published()
    for name, recipe in rows.items():
        start = (starts or {}).get(name) or load(recipe.starts[0])
        told = {**as_told(name, recipe), "box": box, "folds": folds, "start": digest(start),
                "dev": len(dev.examples), "test": len(test.examples)}
        result[name] = of_row(name, recipe, start, dev, test, Path(out), told, folds)
    return result
