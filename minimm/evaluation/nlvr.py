"""NLVR: how often a model is right, how sure that number is, where it fails, and what others reached.

Letters: k orders of the boxes, n examples.
"""

import math
from collections import Counter, defaultdict

import torch

from .._paths import data_dir
from ..corpora.nlvr_batches import ORDERS, UNKNOWN, batch_of, words_of
from .embed import evaluating

#: What a sentence may speak of -> words for it.
KINDS = {"a number": "one two three four five six seven 1 2 3 4 5 6 7", "a colour": "yellow black blue",
         "a shape": "square squares circle circles triangle triangles", "a tower": "tower towers",
         "touching": "touching touches touch", "no or not": "no not none",
         "a place": "top bottom above over below under on left right middle corner edge wall base",
         "a comparison": "same different more less than"}


@torch.no_grad()
def judge(model, data, numbers, words, hide=False, orders=ORDERS, size=250):
    """Whether the model is right about the examples of these numbers, in these orders of their boxes: `k n` of bool."""
    pairs, right = [(i, order) for order in orders for i in numbers], []
    with evaluating(model) as device:
        for start in range(0, len(pairs), size):
            batch = batch_of(data, pairs[start:start + size], words, hide)
            label = batch.pop("label")
            right.append(model({name: t.to(device) for name, t in batch.items()}).argmax(1).cpu() == label)
    return torch.cat(right).view(len(orders), len(numbers))


def percent(right):
    """The share of True, in percent."""
    return 100 * right.double().mean().item()


def measure(right, examples):
    """Accuracy in percent, over all orders of the boxes, and its standard error: the examples of one presentation hang
    together (one sentence, similar pictures), so what varies are presentations. right: `k n` of bool."""
    mean, off = right.double().mean().item(), defaultdict(float)
    for example, share in zip(examples, right.double().mean(0).tolist()):
        off[example.identifier.partition("-")[0]] += share - mean
    error = math.sqrt(sum(value ** 2 for value in off.values())) / len(examples)
    return {"accuracy": 100 * mean, "standard error": 100 * error}


def failures(right, examples, words, learnt):
    """Accuracy by kind of example, with what "always true" would have there: {kind: {"examples", "true", "accuracy"}},
    and how often the six orders of the boxes get one answer. learnt: the examples that were trained on."""
    seen, kinds = {example.sentence for example in learnt}, defaultdict(list)
    for i, example in enumerate(examples):
        of = set(words_of(example.sentence))
        kinds["is true" if example.label else "is false"].append(i)
        kinds["up to 10 words" if len(example.sentence.split()) <= 10 else "11 words and more"].append(i)
        kinds["a sentence of training" if example.sentence in seen else "a new sentence"].append(i)
        if UNKNOWN in words.tokenize(example.sentence):
            kinds["an unknown word"].append(i)
        for kind, told in KINDS.items():
            if of & set(told.split()):
                kinds[kind].append(i)
    labels = torch.tensor([example.label for example in examples])
    return {"orders agree": percent(right.all(0) | ~right.any(0)),
            "kinds": {kind: {"examples": len(of), "true": percent(labels[of]), "accuracy": percent(right[:, of])}
                      for kind, of in sorted(kinds.items())}}


def always(learnt, asked):
    """Accuracy on `asked` of whoever always gives the most frequent answer of `learnt`, in percent."""
    answer = Counter(example.label for example in learnt).most_common(1)[0][0]
    return percent(torch.tensor([example.label == answer for example in asked]))


def published():
    """The accuracies of Suhr et al. 2017, in percent, as data/nlvr.md gives them: {system: {"dev", "test"}}."""
    table = (data_dir() / "nlvr.md").read_text(encoding="utf-8").partition("## Published results")[2]
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line] for line in lines[2:]]
    return {system: {"dev": float(dev), "test": float(test)} for system, dev, test in rows}
