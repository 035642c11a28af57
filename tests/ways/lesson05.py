"""Right and wrong ways to do the exercises of lesson 05."""

import numpy as np
import torch
import torch.nn.functional as F


def unit(x, dim=-1):
    return F.normalize(x, dim=dim)


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


def ends_by_loop(states, ids, eot_id):
    return torch.stack([states[n, row.tolist().index(eot_id)] for n, row in enumerate(ids)])


def ends_by_mask(states, ids, eot_id):
    end = ids == eot_id
    return (states * (end & (end.cumsum(1) == 1))[..., None]).sum(1)


def ends_by_gather(states, ids, eot_id):
    at = (ids != eot_id).int().cumprod(1).sum(1)  # tokens in front of the first end
    return states.gather(1, at[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]


def state_at(place):
    """A way that reads the states at a place worked out from the ids and from where they end."""
    return lambda states, ids, eot_id: states[torch.arange(len(ids)), place(ids, (ids == eot_id).int().argmax(1), eot_id)]


def mean_of_classes(images, classes, labels):
    predicted = F.cosine_similarity(images[:, None], classes[None], dim=-1).argmax(1)
    shares = [np.mean([p == c for p, l in zip(predicted.tolist(), labels.tolist()) if l == c]) for c in set(labels.tolist())]
    return 100 * float(np.mean(shares))


def mean_by_counting(images, classes, labels, predict=None):
    predicted = (images @ unit(classes).T if predict is None else predict(images, classes)).argmax(1)
    seen = torch.bincount(labels, minlength=len(classes))
    hits = torch.bincount(labels[predicted == labels], minlength=len(classes))
    return 100 * (hits[seen > 0] / seen[seen > 0]).mean()


def confusion(images, classes, labels):
    table = torch.zeros(len(classes), len(classes), dtype=torch.float64)
    table.index_put_((labels, (images @ unit(classes).T).argmax(1)), torch.ones(len(labels), dtype=table.dtype), accumulate=True)
    return table


def predicting(predict):
    return lambda images, classes, labels: mean_by_counting(images, classes, labels, predict)


RIGHT = {
    "end_of_text": [ends_by_loop, ends_by_mask, ends_by_gather],
    "zero_shot_accuracy": [mean_of_classes, mean_by_counting,
                           lambda i, c, l: mean_by_counting(unit(i), c, l).double()],
    "contrastive_loss": [loss_by_einsum, loss_by_loop_in_float64, lambda i, t, s: both_ways(clip_logits(i, t, s))],
    "zero_shot_classifier": [classifier_by_loop, classifier_by_einsum, lambda f: unit(unit(f).sum(dim=1))],
}

WRONG = {
    "end_of_text": {
        "last place": (lambda s, i, e: s[:, -1], "last place"),
        "first token": (lambda s, i, e: s[:, 0], "first token"),
        "highest id": (state_at(lambda ids, first, e: ids.argmax(1)), "highest id"),
        "last end": (
            state_at(lambda ids, first, e: ids.shape[1] - 1 - (ids == e).flip(1).int().argmax(1)), "last end-of-text",
        ),
        "in front": (state_at(lambda ids, first, e: first - 1), "in front of the end"),
        "behind": (state_at(lambda ids, first, e: (first + 1).clamp(max=ids.shape[1] - 1)), "one place too far"),
        "all like the first": (state_at(lambda ids, first, e: first[0].expand(len(ids))), "first text's end"),
        "mean": (lambda s, i, e: s.mean(1), "whole row"),
        "all ends": (lambda s, i, e: (s * (i == e)[..., None]).sum(1), "added up"),
        "mean of the words": (
            lambda s, i, e: torch.stack([x[: r.tolist().index(e)].mean(0) for x, r in zip(s, i)]), "without the end",
        ),
        "mean up to the end": (
            lambda s, i, e: torch.stack([x[: r.tolist().index(e) + 1].mean(0) for x, r in zip(s, i)]), "up to the end",
        ),
        "normalised": (lambda s, i, e: unit(ends_by_loop(s, i, e)), "something else"),
        "all places": (lambda s, i, e: s[:, (i == e).int().argmax(1)], "shape"),
        "rows reversed": (lambda s, i, e: ends_by_loop(s, i, e).flip(0), "something else|single|first text"),
    },
    "zero_shot_accuracy": {
        "all pictures": (lambda i, c, l: 100 * ((i @ unit(c).T).argmax(1) == l).double().mean(), "all pictures"),
        "not normalised": (predicting(lambda i, c: i @ c.T), "features not normalised"),
        "pictures only": (predicting(lambda i, c: unit(i) @ c.T), "features not normalised"),
        "wrong axis": (predicting(lambda i, c: i @ unit(c, 0).T), "wrong axis"),
        "squared": (predicting(lambda i, c: i @ (c / c.pow(2).sum(1, keepdim=True)).T), "twice"),
        "least similar": (predicting(lambda i, c: -i @ unit(c).T), "least similar"),
        "fraction": (lambda i, c, l: mean_by_counting(i, c, l) / 100, "fraction"),
        "empty classes": (lambda i, c, l: mean_by_counting(i, c, l) * len(l.unique()) / len(c), "counted as 0"),
        "sum": (lambda i, c, l: mean_by_counting(i, c, l) * len(l.unique()), "sum over the classes|between 0 and 100"),
        "misses": (lambda i, c, l: 100 - mean_by_counting(i, c, l), "misses"),
        "precision": (
            lambda i, c, l: 100 * ((t := confusion(i, c, l)).diagonal() / t.sum(0))[t.sum(0) > 0].mean(), "precision",
        ),
        "count": (lambda i, c, l: confusion(i, c, l).diagonal().sum(), "count of pictures"),
        "median": (
            lambda i, c, l: 100 * (t := confusion(i, c, l)[l.unique()]).gather(1, l.unique()[:, None])[:, 0].div(
                t.sum(1)).quantile(0.5), "median",
        ),
        "distance": (predicting(lambda i, c: -torch.cdist(i, c)), "percentage"),
        "per class": (lambda i, c, l: 100 * confusion(i, c, l).diagonal() / torch.bincount(l, minlength=len(c)), "shape"),
        "rounded": (lambda i, c, l: mean_by_counting(i, c, l).round(), "percentage"),
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
