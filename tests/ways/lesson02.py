"""Right and wrong ways to do the exercises of lesson 02."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def conv_by_running(images, weight, stride, padding):
    out = F.conv2d(images, weight, stride=stride, padding=padding)
    return 2 * out.numel() * weight[0].numel()


def conv_by_floor(images, weight, stride, padding, floor=math.floor):
    (b, c, h, w), (o, _, k, l) = images.shape, weight.shape
    rows, columns = (floor((n + 2 * padding - side) / stride) + 1 for n, side in ((h, k), (w, l)))
    return torch.tensor(2.0 * b * rows * columns * c * o * k * l, dtype=torch.float64)


def conv_divided(by):
    """Right, but divided by what `by` says of the sizes."""
    return lambda x, w, s, p: conv_by_running(x, w, s, p) / by(*x.shape[:2], *w.shape[0:4:2], w.shape[3])


def parameters_by_building(states, context, hidden):
    d, c = states.shape[-1], context.shape[-1]
    layers = [nn.Linear(d, d) for _ in range(6)] + [nn.Linear(c, d) for _ in range(2)]
    layers += [nn.Linear(d, hidden), nn.Linear(hidden, d)] + [nn.LayerNorm(d) for _ in range(3)]
    return sum(p.numel() for layer in layers for p in layer.parameters())


def parameters_by_hand(states, context, hidden):
    return by_hand(states.shape[-1], context.shape[-1], hidden)


def by_hand(d, c, h):
    return float(6 * d * d + 2 * c * d + 2 * d * h + 15 * d + h)


def of_sizes(count):
    return lambda states, context, hidden: count(states.shape[-1], context.shape[-1], hidden)


def stages_by_loop(similarity, milliseconds, k, pairs=None):
    picture, text, first, second = milliseconds.tolist()
    i, t = similarity.shape
    wanted = {(a, b) for a in range(i) for b in similarity[a].argsort(descending=True)[:k].tolist()}
    wanted |= {(a, b) for b in range(t) for a in similarity[:, b].argsort(descending=True)[:k].tolist()}
    return i * picture + t * text + i * t * first + (len(wanted) if pairs is None else pairs(i, t, k)) * second


def stages_by_comparing(similarity, milliseconds, k):
    lowest_of_row = similarity.topk(k, dim=1).values[:, -1:]
    lowest_of_column = similarity.topk(k, dim=0).values[-1:]
    wanted = (similarity >= lowest_of_row) | (similarity >= lowest_of_column)
    counts = torch.tensor([*similarity.shape, similarity.numel(), wanted.sum()], dtype=milliseconds.dtype)
    return counts @ milliseconds


def without(place):
    """The search with a time of 0 in some places."""
    def student(similarity, milliseconds, k):
        milliseconds = milliseconds.clone()
        milliseconds[place] = 0
        return stages_by_loop(similarity, milliseconds, k)
    return student


def reading_again(similarity, milliseconds, k):
    times = milliseconds.clone()
    times[3] += times[0] + times[1]
    return stages_by_loop(similarity, times, k)


RIGHT = {
    "conv_flops": [conv_by_running, conv_by_floor],
    "block_parameters": [parameters_by_building, parameters_by_hand],
    "two_stage_cost": [stages_by_loop, stages_by_comparing],
}

WRONG = {
    "conv_flops": {
        "multiply-adds": (conv_divided(lambda *_: 2), "MACs"),
        "stride": (lambda x, w, s, p: conv_by_running(x, w, 1, p), "stride left out"),
        "padding": (lambda x, w, s, p: conv_by_running(x, w, s, 0), "padding left out"),
        "rounded up": (lambda *x: conv_by_floor(*x, floor=math.ceil), "incomplete step"),
        "one picture": (conv_divided(lambda b, c, o, k, l: b), "instead of the batch"),
        "one channel": (conv_divided(lambda b, c, o, k, l: c), "channels left out"),
        "one filter": (conv_divided(lambda b, c, o, k, l: o), "filters left out"),
        "square": (conv_divided(lambda b, c, o, k, l: l / k), "k by k"),
        "swapped": (lambda x, w, s, p: conv_by_running(x, w.mT, s, p), "swapped"),
        "input places": (lambda x, w, s, p: 2 * x[:, 0].numel() * w.numel(), "places of the picture"),
        "weights": (lambda x, w, s, p: w.numel(), "weights alone"),
        "results": (lambda x, w, s, p: F.conv2d(x, w, stride=s, padding=p).numel(), "numbers of the result"),
        "not whole": (lambda *x: conv_by_floor(*x, floor=lambda n: n), "too many"),
        "with a bias": (lambda x, w, s, p: conv_by_running(x, w, s, p) * (1 + 0.5 / w[0].numel()), "too many"),
    },
    "block_parameters": {
        "no biases": (of_sizes(lambda d, c, h: 6 * d * d + 2 * c * d + 2 * d * h + 6 * d), "biases of the linear maps"),
        "no norms": (of_sizes(lambda d, c, h: by_hand(d, c, h) - 6 * d), "LayerNorms left out"),
        "two norms": (of_sizes(lambda d, c, h: by_hand(d, c, h) - 2 * d), "two LayerNorms"),
        "self-attention alone": (
            of_sizes(lambda d, c, h: by_hand(d, c, h) - 2 * d * d - 2 * c * d - 4 * d), "cross-attention left",
        ),
        "own width": (of_sizes(lambda d, c, h: by_hand(d, d, h)), "come from the context"),
        "all from the context": (of_sizes(lambda d, c, h: by_hand(d, c, h) - 2 * d * d + 2 * c * d), "all four maps"),
        "queries from the context": (of_sizes(lambda d, c, h: by_hand(d, c, h) - d * d + c * d), "queries"),
        "four times": (of_sizes(lambda d, c, h: by_hand(d, c, 4 * d)), "hidden width of 4 d"),
        "one map": (of_sizes(lambda d, c, h: by_hand(d, c, h) - d * h), "one map of the perceptron"),
        "no output maps": (of_sizes(lambda d, c, h: by_hand(d, c, h) - 2 * (d * d + d)), "output maps"),
        "lengths": (lambda s, c, h: by_hand(s.shape[1], c.shape[1], h), "d comes last"),
        "every token": (lambda s, c, h: s.shape[1] * parameters_by_hand(s, c, h), "too many"),
        "bytes": (lambda s, c, h: 4 * parameters_by_hand(s, c, h), "too many"),
    },
    "two_stage_cost": {
        "twice": (lambda *x: stages_by_loop(*x, pairs=lambda i, t, k: k * (i + t)), "scored twice"),
        "texts only": (lambda *x: stages_by_loop(*x, pairs=lambda i, t, k: k * t), "only the candidates of the texts"),
        "pictures only": (lambda *x: stages_by_loop(*x, pairs=lambda i, t, k: k * i), "candidates of the pictures"),
        "all pairs": (lambda *x: stages_by_loop(*x, pairs=lambda i, t, k: i * t), "all pairs scored again"),
        "k in all": (lambda *x: stages_by_loop(*x, pairs=lambda i, t, k: k), "k candidates in all"),
        "least similar": (lambda s, m, k: stages_by_loop(-s, m, k), "least similar"),
        "read again": (reading_again, "read again"),
        "no second stage": (without(3), "second stage left out"),
        "no first stage": (without(2), "first stage left out"),
        "no reading": (without([0, 1]), "the reading left out"),
        "transposed": (lambda s, m, k: stages_by_loop(s.T, m, k), "swapped"),
        "stages swapped": (lambda s, m, k: stages_by_loop(s, m[[0, 1, 3, 2]], k), "two stages swapped"),
        "seconds": (lambda *x: stages_by_loop(*x) / 1000, "too little"),
    },
}
