"""Right and wrong ways to do the exercises of lesson 08."""

import torch
import torch.nn.functional as F


def queue_by_loop(queue, keys, pointer, forget=0):
    new = queue.clone()
    for n, key in enumerate(keys[: len(keys) - forget]):
        new[:, (pointer + n) % new.shape[1]] = key
    return new


def queue_by_turning(queue, keys, pointer):
    ahead = queue.roll(-pointer, dims=1)
    return torch.cat((keys.mT, ahead[:, len(keys):]), dim=1).roll(pointer, dims=1)


def queue_cut(queue, keys, pointer):
    new, room = queue.clone(), queue.shape[1] - pointer
    new[:, pointer : pointer + len(keys)] = keys[:room].T
    return new


def queue_in_place(queue, keys, pointer):
    queue[:, (pointer + torch.arange(len(keys))) % queue.shape[1]] = keys.T
    return queue


def loss_by_parts(features, keys, queue, temperature):
    logits = torch.cat((features @ keys.T, features @ queue), dim=1) / temperature
    return -logits.log_softmax(-1).diagonal().mean()


def loss_by_logsumexp(features, keys, queue, temperature):
    all_keys = torch.vstack((queue.T, keys))
    logits = torch.einsum("b d, n d -> b n", features, all_keys) / temperature
    own = torch.einsum("b d, b d -> b", features, keys) / temperature
    return (logits.logsumexp(1) - own).sum() / len(features)


def loss_of(features, candidates, temperature, target=None, reduction="mean"):
    targets = torch.arange(len(features)) if target is None else torch.full((len(features),), target)
    return F.cross_entropy(features @ candidates / temperature, targets, reduction=reduction)


def weights_by_loop(cosines, of_text, of_image, temperature):
    rows = torch.zeros_like(cosines)
    for n in range(len(of_text)):
        others = of_image != of_text[n]
        rows[n, others] = F.softmax(cosines[n, others] / temperature, dim=0)
    return rows


def weights_by_hand(cosines, of_text, of_image, temperature):
    others = (of_text.view(-1, 1) != of_image.view(1, -1)).to(cosines.dtype)
    logits = cosines / temperature - 1e9 * (1 - others)
    weights = (logits - logits.amax(1, keepdim=True)).exp() * others
    return weights / weights.sum(1, keepdim=True)


def zeros_afterwards(cosines, of_text, of_image, temperature, again=True):
    weights = (cosines / temperature).softmax(1).masked_fill(of_text[:, None] == of_image, 0)
    return weights / weights.sum(1, keepdim=True) if again else weights


def masked(cosines, of_text, of_image, temperature, value=float("-inf"), dim=1):
    return (cosines / temperature).masked_fill(of_text[:, None] == of_image, value).softmax(dim)


def scores_by_loop(first, second, k):
    scores = torch.full(first.shape, -100.0, dtype=first.dtype)
    for row, (one, two) in enumerate(zip(first, second)):
        for column in one.argsort(descending=True)[:k]:
            scores[row, column] = two[column]
    return scores


def scores_by_threshold(first, second, k, otherwise=-100):
    chosen = first >= first.topk(k, dim=-1).values[:, -1:]
    return torch.where(chosen, second, otherwise)


RIGHT = {
    "enqueue": [queue_by_loop, queue_by_turning],
    "queue_loss": [loss_by_parts, loss_by_logsumexp],
    "negative_weights": [weights_by_loop, weights_by_hand],
    "rerank_top_k": [scores_by_loop, scores_by_threshold],
}

WRONG = {
    "enqueue": {
        "cut": (queue_cut, "goes on with column 0"),
        "in place": (queue_in_place, "in place"),
        "from the start": (lambda q, x, p: queue_by_loop(q, x, 0), "stands at the pointer"),
        "one behind": (lambda q, x, p: queue_by_loop(q, x, p + 1), "the first one"),
        "shifted": (lambda q, x, p: torch.cat([q[:, len(x):], x.T], 1), "queue shifted"),
        "in front": (lambda q, x, p: torch.cat([x.T, q[:, :-len(x)]], 1), "in front"),
        "reverse": (lambda q, x, p: queue_by_loop(q, x.flip(0), p), "reverse order"),
        "reshaped": (lambda q, x, p: queue_by_loop(q, x.reshape(len(q), -1).T, p), "transpose"),
        "one key forgotten": (lambda q, x, p: queue_by_loop(q, x, p, 1), "^"),
        "longer": (lambda q, x, p: torch.cat([q, x.T], 1), "shape"),
        "added": (lambda q, x, p: q + queue_by_loop(0 * q, x, p), "overwrites"),
        "rows": (lambda q, x, p: queue_by_loop(q, x, p).T, "shape"),
    },
    "queue_loss": {
        "no queue": (lambda f, x, q, t: loss_of(f, x.T, t), "queue left out"),
        "as MoCo": (
            lambda f, x, q, t: F.cross_entropy(
                torch.cat([(f * x).sum(1, keepdim=True), f @ q], 1) / t, torch.zeros(len(f), dtype=torch.int64)),
            "MoCo",
        ),
        "queue in front": (lambda f, x, q, t: loss_of(f, torch.cat([q, x.T], 1), t), "queue in front"),
        "multiplied": (lambda f, x, q, t: loss_of(f, torch.cat([x.T, q], 1), 1 / t), "divided by"),
        "no temperature": (lambda f, x, q, t: loss_of(f, torch.cat([x.T, q], 1), 1 + 0 * t), "temperature left out"),
        "first key": (lambda f, x, q, t: loss_of(f, torch.cat([x.T, q], 1), t, 0), "first key"),
        "summed": (lambda f, x, q, t: loss_of(f, torch.cat([x.T, q], 1), t, reduction="sum"), "sum over the batch"),
        "each": (lambda f, x, q, t: loss_of(f, torch.cat([x.T, q], 1), t, reduction="none"), "shape"),
        "positive": (lambda f, x, q, t: -loss_by_parts(f, x, q, t), "wrong sign"),
        "twice": (lambda f, x, q, t: loss_of(f, torch.cat([x.T, q, x.T], 1), t), "twice"),
        "detached": (lambda f, x, q, t: loss_by_parts(f.detach(), x, q, t), "detached|gradient"),
        "number": (lambda f, x, q, t: loss_by_parts(f, x, q, t.item()), "gradient|detached"),
        "exp by hand": (
            lambda f, x, q, t: ((f @ torch.cat([x.T, q], 1) / t).exp().sum(1).log() - (f * x).sum(1) / t).mean(),
            "finite",
        ),
    },
    "negative_weights": {
        "zeros afterwards": (zeros_afterwards, "finite"),
        "not divided": (lambda c, a, b, t: zeros_afterwards(c, a, b, t, again=False), "what is left"),
        "all": (lambda c, a, b, t: (c / t).softmax(1), "no negative"),
        "diagonal only": (
            lambda c, a, b, t: weights_by_loop(c, torch.arange(len(a)), torch.arange(len(b)), t), "no negative either",
        ),
        "columns": (lambda c, a, b, t: masked(c, a, b, t, dim=0), "along the columns|finite"),
        "multiplied": (lambda c, a, b, t: weights_by_loop(c, a, b, 1 / t), "multiplied"),
        "no temperature": (lambda c, a, b, t: weights_by_loop(c, a, b, 1), "temperature left out"),
        "easiest": (lambda c, a, b, t: weights_by_loop(-c, a, b, t), "least similar"),
        "zero logits": (lambda c, a, b, t: masked(c, a, b, t, value=0), "minus infinity"),
        "uniform": (lambda c, a, b, t: weights_by_loop(0 * c, a, b, t), "all others alike"),
        "hardest": (lambda c, a, b, t: weights_by_loop(c, a, b, 1e-9), "only the hardest"),
        "half precision": (
            lambda c, a, b, t: weights_by_loop(c.bfloat16(), a, b, t).to(c), "precision|difference|finite",
        ),
        "transposed": (lambda c, a, b, t: weights_by_loop(c, a, b, t).T, "shape"),
    },
    "rerank_top_k": {
        "first only": (lambda a, b, k: scores_by_loop(a, a, k), "second stage left out"),
        "second only": (lambda a, b, k: b, "Only k of them"),
        "swapped": (lambda a, b, k: scores_by_loop(b, a, k), "swapped"),
        "second chooses": (lambda a, b, k: scores_by_loop(b, b, k), "first one chooses"),
        "worst": (lambda a, b, k: scores_by_loop(-a, b, k), "k worst"),
        "others by the first": (lambda a, b, k: scores_by_threshold(a, b, k, a), "no logit"),
        "zeros": (lambda a, b, k: scores_by_threshold(a, b, k, 0), "below 0"),
        "infinity": (lambda a, b, k: scores_by_threshold(a, b, k, float("-inf")), "finite"),
        "summed": (lambda a, b, k: scores_by_loop(a, a + b, k), "sum of both"),
        "only k": (lambda a, b, k: b.gather(1, a.topk(k).indices), "shape"),
        "columns": (lambda a, b, k: scores_by_loop(a.T, b.T, k).T, "best queries"),
        "whole table": (
            lambda a, b, k: torch.where(a >= a.flatten().topk(k).values[-1], b, -100), "whole table",
        ),
        "one more": (lambda a, b, k: scores_by_loop(a, b, k + 1), r"k \+ 1"),
        "in front": (
            lambda a, b, k: F.pad(b.gather(1, a.topk(k).indices), (0, a.shape[1] - k), value=-100),
            "where their candidates",
        ),
    },
}
