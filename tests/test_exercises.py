"""The checks refuse what is wrong, accept what is right, survive everything, and give nothing away."""

import functools
import importlib.util
import math
import os
import random
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import minimm.exercises
from minimm.exercises import _judge, check, hint, show_solution
from minimm.exercises._exercise import furthest_row, lengths_in_words
from minimm.exercises._judge import judge
from minimm.exercises._registry import EXERCISES
from minimm.objectives import contrastive

NAMES = list(EXERCISES)
TENSORS = [name for name in NAMES if isinstance(next(iter(EXERCISES[name].cases()[0].inputs.values())), np.ndarray)]


def solution(name):
    space = {"torch": torch, "__name__": "notebook"}
    exec(EXERCISES[name].solution, space)
    return space[name]


# Right and wrong ways, by exercise. A wrong way comes with a word that the message must contain.

def unit_by_loop(features):
    rows = []
    for row in features:
        length = sum(x * x for x in row) ** 0.5
        rows.append(row / length)
    return torch.stack(rows)


def unit_by_columns(features):
    return (features.T / torch.einsum("b d, b d -> b", features, features).sqrt()).T  # not contiguous


def clip_logits(image, text, log_scale):
    return log_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


def one_way(logits):
    return F.cross_entropy(logits, torch.arange(len(logits)))


def loss_by_einsum(image, text, log_scale):
    image = image / image.norm(dim=1, keepdim=True)
    text = text / text.norm(dim=1, keepdim=True)
    logits = torch.einsum("i d, t d -> i t", image, text) * log_scale.exp()
    match = logits.diagonal()
    return ((logits.logsumexp(0) - match).mean() + (logits.logsumexp(1) - match).mean()) / 2


def loss_by_loop_in_float64(image, text, log_scale):
    dtype = image.dtype
    image, text, log_scale = image.double(), text.double(), log_scale.double()
    terms = []
    for n in range(len(image)):
        to_texts = log_scale.exp() * F.cosine_similarity(image[n : n + 1], text)
        to_images = log_scale.exp() * F.cosine_similarity(image, text[n : n + 1])
        terms += [-to_texts.log_softmax(0)[n], -to_images.log_softmax(0)[n]]
    return (sum(terms) / len(terms)).to(dtype)


def one_way_by_exp(logits):
    """Right, but in float32 the exp of a logit above 88 is infinite."""
    return -(logits.exp().diagonal() / logits.exp().sum(dim=1)).log().mean()


def both_ways(logits):
    return (one_way(logits) + one_way(logits.T)) / 2


def recall_by_topk(similarity, k):
    hits = similarity.topk(k, dim=1).indices == torch.arange(len(similarity))[:, None]
    return 100 * hits.any(dim=1).float().mean()


def recall_by_loop(similarity, k):
    found = [n in similarity[n].argsort(descending=True)[:k].tolist() for n in range(len(similarity))]
    return 100 * sum(found) / len(found)


def recall_by_numpy(similarity, k):
    table = similarity.numpy()
    return np.float32(100 * np.mean([(row > row[n]).sum() < k for n, row in enumerate(table)]))


def recall_as_an_array(similarity, k):
    return np.asarray(recall_by_loop(similarity, k))  # 0-d


def top(similarity, k, dim=1, largest=True):
    return similarity.topk(min(k, similarity.shape[dim]), dim=dim, largest=largest).indices


def columns_topk(similarity, k):
    hits = top(similarity, k, dim=0) == torch.arange(similarity.shape[1])
    return 100 * hits[:, : len(similarity)].any(dim=0).double().mean()


def columns_topk_of_all(similarity, k):
    return 100 * (top(similarity, k, dim=0) == torch.arange(similarity.shape[1])).any(dim=0).double().mean()


def classifier_by_loop(prompt_features):
    rows = []
    for prompts in prompt_features:
        mean = torch.zeros_like(prompts[0])
        for prompt in prompts:
            mean = mean + prompt / prompt.norm()
        rows.append(mean / mean.norm())
    return torch.stack(rows)


def classifier_by_einsum(prompt_features):
    wide = prompt_features.double()
    summed = torch.einsum("c p d, c p -> d c", wide, 1 / wide.norm(dim=-1))
    return (summed / summed.norm(dim=0)).T.to(prompt_features.dtype)


def unit(x, dim=-1):
    return F.normalize(x, dim=dim)


RIGHT = {
    "unit_length": [unit_by_loop, unit_by_columns, lambda features: F.normalize(features.double(), dim=1).to(features)],
    "contrastive_loss": [loss_by_einsum, loss_by_loop_in_float64, lambda i, t, s: both_ways(clip_logits(i, t, s))],
    "recall_at_k": [recall_by_topk, recall_by_loop, recall_by_numpy, recall_as_an_array,
                    lambda s, k: np.float64(recall_by_loop(s, k))],
    "zero_shot_classifier": [classifier_by_loop, classifier_by_einsum, lambda f: unit(unit(f).sum(dim=1))],
}

WRONG = {
    "unit_length": {
        "columns": (lambda f: f / f.norm(dim=0, keepdim=True), "wrong axis"),
        "squared": (lambda f: f / f.pow(2).sum(dim=1, keepdim=True), "square root"),
        "root too many": (lambda f: f / f.norm(dim=1, keepdim=True).sqrt(), "root too many"),
        "l1": (lambda f: f / f.abs().sum(dim=1, keepdim=True), "L1"),
        "sum": (lambda f: f / f.sum(dim=1, keepdim=True), "sum of the entries"),
        "maximum": (lambda f: f / f.abs().amax(dim=1, keepdim=True), "largest entry"),
        "whole matrix": (lambda f: f / f.norm(), "whole matrix"),
        "rms": (lambda f: F.rms_norm(f, f.shape[1:], eps=0), "mean square"),
        "multiplied": (lambda f: f * f.norm(dim=1, keepdim=True), "multiplied"),
        "softmax": (lambda f: f.softmax(dim=1), "softmax"),
        "standardised": (lambda f: (f - f.mean(1, keepdim=True)) / f.std(1, correction=0, keepdim=True), "standardised"),
        "lengths": (lambda f: f.norm(dim=1), "lengths themselves"),
        "rows reversed": (lambda f: unit(f).flip(0), "points"),
        "sign lost": (lambda f: unit(f).abs(), "points"),
        "squeezed": (lambda f: unit(f).squeeze(), "shape"),
        "first row's length": (lambda f: f / f[0].norm(), "length 1"),
        "large epsilon": (lambda f: f / (f.norm(dim=1, keepdim=True) + 1e-4), "epsilon"),
        "half precision": (lambda f: unit(f.bfloat16()).to(f), "precision|length 1"),
    },
    "contrastive_loss": {
        "not normalised": (lambda i, t, s: both_ways(s.exp() * i @ t.T), "features not normalised"),
        "image not normalised": (lambda i, t, s: both_ways(s.exp() * i @ unit(t).T), "image features not normalised"),
        "text not normalised": (lambda i, t, s: both_ways(s.exp() * unit(i) @ t.T), "text features not normalised"),
        "wrong axis": (lambda i, t, s: both_ways(s.exp() * unit(i, 0) @ unit(t, 0).T), "wrong axis"),
        "image to text": (lambda i, t, s: one_way(clip_logits(i, t, s)), "only one direction"),
        "text to image": (lambda i, t, s: one_way(clip_logits(t, i, s)), "only one direction"),
        "same twice": (lambda i, t, s: (one_way(clip_logits(i, t, s)) + one_way(clip_logits(i, t, s))) / 2, "same one twice"),
        "a + b / 2": (
            lambda i, t, s: one_way(clip_logits(i, t, s)) + one_way(clip_logits(t, i, s)) / 2, "parentheses.*only b",
        ),
        "a / 2 + b": (
            lambda i, t, s: one_way(clip_logits(i, t, s)) / 2 + one_way(clip_logits(t, i, s)), "parentheses.*only a",
        ),
        "images with images": (lambda i, t, s: both_ways(clip_logits(i, i, s)), "compared with the images"),
        "texts with texts": (lambda i, t, s: both_ways(clip_logits(t, t, s)), "compared with the texts"),
        "exp overflows": (
            lambda i, t, s: (one_way_by_exp(clip_logits(i, t, s)) + one_way_by_exp(clip_logits(t, i, s))) / 2,
            "scale of 100.*finite.*range of float32",
        ),
        "sum of both": (lambda i, t, s: 2 * both_ways(clip_logits(i, t, s)), "added"),
        "no exp": (lambda i, t, s: both_ways(s * unit(i) @ unit(t).T), "without exp"),
        "divided": (lambda i, t, s: both_ways(unit(i) @ unit(t).T / s.exp()), "divided by the scale"),
        "no scale": (lambda i, t, s: both_ways(unit(i) @ unit(t).T), "log_scale left out"),
        "sum over the batch": (lambda i, t, s: len(i) * both_ways(clip_logits(i, t, s)), "over the batch"),
        "sum over everything": (lambda i, t, s: 2 * len(i) * both_ways(clip_logits(i, t, s)), "both directions"),
        "sign": (lambda i, t, s: -both_ways(clip_logits(i, t, s)), "sign"),
        "target 0": (
            lambda i, t, s: -sum(x.log_softmax(1)[:, 0].mean() for x in (clip_logits(i, t, s), clip_logits(t, i, s))) / 2,
            "column 0",
        ),
        "all pairs": (
            lambda i, t, s: -sum(x.log_softmax(1).mean() for x in (clip_logits(i, t, s), clip_logits(t, i, s))) / 2,
            "all pairs",
        ),
        "softmax twice": (
            lambda i, t, s: (one_way(clip_logits(i, t, s).softmax(1)) + one_way(clip_logits(t, i, s).softmax(1))) / 2,
            "softmax before",
        ),
        "detached": (lambda i, t, s: both_ways(clip_logits(i, t, s)).detach(), "detached"),
        "number": (lambda i, t, s: both_ways(clip_logits(i, t, s)).item(), "gradient"),
        "image detached": (lambda i, t, s: both_ways(clip_logits(i.detach(), t, s)), "image_features"),
        "scale as a number": (lambda i, t, s: both_ways(np.exp(s.item()) * unit(i) @ unit(t).T), "log_scale"),
        "norm detached": (
            lambda i, t, s: both_ways(s.exp() * i / i.norm(dim=1, keepdim=True).detach() @ unit(t).T),
            "gradient to image_features",
        ),
        "not reduced": (
            lambda i, t, s: F.cross_entropy(clip_logits(i, t, s), torch.arange(len(i)), reduction="none"),
            "shape",
        ),
        "clamped scale": (lambda i, t, s: both_ways(clip_logits(i, t, s.clamp(min=0.0))), "log_scale"),
    },
    "recall_at_k": {
        "columns": (columns_topk, "direction"),
        "all columns": (columns_topk_of_all, "direction"),
        "fraction": (lambda s, k: recall_by_loop(s, k) / 100, "fraction"),
        "count": (lambda s, k: recall_by_loop(s, k) * len(s) / 100, "count"),
        "least similar": (lambda s, k: recall_by_loop(-s, k), "least similar"),
        "k + 1": (lambda s, k: recall_by_loop(s, k + 1), r"k \+ 1"),
        "k - 1": (lambda s, k: recall_by_loop(s, k - 1), "k - 1"),
        "k ignored": (lambda s, k: recall_by_loop(s, 1), "k ignored"),
        "square part": (lambda s, k: recall_by_loop(s[:, : len(s)], k), "beyond"),
        "divided by captions": (lambda s, k: recall_by_loop(s, k) * len(s) / s.shape[1], "number of captions"),
        "precision": (lambda s, k: recall_by_loop(s, k) / k, "precision"),
        "misses": (lambda s, k: 100 - recall_by_loop(s, k), "misses"),
        "argsort's diagonal": (
            lambda s, k: 100 * (s.argsort(dim=1, descending=True).diagonal() < k).double().mean(), "not caption n's place",
        ),
        "int": (lambda s, k: int(recall_by_loop(s, k)), "cut to a whole number"),
        "int of the fraction": (lambda s, k: 100 * int(recall_by_loop(s, k) / 100), "fraction cut"),
        "rounded": (lambda s, k: round(recall_by_loop(s, k)), "rounded"),
        "constant": (lambda s, k: 0.0, "a constant"),
        "per image": (lambda s, k: 100.0 * (top(s, k) == torch.arange(len(s))[:, None]).any(1), "shape"),
        "bool": (lambda s, k: recall_by_loop(s, k) > 50, "bool"),
        "string": (lambda s, k: f"{recall_by_loop(s, k)} %", "str"),
        "absolute value": (lambda s, k: recall_by_loop(s.abs(), k), "percentage of images"),
        "threshold at 0": (lambda s, k: 100 * (s.diagonal() > 0).double().mean(), "percentage of images"),
    },
    "zero_shot_classifier": {
        "not before": (lambda f: unit(f.mean(dim=1)), "before the mean"),
        "not after": (lambda f: unit(f).mean(dim=1), "not normalised again"),
        "never": (lambda f: f.mean(dim=1), "nothing normalised"),
        "sum": (lambda f: unit(f).sum(dim=1), "sum over the prompts"),
        "mean over classes": (lambda f: unit(unit(f).mean(dim=0)), "over the classes"),
        "wrong axis p": (lambda f: unit(unit(f, 1).mean(dim=1)), "wrong axis"),
        "wrong axis c": (lambda f: unit(unit(f, 0).mean(dim=1)), "wrong axis"),
        "wrong axis after": (lambda f: unit(unit(f).mean(dim=1), 0), "wrong axis"),
        "first prompt": (lambda f: unit(f[:, 0]), "first prompt"),
        "last prompt": (lambda f: unit(f[:, -1]), "last prompt"),
        "transposed": (lambda f: unit(unit(f).mean(dim=1)).T, "transposed"),
        "not averaged": (lambda f: unit(f), "not averaged"),
        "median": (lambda f: unit(unit(f).median(dim=1).values), "mean of the class"),
        "kept axis": (lambda f: unit(unit(f).mean(dim=1, keepdim=True)), "shape"),
    },
}


# Lesson 04.

def hinge_parts(image, text, margin):
    """Scores and the hinges of wrong sentences and of wrong pictures, `b b`, the diagonal not cleared."""
    scores = image @ text.T
    own = scores.diagonal()
    return scores, (margin + scores - own[:, None]).clamp(min=0), (margin + scores - own[None, :]).clamp(min=0)


def masked_hinges_by(formula):
    """A way that starts from the two tables of hinges and from which pairs count."""
    return lambda image, text, index, m: formula(*hinge_parts(image, text, m)[1:], (index[:, None] != index).to(image))


masked_by_product = masked_hinges_by(lambda texts, images, count: ((texts + images) * count).sum())


def masked_by_loop(image, text, index, margin):
    total = (image.sum() + text.sum()) * 0
    for i in range(len(image)):
        for j in range(len(image)):
            if index[i] != index[j]:
                total = total + F.relu(margin - image[i] @ text[i] + image[i] @ text[j])
                total = total + F.relu(margin - image[i] @ text[i] + image[j] @ text[i])
    return total


def masked_before(image, text, index, margin):
    scores = (image @ text.T).masked_fill(index[:, None] == index, 0)
    own = (image * text).sum(1)
    return sum((margin + scores - x).clamp(min=0).sum() for x in (own[:, None], own))


def max_of_hinges_by(axes):
    def loss(image, text, margin):
        off = 1 - torch.eye(len(image)).to(image)
        return sum((hinge_parts(image, text, margin)[1:][k] * off).amax(axis).sum() for k, axis in axes)

    return loss


both_maxima = max_of_hinges_by(((0, 1), (1, 0)))


def hinge_gradient_of(loss, to=0):
    """The gradient by autograd with respect to the pictures' features, or the sentences'."""

    def student(image, text, margin):
        features = [image.clone().requires_grad_(), text.clone().requires_grad_()]
        return torch.autograd.grad(loss(*features, margin), features[to])[0]

    return student


def hinge_gradient_by_loop(image, text, margin):
    scores, result = image @ text.T, torch.zeros_like(image)
    for way in (scores, scores.T):
        for n, row in enumerate(way):
            others = row.clone()
            others[n] = -9
            j = int(others.argmax())
            if margin - row[n] + row[j] > 0:
                result[n] -= text[n]
                if way is scores:
                    result[n] += text[j]
                else:
                    result[j] += text[n]
    return result


def semi_hard_by_loop(similarity, margin):
    total = similarity.sum() * 0
    for n, row in enumerate(similarity):
        easier = row[row < row[n]]
        if len(easier):
            total = total + F.relu(margin - row[n] + easier.max())
    return total


def semi_hard_by_sorting(similarity, margin):
    own = similarity.diagonal()
    padded = torch.cat([similarity, torch.full_like(own, -99)[:, None]], 1).sort(dim=1).values
    place = (padded < own[:, None]).sum(1, keepdim=True) - 1  # of the next smaller one
    return (margin - own + padded.gather(1, place)[:, 0]).clamp(min=0).sum()


def hinge_of(similarity, margin, kept, reduce=torch.amax):
    filled = similarity.masked_fill(~kept, -torch.inf if reduce is torch.amax else torch.inf)
    hinges = margin - similarity.diagonal() + reduce(filled, 1)
    return torch.where(kept.any(1), hinges.clamp(min=0), 0).sum()


def easier(similarity):
    return similarity < similarity.diagonal()[:, None]


def violation_by_loop(images, texts):
    return torch.stack([torch.stack([F.relu(y - x).pow(2).sum() for y in texts]) for x in images])


def violation_by_halves(images, texts):
    """max(0, z) is (z + |z|) / 2."""
    z = texts - images[:, None]
    return torch.einsum("i t d, i t d -> i t", z + z.abs(), z + z.abs()) / 4


RIGHT |= {
    "masked_hinges": [masked_by_product, masked_by_loop],
    "hardest_gradient": [hinge_gradient_of(both_maxima), hinge_gradient_by_loop],
    "semi_hard_hinges": [semi_hard_by_loop, semi_hard_by_sorting, lambda s, m: hinge_of(s, m, easier(s))],
    "order_violation": [violation_by_loop, violation_by_halves],
}

WRONG |= {
    "masked_hinges": {
        "index ignored": (lambda i, t, index, m: masked_by_product(i, t, torch.arange(len(i)), m), "index ignored"),
        "nothing left out": (masked_hinges_by(lambda texts, images, count: (texts + images).sum()), "nothing left out"),
        "masked before the hinge": (masked_before, "front of the hinge"),
        "mask reversed": (
            masked_hinges_by(lambda texts, images, count: ((texts + images) * (1 - count)).sum()), "wrong way round",
        ),
        "sentences": (masked_hinges_by(lambda texts, images, count: (texts * count).sum()), "only the wrong sentences"),
        "pictures": (masked_hinges_by(lambda texts, images, count: (images * count).sum()), "only the wrong pictures"),
        "hardest": (
            masked_hinges_by(lambda texts, images, count: (texts * count).amax(1).sum() + (images * count).amax(0).sum()),
            "hardest negatives alone",
        ),
        "mean": (lambda i, t, index, m: masked_by_product(i, t, index, m) / len(i), "mean over the batch"),
        "mean over pairs": (lambda i, t, index, m: masked_by_product(i, t, index, m) / len(i) ** 2, "mean over all pairs"),
        "margin subtracted": (lambda i, t, index, m: masked_by_product(i, t, index, -m), "margin subtracted"),
        "exchanged": (lambda i, t, index, m: masked_by_product(-i, t, index, m), "exchanged"),
        "no margin": (lambda i, t, index, m: masked_by_product(i, t, index, 0.0), "sum of the hinges"),
        "detached": (lambda *inputs: masked_by_product(*inputs).detach(), "detached"),
        "own score detached": (
            lambda i, t, index, m: masked_by_product(i, t, index, m) + (x := (i * t).sum()) - x.detach(), "gradient to",
        ),
        "not reduced": (masked_hinges_by(lambda texts, images, count: (texts + images) * count), "shape"),
    },
    "hardest_gradient": {
        "sentences": (hinge_gradient_of(max_of_hinges_by(((0, 1),))), "only the hardest sentences"),
        "pictures": (hinge_gradient_of(max_of_hinges_by(((1, 0),))), "only the hardest pictures"),
        "all": (
            hinge_gradient_of(lambda i, t, m: masked_by_product(i, t, torch.arange(len(i)), m)), "all that break the margin",
        ),
        "no hinge": (lambda i, t, m: hinge_gradient_by_loop(i, t, 5.0), "hinges of 0"),
        "sign": (lambda *inputs: -hinge_gradient_by_loop(*inputs), "wrong sign"),
        "sentences' gradient": (hinge_gradient_of(both_maxima, to=1), "respect to the sentences"),
        "mean": (lambda i, t, m: hinge_gradient_by_loop(i, t, m) / len(i), "mean over the batch"),
        "half": (lambda i, t, m: hinge_gradient_by_loop(i, t, m) / 2, "mean of the two directions"),
        "wrong axes": (hinge_gradient_of(max_of_hinges_by(((0, 0), (1, 1)))), "furthest off"),
        "hardest of all": (hinge_gradient_of(max_of_hinges_by(((0, (0, 1)), (1, (0, 1))))), "furthest off"),
        "diagonal not left out": (hinge_gradient_of(lambda i, t, m: sum(
            x.amax(a).sum() for x, a in zip(hinge_parts(i, t, m)[1:], (1, 0)))), "furthest off"),
        "by the scores": (lambda i, t, m: hinge_gradient_by_loop(i, t, m) @ t.T, "shape"),
    },
    "semi_hard_hinges": {
        "hardest": (lambda s, m: hinge_of(s, m, ~torch.eye(*s.shape, dtype=torch.bool)), "hardest negative of all"),
        "own": (lambda s, m: hinge_of(s, m, s <= s.diagonal()[:, None]), "own sentence among"),
        "easiest": (lambda s, m: hinge_of(s, m, easier(s), torch.amin), "easiest"),
        "harder": (lambda s, m: hinge_of(s, m, s > s.diagonal()[:, None]), "more similar than the own"),
        "all": (lambda s, m: ((m + s - s.diagonal()[:, None]).clamp(min=0) * easier(s)).sum(), "instead of one"),
        "mean": (lambda s, m: semi_hard_by_loop(s, m) / len(s), "mean over"),
        "square part": (lambda s, m: semi_hard_by_loop(s[:, : len(s)], m), "beyond"),
        "columns": (lambda s, m: semi_hard_by_loop(s[:, : len(s)].T, m), "columns"),
        "no hinge": (
            lambda s, m: (m - s.diagonal() + s.masked_fill(~easier(s), -torch.inf).amax(1)).sum(), "no hinge",
        ),
        "margin doubled": (lambda s, m: semi_hard_by_loop(s, 2 * m), "doubled"),
        "detached": (lambda s, m: semi_hard_by_loop(s, m).detach(), "detached"),
        "negative detached": (
            lambda s, m: (m - s.diagonal() + s.detach().masked_fill(~easier(s), -torch.inf).amax(1)).clamp(min=0).sum(),
            "gradient to similarity",
        ),
    },
    "order_violation": {
        "wrong way round": (lambda i, t: violation_by_loop(-i, -t), "wrong way round"),
        "not clamped": (lambda i, t: torch.cdist(i, t).pow(2), "not clamped"),
        "root": (lambda i, t: violation_by_loop(i, t).sqrt(), "root"),
        "not squared": (lambda i, t: F.relu(t - i[:, None]).sum(-1), "not squared"),
        "mean": (lambda i, t: violation_by_loop(i, t) / i.shape[1], "mean over"),
        "largest": (lambda i, t: F.relu(t - i[:, None]).pow(2).amax(-1), "largest dimension"),
        "clamped late": (lambda i, t: F.relu((t - i[:, None]).sum(-1)).pow(2), "after the sum"),
        "transposed": (lambda i, t: violation_by_loop(i, t).T, "shape"),
        "sign": (lambda i, t: -violation_by_loop(i, t), "sign"),
        "not summed": (lambda i, t: F.relu(t - i[:, None]).pow(2), "shape"),
        "cosine": (lambda i, t: unit(i) @ unit(t).T, r"entry \(i, t\)"),
    },
}


# Those of the other lessons: a module each in tests/ways, with a RIGHT and a WRONG of its own.

for path in sorted((Path(__file__).parent / "ways").glob("*.py")):
    spec = importlib.util.spec_from_file_location(f"ways_{path.stem}", path)
    ways = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ways)
    RIGHT |= ways.RIGHT
    WRONG |= ways.WRONG


def test_every_exercise_has_its_right_and_wrong_ways():
    assert set(RIGHT) == set(WRONG) == set(NAMES)
    assert all(len(RIGHT[name]) >= 2 and len(WRONG[name]) >= 4 for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_complete(name):
    one = EXERCISES[name]
    assert name == one.name and one.difficulty in (1, 2, 3) and one.minutes > 0 and re.fullmatch(r"\d\d", one.lesson)
    assert f"{name}(" in one.prompt and len(one.hints) >= 2 and one.fact


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_is_accepted_quickly(name):
    start = time.perf_counter()
    verdict = judge(name, solution(name))
    assert verdict.status == "right", verdict.message
    assert EXERCISES[name].fact in verdict.message
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name, way", [(name, way) for name in NAMES for way in range(len(RIGHT.get(name, [])))])
def test_other_right_ways_are_accepted(name, way):
    verdict = judge(name, RIGHT[name][way])
    assert verdict.status == "right", verdict.message


@pytest.mark.parametrize("name, way", [(name, way) for name in NAMES for way in WRONG.get(name, [])])
def test_wrong_ways_are_refused_and_named(name, way):
    student, word = WRONG[name][way]
    verdict = judge(name, student)
    assert verdict.status == "wrong", verdict.message
    assert re.search(word, verdict.message), verdict.message
    assert re.search(r"case \d+ \(", verdict.message)
    first = next(iter(EXERCISES[name].cases()[0].inputs.items()))
    if "case 1 (" in verdict.message:
        told = f" {' x '.join(map(str, first[1].shape))}" if isinstance(first[1], np.ndarray) else f" = {first[1]:.3g}"
        assert f"{first[0]}{told}" in verdict.message  # the input's shape, or the number that it is
    assert_gives_nothing_away(name, verdict.message)


def assert_gives_nothing_away(name, message):
    one = EXERCISES[name]
    code = [line.split("#")[0].strip() for line in one.solution.strip().splitlines()[1:]]
    assert not [line for line in code if line in message]
    case = one.cases()[(int((re.search(r"case (\d+) \(", message) or "01")[1]) - 1) // 2]  # each runs in two dtypes
    for expected in np.ravel(one.expected(**case.inputs)):
        if abs(expected - round(expected)) > 1e-6:  # 0, 1 and 100 are ordinary words
            assert not re.search(rf"(?<![\d.-]){re.escape(f'{expected:.3g}')}", message), message


def test_wrong_numbers_do_not_bring_the_right_ones_along():
    for value in (0.0, 1.0, -3.25):
        assert_gives_nothing_away("contrastive_loss", judge("contrastive_loss", lambda i, t, s: s * 0 + value).message)
        assert_gives_nothing_away("recall_at_k", judge("recall_at_k", lambda s, k: value).message)


@pytest.mark.parametrize("name", NAMES)
def test_every_known_slip_is_refused_and_recognised(name):
    """Fed as an answer, each slip's own formula must come back with its own words."""
    one = EXERCISES[name]
    for words, formula in one.slips:
        results = []  # of the cases in which the slip shows
        for case in one.cases():
            with np.errstate(all="ignore"):
                came = np.asarray(formula(**case.inputs))
            if not _judge._close(came, np.asarray(one.expected(**case.inputs)), torch.float64):
                results.append((case.inputs, came, torch.float64))
        assert results, f"shows in no case: {words}"
        assert _judge._slip(one, results) == words


@pytest.mark.parametrize("name", NAMES)
def test_cases_are_telling(name):
    cases = EXERCISES[name].cases()
    for case in cases[:2]:
        shape = np.shape(next(iter(case.inputs.values())))
        if name == "rollout":  # tokens look at tokens: its matrices are square
            shape = shape[:-1]
        assert len(set(shape)) == len(shape)  # no size twice: a swapped axis shows
    again = EXERCISES[name].cases()
    assert all(np.array_equal(x, y) for a, b in zip(cases, again) for x, y in zip(a.inputs.values(), b.inputs.values()))


def test_expected_values_of_the_loss_do_what_the_paper_says():
    one = EXERCISES["contrastive_loss"]
    values = [float(one.expected(**case.inputs)) for case in one.cases()]
    assert values[4] == pytest.approx(values[0])  # the order of the batch
    assert values[5] == pytest.approx(values[0])  # the modalities swapped
    assert values[6] == pytest.approx(values[0])  # longer features
    assert values[7] == pytest.approx(np.log(6))  # chance


# Functions that are not filled in, or that misbehave, for every exercise.

def not_filled(*inputs):
    raise NotImplementedError


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("student", [not_filled, lambda *_: None, lambda *_: ..., lambda *_: NotImplemented])
def test_unfilled_is_not_yet(name, student):
    verdict = judge(name, student)
    assert verdict.status == "not yet" and "not yet" in verdict.message
    assert_gives_nothing_away(name, verdict.message)


def helper_that_fails(tensor):
    return tensor.reshape(999, 999)


@pytest.mark.parametrize("name", NAMES)
def test_an_exception_is_told_with_its_line(name):
    def student(first, *rest):
        return torch.exp(helper_that_fails(torch.as_tensor(first)))

    verdict = judge(name, student)
    assert verdict.status == "error"
    assert "RuntimeError" in verdict.message and "return tensor.reshape(999, 999)" in verdict.message
    assert "Traceback" not in verdict.message and len(verdict.message) < 500


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


def raising(problem):
    def student(*_):
        raise problem

    return student


@pytest.mark.parametrize("problem", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Unprintable(), MemoryError()])
def test_whatever_is_raised_stays_inside(problem):
    verdict = judge("unit_length", raising(problem))
    assert verdict.status == "error" and type(problem).__name__ in verdict.message


@pytest.mark.parametrize("leave", [sys.exit, exit, quit, os._exit])
def test_leaving_python_stays_inside(leave):
    name = leave.name if hasattr(leave, "name") else leave.__name__  # looked up when called, as a reader's code does

    def student(*_):
        {"exit": lambda: exit(), "quit": lambda: quit(), "_exit": lambda: os._exit(1)}.get(name, sys.exit)()

    def direct(*_):
        sys.exit(1)

    verdict = judge("unit_length", direct if leave is sys.exit else student)
    assert verdict.status == "error" and "end the program" in verdict.message
    assert not sys.stdin.closed


def test_endless_recursion_is_told():
    def student(features):
        return student(features)

    assert "RecursionError" in judge("unit_length", student).message


def loop(*_):
    while True:
        pass


def loop_that_swallows(*_):
    while True:
        try:
            sum(range(100))
        except:  # noqa: E722
            pass


@pytest.mark.parametrize("student", [
    loop,
    pytest.param(loop_that_swallows, marks=pytest.mark.skipif(
        sys.version_info < (3, 11), reason="Python 3.10 takes no exception between the end of a try and its next round"
    )),
])
def test_an_endless_loop_is_stopped(student, monkeypatch):
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.3)
    before = threading.active_count()
    verdict = judge("recall_at_k", student)
    assert verdict.status == "error" and "loop" in verdict.message
    assert threading.active_count() == before


def test_the_time_limit_holds_for_all_cases_together(monkeypatch):
    assert _judge.TIME_LIMIT < 4.5  # a check takes under 5 s, half a second of them to stop the function
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.5)
    verdict = judge("unit_length", lambda features: time.sleep(0.1) or unit_by_loop(features))
    assert verdict.status == "error" and "did not end" in verdict.message


def test_what_cannot_be_stopped_is_left_behind(monkeypatch):
    monkeypatch.setattr(_judge, "TIME_LIMIT", 0.2)
    start = time.perf_counter()
    verdict = judge("unit_length", lambda features: time.sleep(2.0))
    assert verdict.status == "error" and "restart the kernel" in verdict.message
    assert time.perf_counter() - start < 1.8


@pytest.mark.parametrize("name", TENSORS)
def test_changing_an_input_is_named(name):
    right = RIGHT[name][0]

    def student(first, *rest):
        result = right(first, *rest)
        first.zero_()
        return result

    def in_transposed(first, *rest):
        result = right(first, *rest)
        first.t_() if first.ndim == 2 else first.transpose_(0, 1)
        return result

    for way in (student, in_transposed):
        verdict = judge(name, way)
        assert verdict.status == "wrong" and "in place" in verdict.message
        assert next(iter(EXERCISES[name].cases()[0].inputs)) in verdict.message


def test_division_in_place_is_named_even_when_the_result_is_right():
    def student(features):
        features /= features.norm(dim=1, keepdim=True)
        return features

    assert "in place" in judge("unit_length", student).message


@pytest.mark.parametrize("name", NAMES)
def test_constants_and_inputs_are_refused(name):
    right = EXERCISES[name].cases()[0]
    constant = torch.tensor(EXERCISES[name].expected(**right.inputs))
    for student in (
        lambda *inputs: constant,  # right for the first case
        lambda *inputs: constant.to(torch.as_tensor(inputs[0]).dtype),
        lambda *inputs: 0.0,
        lambda *inputs: torch.zeros_like(constant),
        lambda *inputs: torch.tensor(0.0),
        lambda *inputs: inputs[-1],
        lambda *inputs: inputs,
    ):
        assert judge(name, student).status == "wrong"
    verdict = judge(name, lambda *inputs: inputs[0])
    assert verdict.status == "wrong" and "handed back" in verdict.message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change, word", [
    (lambda x: x.detach().numpy() if x.ndim else [x.item()], "numpy array|a list"),
    (lambda x: x.tolist() if x.ndim else (x,), "a list|a tuple"),
    (lambda x: x[None], "shape"),
    (lambda x: x * torch.nan, "NaN"),
    (lambda x: x / 0, "infinity|NaN"),
    (lambda x: x.to(torch.complex64), "dtype|complex"),
    (lambda x: (y for y in [x]), "generator"),
    (lambda x: x.to("meta"), "meta"),
])
def test_the_wrong_kind_of_result_is_named(name, change, word):
    verdict = judge(name, lambda *inputs: change(torch.as_tensor(solution(name)(*inputs))))
    assert verdict.status == "wrong" and re.search(word, verdict.message), verdict.message
    assert "a constant" not in verdict.message  # NaN everywhere is not one


@pytest.mark.parametrize("name", ["unit_length", "contrastive_loss", "zero_shot_classifier"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_the_wrong_dtype_is_named(name, dtype):
    verdict = judge(name, lambda *inputs: solution(name)(*inputs).to(dtype))
    assert verdict.status == "wrong" and "dtype" in verdict.message and str(dtype)[6:] in verdict.message


def from_the_library(features):
    return furthest_row(features.numpy(), features.numpy())


def helper_from_the_library(features):
    return from_the_library(features)


def imports_from_the_library(features):
    from minimm.exercises._exercise import lengths_in_words

    return lengths_in_words(features)


def through_the_package(features):
    return minimm.exercises._exercise.lengths_in_words(features)


def imports_the_package(features):
    import minimm as m

    return m.objectives.contrastive.unit_length(features)


def imports_a_part(features):
    from minimm import objectives

    return objectives.contrastive.unit_length(features)


def imports_by_name(features):
    return importlib.import_module("minimm.objectives.contrastive").unit_length(features)


def among_the_modules(features):
    return sys.modules["minimm.objectives.contrastive"].unit_length(features)


def by_the_expected_values(features):
    return torch.from_numpy(EXERCISES["unit_length"].expected(features.numpy()))


def in_a_closure():
    function = contrastive.unit_length
    return lambda features: function(features)


class Holder:
    function = staticmethod(contrastive.unit_length)

    def __call__(self, features):
        return self.function(features)

    def method(self, features):
        return self.function(features)


TABLE = {"list": [contrastive.unit_length], "partial": functools.partial(contrastive.unit_length)}


@pytest.mark.parametrize("student", [
    imports_the_package, imports_a_part, imports_by_name, among_the_modules, by_the_expected_values, in_a_closure(),
    Holder(), Holder().method, functools.partial(lambda function, x: function(x), contrastive.unit_length),
    functools.partial(contrastive.unit_length), torch.no_grad()(contrastive.unit_length), contrastive.unit_length,
    lambda features, function=contrastive.unit_length: function(features),
    lambda features: TABLE["list"][0](features), lambda features: TABLE["partial"](features),
    lambda features: eval("contrastive.unit_length(features)", {**globals(), "features": features}),
    lambda features: contrastive.unit_length(features) / 0,
])
def test_the_library_is_found_behind_whatever_it_is_reached_through(student):
    verdict = judge("unit_length", student)
    assert verdict.status == "wrong" and "minimm" in verdict.message and "Write" in verdict.message


def test_the_readers_own_helpers_are_no_library():
    import einops

    helpers = {"length": lambda row: math.sqrt(einops.reduce(row.double() ** 2, "d -> ", "sum"))}

    def student(features, helper=helpers["length"]):
        minimm.device(), print("in between")
        return torch.stack([row / np.float64(helper(row)) for row in features]).to(features.dtype)

    assert judge("unit_length", student).status == "right"


def test_the_judge_leaves_the_readers_profiler_alone():
    def profile(*_):
        pass

    sys.setprofile(profile)
    try:
        assert judge("unit_length", unit_by_loop).status == "right"
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("student", [
    furthest_row, functools.partial(furthest_row), from_the_library, helper_from_the_library,
    imports_from_the_library, through_the_package, lambda features: lengths_in_words(features),
    F.normalize, torch.softmax, nn.Softmax(dim=1), torch.Tensor, len, np.linalg.norm,
])
def test_the_librarys_own_functions_are_refused(student):
    verdict = judge("unit_length", student)
    assert verdict.status == "wrong" and "Write" in verdict.message


def test_the_librarys_own_loss_is_refused():
    ours = [x for x in vars(contrastive).values() if callable(x) and getattr(x, "__module__", "") == contrastive.__name__]
    assert ours
    for function in ours:
        assert "minimm" in judge("contrastive_loss", function).message


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_function(name):
    missing = judge(name)
    assert missing.status == "error" and f"check.{name}({name})" in missing.message
    for thing in (None, 3, torch.zeros(3), "text"):
        verdict = judge(name, thing)
        assert verdict.status == "error" and "without calling it" in verdict.message
    arity = judge(name, lambda: 1)
    assert arity.status == "error" and "TypeError" in arity.message


def test_a_module_or_a_method_is_judged_as_well():
    class Unit(nn.Module):
        def forward(self, features):
            return unit_by_loop(features)

    assert judge("unit_length", Unit()).status == "right"
    assert judge("unit_length", Unit().forward).status == "right"


def norm_over(features, dim):
    return features / features.norm(dim=dim, keepdim=True)


@torch.no_grad()
def without_gradient(features):
    return norm_over(features, 1)


@functools.wraps(F.normalize)
def under_another_name(features):
    return norm_over(features, 1)


@pytest.mark.parametrize("student", [
    functools.partial(norm_over, dim=1), functools.partial(functools.partial(norm_over), dim=1), without_gradient,
    under_another_name, torch.inference_mode()(without_gradient), torch.compile(unit_by_columns, backend="eager"),
])
def test_a_partial_or_decorated_function_is_judged_as_it_is(student, monkeypatch):
    monkeypatch.setattr(_judge, "TIME_LIMIT", 60)  # torch.compile takes its time
    verdict = judge("unit_length", student)
    assert verdict.status == "right", verdict.message


def test_an_exception_in_a_decorated_function_is_told_with_its_line():
    verdict = judge("unit_length", torch.no_grad()(helper_that_fails))
    assert "return tensor.reshape(999, 999)" in verdict.message


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_readers_gradient_mode_does_not_matter(mode):
    with mode():
        assert judge("contrastive_loss", loss_by_einsum).status == "right"


def test_random_state_is_left_alone():
    def student(features):
        torch.manual_seed(1), np.random.seed(1), random.seed(1)
        return unit_by_loop(features)

    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    expected = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    assert judge("unit_length", student).status == "right"
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1]) and random.random() == expected[2]


def test_the_default_dtype_is_left_alone():
    def student(features):
        torch.set_default_dtype(torch.float64)
        return unit_by_loop(features)

    before = torch.get_default_dtype()
    try:
        assert judge("unit_length", student).status == "right"
        assert torch.get_default_dtype() == before
    finally:
        torch.set_default_dtype(before)


def test_what_a_function_prints_is_kept_short(capsys):
    def student(features):
        for _ in range(10_000):
            print("here I am")
        return features * 2

    check.unit_length(student)
    shown = capsys.readouterr().out
    assert "here I am" in shown and len(shown) < 1_000


# The public face.

def test_check_lists_the_exercises_and_nothing_else():
    assert dir(check) == sorted(NAMES)
    assert all(callable(getattr(check, name)) for name in NAMES)
    assert check.unit_length.__doc__ == EXERCISES["unit_length"].prompt
    with pytest.raises(AttributeError, match="unit_length"):
        check.unit_lenght
    with pytest.raises(AttributeError, match="contrastive_loss"):
        check.zzz


def test_check_prints_its_verdict(capsys):
    assert check.unit_length(unit_by_loop) is None
    assert capsys.readouterr().out.startswith("unit_length: right")
    check.unit_length()
    assert "check.unit_length(unit_length)" in capsys.readouterr().out


def test_hints_come_one_after_another(capsys, monkeypatch):
    monkeypatch.setattr(minimm.exercises, "_hints_shown", {})
    hints = EXERCISES["unit_length"].hints
    for text in hints:
        hint("unit_length")
        assert text in capsys.readouterr().out
    hint("unit_length")
    assert "show_solution" in capsys.readouterr().out
    hint("unit_length")
    assert hints[0] in capsys.readouterr().out


@pytest.mark.parametrize("show", [hint, show_solution])
def test_unknown_names(show):
    with pytest.raises(ValueError, match="recall_at_k"):
        show("recall_at_5")
    with pytest.raises(TypeError, match="name"):
        show(unit_by_loop)


def test_a_solution_is_shown_and_not_defined(capsys):
    before = set(globals())
    assert show_solution("recall_at_k") is None
    assert capsys.readouterr().out.strip() == EXERCISES["recall_at_k"].solution.strip()
    assert set(globals()) == before


def test_nothing_but_the_tests_runs_a_solution(monkeypatch):
    """With every solution replaced by nonsense, the verdicts stay as they are."""
    for name in NAMES:
        broken = object.__new__(type(EXERCISES[name]))
        broken.__dict__.update(EXERCISES[name].__dict__, solution="raise SystemExit")
        monkeypatch.setitem(EXERCISES, name, broken)
        assert judge(name, RIGHT[name][0]).status == "right"
        assert judge(name, lambda *_: None).status == "not yet"
