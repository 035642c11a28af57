"""Right and wrong ways to do the exercises of lesson 07."""

import math

import torch
import torch.nn.functional as F


def patches_by_unfold(images, weight, bias):
    columns = F.unfold(images, weight.shape[-1], stride=weight.shape[-1])  # b (c p p) n
    return columns.mT @ weight.flatten(1).T + bias


def patches_by_loop(images, weight, bias):
    p = weight.shape[-1]
    pieces = [images[:, :, y : y + p, x : x + p].flatten(1)
              for y in range(0, images.shape[2], p) for x in range(0, images.shape[3], p)]
    return torch.stack([F.linear(piece, weight.flatten(1), bias) for piece in pieces], dim=1)


def conv_rows(images, weight, bias):
    return F.conv2d(images, weight, bias, stride=weight.shape[-1])


def words_by_loop(chosen, continues, special):
    hidden = torch.zeros_like(chosen)
    for row in range(len(chosen)):
        word = []
        for at in range(chosen.shape[1]):
            if special[row, at]:
                word = []
            else:
                word = [*word, at] if continues[row, at] else [at]
                if chosen[row, word].any():
                    hidden[row, word] = 1
    return hidden


def words_by_scatter(chosen, continues, special):
    numbers = (continues == 0).long().cumsum(1)
    hit = torch.zeros(len(chosen), numbers.max() + 1, dtype=chosen.dtype).scatter_add(1, numbers, chosen)
    return hit.gather(1, numbers).clamp(max=1) * (1 - special)


def spread(chosen, continues, special, forwards):
    hidden = chosen.clone()
    for at in range(1, chosen.shape[1]) if forwards else range(chosen.shape[1] - 1, 0, -1):
        to, from_ = (at, at - 1) if forwards else (at - 1, at)
        hidden[:, to] = torch.maximum(hidden[:, to], hidden[:, from_] * continues[:, at])
    return hidden * (1 - special)


def plan_by_loop(cost, beta, iterations, sign=-1, feed=True, swap=False, old=False):
    m, n = cost.shape
    a, b = (n, m) if swap else (m, n)
    kernel = (sign * cost / beta).exp()
    plan, sigma, delta = torch.ones_like(cost), torch.full_like(cost[:, 0], 1 / m), torch.full_like(cost[0], 1 / n)
    for _ in range(iterations):
        q = kernel * plan if feed else kernel
        new = 1 / (b * torch.einsum("m n, m -> n", q, sigma))
        sigma = 1 / (a * torch.einsum("m n, n -> m", q, delta if old else new))
        delta = new
        plan = torch.einsum("m, m n, n -> m n", sigma, q, delta)
    return plan


def plan_in_logarithms(cost, beta, iterations):
    log_plan, log_sigma = torch.zeros_like(cost), torch.full_like(cost[:, 0], -math.log(len(cost)))
    for _ in range(iterations):
        q = log_plan - cost / beta
        log_delta = -math.log(cost.shape[1]) - (q + log_sigma[:, None]).logsumexp(0)
        log_sigma = -math.log(len(cost)) - (q + log_delta).logsumexp(1)
        log_plan = log_sigma[:, None] + q + log_delta
    return log_plan.exp()


def pair_by_parts(words, patches, class_token, positions, modality):
    first = (class_token + positions[0] + modality[1]).repeat(len(words), 1, 1)
    return torch.cat((words + modality[:1], first, patches + positions[1:] + modality[1:]), 1)


def pair_by_filling(words, patches, class_token, positions, modality):
    l = words.shape[1]
    x = words.new_zeros(len(words), l + len(positions), words.shape[2])
    x[:, :l], x[:, l], x[:, l + 1 :] = words, class_token, patches
    x[:, l:] += positions
    return x + modality[(torch.arange(x.shape[1]) >= l).long()]


def pair_without(part):
    def student(words, patches, class_token, positions, modality):
        given = {"class_token": class_token, "positions": positions, "modality": modality}
        given[part] = torch.zeros_like(given[part])
        return pair_by_parts(words, patches, **given)

    return student


RIGHT = {
    "project_patches": [patches_by_unfold, patches_by_loop],
    "whole_words": [words_by_loop, words_by_scatter],
    "transport_plan": [plan_by_loop, plan_in_logarithms],
    "embed_pair": [pair_by_parts, pair_by_filling],
}

WRONG = {
    "project_patches": {
        "no bias": (lambda x, w, b: patches_by_unfold(x, w, 0 * b), "bias left out"),
        "by columns": (lambda x, w, b: conv_rows(x, w, b).mT.flatten(2).mT, "row by row"),
        "a bare reshape": (
            lambda x, w, b: x.reshape(len(x), -1, w[0].numel()) @ w.flatten(1).T + b, "bare reshape",
        ),
        "rows and columns": (lambda x, w, b: patches_by_unfold(x, w.mT, b), "swapped within"),
        "flipped": (lambda x, w, b: patches_by_unfold(x, w.flip(-1, -2), b), "turned around"),
        "channels last": (lambda x, w, b: patches_by_loop(x, w.permute(0, 2, 3, 1).reshape(w.shape), b), "^"),
        "reshaped weight": (
            lambda x, w, b: F.unfold(x, w.shape[-1], stride=w.shape[-1]).mT @ w.reshape(-1, len(w)) + b, "transposed",
        ),
        "mean": (lambda x, w, b: patches_by_loop(x, w / w[0].numel(), b), "mean of the products"),
        "not transposed": (lambda x, w, b: conv_rows(x, w, b).flatten(2), "b d n"),
        "a grid": (conv_rows, "shape"),
        "overlapping": (lambda x, w, b: F.conv2d(x, w, b).flatten(2).mT, "shape|reading order"),
        "half precision": (
            lambda x, w, b: patches_by_loop(x.bfloat16(), w.bfloat16(), b.bfloat16()).to(x), "precision|order",
        ),
    },
    "whole_words": {
        "pieces": (lambda c, k, s: c * (1 - s), "only the chosen pieces"),
        "forwards": (lambda c, k, s: spread(c, k, s, True), "in front of it"),
        "backwards": (lambda c, k, s: spread(c, k, s, False), "from the beginning"),
        "special too": (lambda c, k, s: torch.maximum(words_by_loop(c, k, s), c * s), "special tokens hidden"),
        "visible": (lambda c, k, s: 1 - words_by_loop(c, k, s), "visible tokens"),
        "first piece decides": (lambda c, k, s: spread(c * (1 - k), k, s, True), "first piece"),
        "all pieces": (
            lambda c, k, s: (1 - words_by_loop(1 - c, k, s)) * (1 - s), "all its pieces",
        ),
        "a text": (lambda c, k, s: (1 - s) * c.amax(1, keepdim=True), "whole text"),
        "counted": (
            lambda c, k, s: ((1 - k).cumsum(1)[:, :, None] == (1 - k).cumsum(1)[:, None]).to(c) @ c[..., None] *
            (1 - s)[..., None], "shape",
        ),
        "none": (lambda c, k, s: 0 * c, "a constant"),
        "bool": (lambda c, k, s: words_by_loop(c, k, s).bool(), "dtype"),
        "ids": (lambda c, k, s: words_by_loop(c, k, s) * 3, "1 or 0|hidden"),
    },
    "transport_plan": {
        "sign": (lambda c, b, i: plan_by_loop(c, b, i, sign=1), "minus"),
        "multiplied": (lambda c, b, i: plan_by_loop(c, 1 / b, i), "multiplied by beta"),
        "no beta": (lambda c, b, i: plan_by_loop(c, 1, i), "beta left out"),
        "sinkhorn": (lambda c, b, i: plan_by_loop(c, b, i, feed=False), "Sinkhorn"),
        "m and n": (lambda c, b, i: plan_by_loop(c, b, i, swap=True), "swapped"),
        "transposed": (lambda c, b, i: plan_by_loop(c.T, b, i).T, "other order"),
        "one more": (lambda c, b, i: plan_by_loop(c, b, i + 1), "too many"),
        "one less": (lambda c, b, i: plan_by_loop(c, b, max(1, i - 1)), "too few"),
        "once": (lambda c, b, i: plan_by_loop(c, b, 1), "first iteration"),
        "old delta": (lambda c, b, i: plan_by_loop(c, b, i, old=True), "1 / m"),
        "softmax": (lambda c, b, i: (-c / b).softmax(1) / len(c), "softmax"),
        "mass of 1 a word": (lambda c, b, i: plan_by_loop(c, b, i) * len(c), "1 / m"),
        "distance": (lambda c, b, i: (c * plan_by_loop(c, b, i)).sum(), "shape"),
        "costs": (lambda c, b, i: c * plan_by_loop(c, b, i), "the plan"),
        "uniform": (lambda c, b, i: torch.full_like(c, 1 / c.numel()), "other places"),
    },
    "embed_pair": {
        "no modality": (pair_without("modality"), "no modality at all"),
        "no positions": (pair_without("positions"), "no positions at all"),
        "no class token": (pair_without("class_token"), "left out of its sum"),
        "swapped": (lambda w, p, c, o, m: pair_by_parts(w, p, c, o, m.flip(0)), "modalities swapped"),
        "first for both": (
            lambda w, p, c, o, m: pair_by_parts(w, p, c, o, m[:1].repeat(2, 1)), "row 0 of the modality",
        ),
        "shifted": (lambda w, p, c, o, m: pair_by_parts(w, p, c, o.roll(-1, 0), m), "shifted"),
        "picture first": (lambda w, p, c, o, m: pair_by_parts(w, p, c, o, m).roll(len(o), 1), "in front of the words"),
        "class token last": (
            lambda w, p, c, o, m: torch.cat([w + m[0], p + o[1:] + m[1], (c + o[0] + m[1]).repeat(len(w), 1, 1)], 1),
            "behind the patches",
        ),
        "without the class token": (lambda w, p, c, o, m: torch.cat([w + m[0], p + o[1:] + m[1]], 1), "shape"),
        "joined along the width": (lambda w, p, c, o, m: pair_by_parts(w, p, c, o, m).flatten(1), "shape"),
        "positions twice": (lambda w, p, c, o, m: pair_by_parts(w, p, c, 2 * o, m), "something else"),
    },
}
