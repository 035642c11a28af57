"""Right and wrong ways to do the exercises of lesson 10."""

import torch


def eye(weights):
    return torch.eye(weights.shape[-1], dtype=weights.dtype)


def rollout_by_halves(weights):
    steps = 0.5 * weights.mean(1) + 0.5 * eye(weights)
    return torch.linalg.multi_dot(list(steps.flip(0))) if len(steps) > 1 else steps[0]


def rollout_by_einsum(weights):
    result = eye(weights)
    for layer in weights:
        result = (torch.einsum("h i j, j k -> i k", layer, result) / len(layer) + result) / 2
    return result


def steps(weights, mean=lambda layer: layer.mean(0), identity=1.0, dim=1):
    for layer in weights:
        step = mean(layer) + identity * eye(weights)
        yield step if dim is None else step / step.sum(dim, keepdim=True)


def product(found, left=True):
    result = None
    for step in found:
        result = step if result is None else step @ result if left else result @ step
    return result


def cam_by_relu(weights, gradients, start, stop):
    """Weights are not negative: the gradient can be cut off alone."""
    return (gradients.relu() * weights)[:, int(start):int(stop), 1:].flatten(0, 1).mean(0)


def cam_by_loop(weights, gradients, start, stop):
    total = torch.zeros_like(weights[0, 0, 1:])
    for head in range(len(weights)):
        for token in range(start, stop):
            total = total + (weights[head, token] * gradients[head, token]).clamp(min=0)[1:]
    return total / (len(weights) * (stop - start))


def word(w, g, start, stop):
    return (w * g)[:, start:stop, 1:]


def binding_by_einsum(weights, own, other):
    at_own, at_other = (torch.einsum("b h n, b n -> h b", weights, cover / cover.sum(1, keepdim=True)) for cover in (own, other))
    return 100 * (at_own > at_other).to(weights).mean(1)


def binding_by_loop(weights, own, other):
    result = torch.zeros(weights.shape[1], dtype=weights.dtype)
    for w, a, b in zip(weights, own, other):
        for head in range(len(result)):
            result[head] += (w[head] @ a / a.sum() > w[head] @ b / b.sum()).item()
    return 100 * result / len(weights)


def on(w, cover):
    return (w * cover[:, None]).sum(-1) / cover.sum(1, keepdim=True)


def more(w, own, other):
    return (on(w, own) > on(w, other)).to(w.dtype)


RIGHT = {
    "rollout": [rollout_by_halves, rollout_by_einsum, lambda w: product(list(steps(w.double()))).to(w.dtype)],
    "grad_cam_of_word": [cam_by_relu, cam_by_loop],
    "binding": [binding_by_einsum, binding_by_loop],
}

WRONG = {
    "rollout": {
        "no identity": (lambda w: product(steps(w, identity=0)), "identity left out"),
        "not scaled": (lambda w: product(steps(w, dim=None)), "rows not scaled|sum to 1"),
        "columns": (lambda w: product(steps(w, dim=0)), "columns scaled|sum to 1"),
        "wrong order": (lambda w: product(steps(w), left=False), "wrong order"),
        "transposed": (lambda w: product(steps(w)).T, "transposed"),
        "sum of heads": (lambda w: product(steps(w, mean=lambda layer: layer.sum(0))), "added instead of averaged"),
        "largest head": (lambda w: product(steps(w, mean=lambda layer: layer.amax(0))), "largest of the heads"),
        "first head": (lambda w: product(steps(w[:, :1])), "first head alone"),
        "last layer": (lambda w: product(steps(w[-1:])), "last layer alone"),
        "mean of layers": (lambda w: sum(steps(w)) / len(w), "mean of the layers"),
        "each head on its own": (lambda w: torch.stack([product(steps(w[:, [h]])) for h in range(w.shape[1])]), "shape"),
        "heads kept apart, then averaged": (
            lambda w: torch.stack([product(steps(w[:, [h]])) for h in range(w.shape[1])]).mean(0), "followed on its own"),
        "attention added at the end": (lambda w: (product(steps(w, identity=0)) + eye(w)) / 2, "once, at the end"),
        "first layer left out": (lambda w: product(steps(w[1:])) if len(w) > 1 else eye(w), "first layer left out"),
        "no identity in the first": (lambda w: product([w[0].mean(0), *steps(w[1:])]), "in the first layer"),
        "no identity in the last": (lambda w: product([*steps(w[:-1]), w[-1].mean(0)]), "in the last layer"),
        "a head a layer": (lambda w: product(steps(w.flatten(0, 1)[:, None])), "layer of its own"),
        "heads for layers": (lambda w: product(steps(w.transpose(0, 1))), "heads and layers"),
        "smallest head": (lambda w: product(steps(w, mean=lambda layer: layer.amin(0))), "smallest"),
        "columns look": (lambda w: product((layer.mean(0).T + eye(w)) / 2 for layer in w), "rows and columns|sum to 1"),
    },
    "grad_cam_of_word": {
        "cut off late": (lambda w, g, a, b: word(w, g, a, b).mean(0).clamp(min=0).mean(0), "after the mean over the heads"),
        "cut off last": (lambda w, g, a, b: word(w, g, a, b).mean((0, 1)).clamp(min=0), "only at the end|after the mean"),
        "signed": (lambda w, g, a, b: word(w, g, a, b).mean((0, 1)), "nothing cut off|below 0"),
        "absolute": (lambda w, g, a, b: word(w, g, a, b).abs().mean((0, 1)), "absolute value"),
        "attention": (lambda w, g, a, b: w[:, a:b, 1:].mean((0, 1)), "without the gradients"),
        "gradients": (lambda w, g, a, b: g[:, a:b, 1:].clamp(min=0).mean((0, 1)), "without the weights"),
        "by heads": (
            lambda w, g, a, b: (g.mean((1, 2), keepdim=True) * w)[:, a:b, 1:].mean(0).clamp(min=0).mean(0), "other Grad-CAM"),
        "sum of heads": (lambda w, g, a, b: word(w, g, a, b).clamp(min=0).sum(0).mean(0), "added over the heads"),
        "sum of pieces": (lambda w, g, a, b: word(w, g, a, b).clamp(min=0).mean(0).sum(0), "added over the word"),
        "first piece": (lambda w, g, a, b: word(w, g, a, a + 1).clamp(min=0).mean((0, 1)), "first piece alone"),
        "means multiplied": (lambda w, g, a, b: (w.mean(0) * g.mean(0).relu())[a:b, 1:].mean(0), "the means of weights and"),
        "means of positive": (lambda w, g, a, b: (w.mean(0) * g.relu().mean(0))[a:b, 1:].mean(0), "that of the positive"),
        "negative part": (lambda w, g, a, b: (-word(w, g, a, b)).relu().mean((0, 1)), "negative part"),
        "largest head": (lambda w, g, a, b: word(w, g, a, b).relu().amax(0).mean(0), "largest of the heads"),
        "largest piece": (lambda w, g, a, b: word(w, g, a, b).relu().mean(0).amax(0), "largest of the word"),
        "first head": (lambda w, g, a, b: word(w, g, a, b)[0].relu().mean(0), "first head"),
        "sum": (lambda w, g, a, b: word(w, g, a, b).relu().sum((0, 1)), "heads and pieces"),
        "mean of the positive": (lambda w, g, a, b: (cam := word(w, g, a, b).relu()).sum((0, 1))
                                 / (cam > 0).sum((0, 1)).clamp(min=1), "positive alone"),
        "last piece": (lambda w, g, a, b: word(w, g, b - 1, b).relu().mean((0, 1)), "last piece alone"),
        "last piece left out": (lambda w, g, a, b: word(w, g, a, max(a + 1, b - 1)).relu().mean((0, 1)), "left out|first piece alone"),
        "too early": (lambda w, g, a, b: word(w, g, a - 1, b - 1).relu().mean((0, 1)), "too early"),
        "stop included": (lambda w, g, a, b: word(w, g, a, b + 1).clamp(min=0).mean((0, 1)), "one piece too many"),
        "all tokens": (lambda w, g, a, b: (w * g)[:, :, 1:].clamp(min=0).mean((0, 1)), "all tokens"),
        "class token kept": (lambda w, g, a, b: (w * g)[:, a:b].clamp(min=0).mean((0, 1)), "shape"),
        "normalised": (lambda w, g, a, b: cam_by_loop(w, g, a, b) / cam_by_loop(w, g, a, b).amax(), "NaN|positive part"),
    },
    "binding": {
        "sums": (lambda w, o, p: 100 * ((w * o[:, None]).sum(-1) > (w * p[:, None]).sum(-1)).to(w).mean(0), "sums instead"),
        "reversed": (lambda w, o, p: 100 * more(w, p, o).mean(0), "wrong way round"),
        "fraction": (lambda w, o, p: more(w, o, p).mean(0), "fraction"),
        "count": (lambda w, o, p: more(w, o, p).sum(0), "count of pairs"),
        "pairs averaged": (lambda w, o, p: 100 * (on(w, o).mean(0) > on(w, p).mean(0)).to(w), "before they were compared"),
        "difference": (lambda w, o, p: 100 * (on(w, o) - on(w, p)).mean(0), "difference|percentage"),
        "share": (lambda w, o, p: 100 * (on(w, o) / (on(w, o) + on(w, p))).mean(0), "share of the weight"),
        "highest": (
            lambda w, o, p: 100 * ((w * (o > 0)[:, None]).amax(-1) > (w * (p > 0)[:, None]).amax(-1)).to(w).mean(0), "highest"),
        "wholly covered": (lambda w, o, p: 100 * more(w, (o > 0).to(w), (p > 0).to(w)).mean(0), "covered in part"),
        "ties": (lambda w, o, p: 100 * (on(w, o) >= on(w, p)).to(w).mean(0), "a tie"),
        "everything else": (lambda w, o, p: 100 * more(w, o, 1 - o).mean(0), "all places that are not"),
        "sizes of all pairs": (lambda w, o, p: 100 * ((w * o[:, None]).sum(-1) / o.sum() > (w * p[:, None]).sum(-1) / p.sum()).to(
            w).mean(0), "all pairs together"),
        "sizes exchanged": (lambda w, o, p: 100 * ((w * o[:, None]).sum(-1) / p.sum(1, keepdim=True)
                                                   > (w * p[:, None]).sum(-1) / o.sum(1, keepdim=True)).to(w).mean(0), "other thing's size"),
        "peak": (lambda w, o, p: 100 * (o.gather(1, w.argmax(-1)) > p.gather(1, w.argmax(-1))).to(w).mean(0), "highest place of"),
        "one mean": (lambda w, o, p: 100 * more(w, o, p).mean().expand(w.shape[1]), "mean over all heads"),
        "whole numbers": (lambda w, o, p: (100 * more(w, o, p).mean(0)).floor(), "cut to whole"),
        "over the heads": (lambda w, o, p: 100 * more(w, o, p).mean(1), "shape"),
        "one number": (lambda w, o, p: 100 * more(w, o, p).mean(), "shape"),
    },
}
