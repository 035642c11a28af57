"""Right and wrong ways to do the exercises of lesson 03."""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


def unit(x, dim=-1):
    return F.normalize(x, dim=dim)


def clip_logits(image, text, log_scale):
    return log_scale.exp() * unit(image) @ unit(text).T


def one_way(logits):
    return F.cross_entropy(logits, torch.arange(len(logits)))


def both_ways(logits):
    return (one_way(logits) + one_way(logits.T)) / 2


def one_way_by_exp(logits):
    """Right, but in float32 the exp of a logit above 88 is infinite."""
    return -(logits.exp().diagonal() / logits.exp().sum(1)).log().mean()


def clip_loss(image, text, log_scale):
    return both_ways(clip_logits(image, text, log_scale))


def feature_gradient_by_autograd(image, text, log_scale, loss=clip_loss):
    image = image.clone().requires_grad_()
    return torch.autograd.grad(loss(image, text, log_scale), image)[0]


def pull_on_features(image, text, log_scale):
    """The gradient at the normalised image features."""
    return feature_gradient_by_autograd(unit(image), text, log_scale,
                                        lambda i, t, s: both_ways(s.exp() * i @ unit(t).T))


def feature_gradient_row_by_row(image, text, log_scale):
    rows = []
    for x, g in zip(image, pull_on_features(image, text, log_scale)):
        rows.append((torch.eye(len(x)).to(x) - torch.outer(x, x) / (x @ x)) @ g / x.norm())
    return torch.stack(rows)


def first_is_right(cosines, log_scale):
    return F.cross_entropy(log_scale.exp() * cosines, torch.zeros(len(cosines), dtype=torch.int64))


def last_step(direction, power):
    """From the gradient at length 1 to that at the features as they came."""
    return lambda i, t, s: direction(i, pull_on_features(i, t, s)) / i.norm(dim=1, keepdim=True) ** power


def one_eye(image, text, log_scale):
    logits = clip_logits(image, text, log_scale)
    slope = (logits.softmax(1) + logits.softmax(0) - torch.eye(len(logits)).to(logits)) / (2 * len(logits))
    pull = log_scale.exp() * slope @ unit(text)
    return (pull - unit(image) * (unit(image) * pull).sum(1, keepdim=True)) / image.norm(dim=1, keepdim=True)


def slope_along(log_scale, loss):
    log_scale = log_scale.clone().requires_grad_()
    return torch.autograd.grad(loss(log_scale), log_scale)[0]


def temperature_gradient_by_loop(cosines, log_scale):
    logits = (log_scale.exp() * cosines).double()
    return float(sum((row.softmax(0) * (row - row[0])).sum() for row in logits) / len(logits))


def slope_by_exp(cosines, log_scale):
    logits = log_scale.exp() * cosines
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return ((p * logits).sum(1) - logits[:, 0]).mean()


def own_captions(logits, image_of_text):
    return (torch.arange(len(logits))[:, None] == image_of_text).to(logits)


def captions_of_pictures(logits, image_of_text):
    own = own_captions(logits, image_of_text)
    return F.cross_entropy(logits, own / own.sum(1, keepdim=True))


def pictures_of_captions(logits, image_of_text):
    return F.cross_entropy(logits.T, image_of_text)


def many_captions(logits, image_of_text):
    return (captions_of_pictures(logits, image_of_text) + pictures_of_captions(logits, image_of_text)) / 2


def many_captions_by_loop(logits, image_of_text):
    rows, columns = logits.log_softmax(1), logits.log_softmax(0)
    of_pictures = [rows[i][image_of_text == i].mean() for i in range(len(logits))]
    of_captions = [columns[i, t] for t, i in enumerate(image_of_text.tolist())]
    return -(torch.stack(of_pictures).mean() + torch.stack(of_captions).mean()) / 2


def with_captions(of_pictures):
    """The other direction as it must be."""
    return lambda l, i: (of_pictures(l, i) + pictures_of_captions(l, i)) / 2


def tower(inputs, weight):
    return torch.tanh(inputs @ weight)


def whole_gradient(inputs, weight, text, size, loss=both_ways):
    weight = weight.clone().requires_grad_()
    return torch.autograd.grad(loss(tower(inputs, weight) @ text.T), weight)[0]


def in_parts(inputs, weight, text, size):
    """Part by part, each with a graph of its own that `checkpoint` throws away."""
    weight = weight.clone().requires_grad_()
    features = [checkpoint(tower, part, weight, use_reentrant=False) for part in inputs.split(size)]
    return torch.autograd.grad(both_ways(torch.cat(features) @ text.T), weight)[0]


def cached_by_backward(inputs, weight, text, size):
    weight = weight.clone().requires_grad_()
    with torch.no_grad():
        features = tower(inputs, weight)
    cache = feature_slope(features, text)
    for k in range(0, len(inputs), size):
        tower(inputs[k:k + size], weight).backward(cache[k:k + size])
    return weight.grad


def feature_slope(features, text):
    features = features.detach().requires_grad_()
    return torch.autograd.grad(both_ways(features @ text.T), features)[0]


def cached_by_hand(inputs, weight, text, size):
    features = tower(inputs, weight)
    logits = features @ text.T
    upstream = (logits.softmax(0) + logits.softmax(1) - 2 * torch.eye(len(logits)).to(logits)) @ text / (2 * len(logits))
    parts = zip(inputs.split(size), (upstream * (1 - features**2)).split(size))
    return sum(part.T @ through for part, through in parts)


def by_tower(inputs, weight, text, encode):
    weight = weight.clone().requires_grad_()
    return torch.autograd.grad(both_ways(encode(inputs, weight) @ text.T), weight)[0]


def whole_by_backward(inputs, weight, text, size):
    weight = weight.clone().requires_grad_()
    both_ways(F.linear(inputs, weight.T).tanh() @ text.T).backward()
    return weight.grad


def cached_parts(inputs, weight, text, size):
    """The share of every part in the right gradient."""
    shares = []
    for start in range(0, len(inputs), size):
        weights = weight.clone().requires_grad_()
        features = tower(inputs, weights)
        alone = torch.cat([features[:start].detach(), features[start:start + size], features[start + size:].detach()])
        shares.append(torch.autograd.grad(both_ways(alone @ text.T), weights)[0])
    return shares


def accumulated(inputs, weight, text, size):
    return sum(whole_gradient(x, weight, t, size) for x, t in zip(inputs.split(size), text.split(size)))


def parts_of(inputs, size):
    return len(inputs.split(size))


def pairs_of_views(views, pairs, log_scale, loss=clip_loss):
    return sum(loss(views[i], views[j], log_scale) for i, j in pairs)


def each_once(views):
    return list(combinations(range(len(views)), 2))


def all_views(views, log_scale):
    return pairs_of_views(views, each_once(views), log_scale)


def all_views_at_once(views, log_scale):
    views = unit(views)
    logits = log_scale.exp() * torch.einsum("v b d, w c d -> v w b c", views, views)
    terms = -logits.log_softmax(-1).diagonal(dim1=2, dim2=3).mean(-1)  # both directions of a pair: v w and w v
    return (terms.sum() - terms.diagonal().sum()) / 2


RIGHT = {
    "feature_gradient": [feature_gradient_by_autograd, feature_gradient_row_by_row],
    "temperature_gradient": [lambda c, s: slope_along(s, lambda s: first_is_right(c, s)), temperature_gradient_by_loop],
    "many_captions_loss": [many_captions, many_captions_by_loop],
    "cached_gradient": [cached_by_hand, cached_by_backward, in_parts],
    "all_views_loss": [all_views, all_views_at_once],
}

WRONG = {
    "feature_gradient": {
        "at the normalised features": (pull_on_features, "normalisation left out"),
        "not projected": (lambda i, t, s: pull_on_features(i, t, s) / i.norm(dim=1, keepdim=True), "along the feature"),
        "not divided": (lambda i, t, s: feature_gradient_by_autograd(unit(i), t, s), "lengths"),
        "rows": (lambda i, t, s: feature_gradient_by_autograd(i, t, s, lambda *x: one_way(clip_logits(*x))), "rows"),
        "columns": (lambda i, t, s: feature_gradient_by_autograd(i, t, s, lambda *x: one_way(clip_logits(*x).T)), "columns"),
        "sum": (lambda i, t, s: 2 * feature_gradient_by_autograd(i, t, s), "added"),
        "scale forgotten": (lambda i, t, s: feature_gradient_by_autograd(i, t, s) / s.exp(), "scale forgotten"),
        "descent": (lambda i, t, s: -feature_gradient_by_autograd(i, t, s), "sign"),
        "sum over the batch": (lambda i, t, s: len(i) * feature_gradient_by_autograd(i, t, s), "summed over the batch"),
        "of the texts": (lambda i, t, s: feature_gradient_by_autograd(t, i, s), "respect to the texts"),
        "half": (lambda i, t, s: feature_gradient_by_autograd(i, t, s) / 2, "too short"),
        "projected on what came": (last_step(lambda x, g: g - x * (x * g).sum(1, keepdim=True), 1), "as it came"),
        "added": (last_step(lambda x, g: g + unit(x) * (unit(x) * g).sum(1, keepdim=True), 1), "added instead of taken out"),
        "divided twice": (last_step(lambda x, g: g - unit(x) * (unit(x) * g).sum(1, keepdim=True), 2), "squared lengths"),
        "multiplied": (last_step(lambda x, g: g - unit(x) * (unit(x) * g).sum(1, keepdim=True), -1), "multiplied by the lengths"),
        "one length": (lambda i, t, s: feature_gradient_by_autograd(unit(i), t, s) / i.norm(), "one length"),
        "nothing normalised": (
            lambda i, t, s: feature_gradient_by_autograd(i, t, s, lambda i, t, s: both_ways(s.exp() * i @ t.T)), "not even in"),
        "no exp": (lambda i, t, s: feature_gradient_by_autograd(i, t, s, lambda i, t, s: both_ways(
            s * unit(i) @ unit(t).T)), "without exp"),
        "scale twice": (lambda i, t, s: feature_gradient_by_autograd(i, t, s) * s.exp(), "twice"),
        "one eye": (one_eye, "Each of the two"),
    },
    "temperature_gradient": {
        "to the scale": (lambda c, s: slope_along(s, lambda s: first_is_right(c, s)) / s.exp(), r"factor e\^t"),
        "to the temperature": (lambda c, s: -slope_along(s, lambda s: first_is_right(c, s)) * s.exp(), "the temperature 1"),
        "sign": (lambda c, s: -slope_along(s, lambda s: first_is_right(c, s)), "sign"),
        "sum": (lambda c, s: len(c) * slope_along(s, lambda s: first_is_right(c, s)), "summed over"),
        "target n": (lambda c, s: slope_along(s, lambda s: F.cross_entropy(
            s.exp() * c, torch.arange(len(c)) % c.shape[1])), "column n"),
        "no exp": (lambda c, s: s * ((s * c).softmax(1) * c - c[:, :1] / c.shape[1]).sum(1).mean(), "without exp"),
        "bare cosines": (lambda c, s: s.exp() * (c.softmax(1) * (c - c[:, :1])).sum(1).mean(), "bare cosines"),
        "plain mean": (lambda c, s: s.exp() * (c - c[:, :1]).mean(), "plain mean"),
        "columns": (lambda c, s: s.exp() * (((s.exp() * c).softmax(0) * c).sum(1) - c[:, 0]).mean(), "over the columns"),
        "right candidate alone": (
            lambda c, s: (((s.exp() * c).softmax(1) - 1) * s.exp() * c)[:, 0].mean(), "only the right candidate"),
        "wrong candidates alone": (
            lambda c, s: ((s.exp() * c).softmax(1) * s.exp() * c)[:, 1:].sum(1).mean(), "only the wrong candidates"),
        "loss": (lambda c, s: first_is_right(c, s), "the loss itself"),
        "divided": (lambda c, s: slope_along(s, lambda s: first_is_right(c, -s)), "divided by the scale"),
        "exp overflows": (slope_by_exp, "scale of 100.*range of float32"),
        "finite difference, coarse": (lambda c, s: (first_is_right(c, s + 0.1) - first_is_right(c, s)) / 0.1, "slope"),
    },
    "many_captions_loss": {
        "pictures": (captions_of_pictures, "only the direction image"),
        "captions": (pictures_of_captions, "only the direction text"),
        "sum": (lambda l, i: 2 * many_captions(l, i), "added"),
        "targets not divided": (with_captions(lambda l, i: F.cross_entropy(l, own_captions(l, i))), "summed instead"),
        "any of them": (with_captions(lambda l, i: -(l.softmax(1) * own_captions(l, i)).sum(1).log().mean()), "any one"),
        "one for all captions": (with_captions(lambda l, i: -l.log_softmax(1)[i, torch.arange(len(i))].mean()), "count more"),
        "first caption": (with_captions(lambda l, i: F.cross_entropy(l, own_captions(l, i).argmax(1))), "first caption"),
        "wrong axis": (with_captions(lambda l, i: -(own_captions(l, i) / own_captions(l, i).sum(1, keepdim=True)
                                                    * l.log_softmax(0)).sum(1).mean()), "wrong axis"),
        "mean of the table": (with_captions(lambda l, i: captions_of_pictures(l, i) / l.shape[1]), "whole table"),
        "last caption": (with_captions(lambda l, i: F.cross_entropy(
            l, l.shape[1] - 1 - own_captions(l, i).flip(1).argmax(1))), "last caption"),
        "softmax of the table": (with_captions(lambda l, i: F.cross_entropy(l, own_captions(l, i).softmax(1))), "of 0 and 1"),
        "divergence": (with_captions(lambda l, i: captions_of_pictures(l, i) - own_captions(l, i).sum(1).log().mean()), "entropy"),
        "summed": (lambda l, i: (len(l) * captions_of_pictures(l, i) + len(i) * pictures_of_captions(l, i)) / 2, "summed over"),
        "one mean": (lambda l, i: (len(l) * captions_of_pictures(l, i) + len(i) * pictures_of_captions(l, i)) / sum(l.shape),
                     "in one mean"),
        "a + b / 2": (lambda l, i: captions_of_pictures(l, i) + pictures_of_captions(l, i) / 2, "only the captions"),
        "a / 2 + b": (lambda l, i: captions_of_pictures(l, i) / 2 + pictures_of_captions(l, i), "only the pictures"),
        "wrong axis of the captions": (lambda l, i: (captions_of_pictures(l, i) - (
            own_captions(l, i) * l.log_softmax(1)).sum(0).mean()) / 2, "wrong axis, text"),
        "yes or no": (lambda l, i: F.binary_cross_entropy_with_logits(l, own_captions(l, i)), "yes or no"),
        "sign": (lambda l, i: -many_captions(l, i), "sign"),
        "detached": (lambda l, i: many_captions(l.detach(), i), "detached"),
        "square part": (lambda l, i: both_ways(l[:, : len(l)]), "two directions"),
    },
    "cached_gradient": {
        "accumulated": (lambda *x: accumulated(*x) / parts_of(x[0], x[3]), "gradient accumulation"),
        "accumulated, summed": (accumulated, "own loss, summed"),
        "divided": (lambda *x: whole_gradient(*x) / parts_of(x[0], x[3]), "number of parts"),
        "last part": (lambda *x: cached_parts(*x)[-1], "last part's"),
        "first part": (lambda *x: cached_parts(*x)[0], "first part's"),
        "whole parts only": (lambda x, w, t, n: sum(cached_parts(x, w, t, n)[: max(1, len(x) // n)]), "smaller part"),
        "rows": (lambda *x: whole_gradient(*x, loss=one_way), "rows"),
        "columns": (lambda *x: whole_gradient(*x, loss=lambda logits: one_way(logits.T)), "columns"),
        "sum": (lambda *x: 2 * whole_gradient(*x), "added"),
        "sign": (lambda *x: -whole_gradient(*x), "sign"),
        "sentences normalised": (lambda *x: whole_gradient(x[0], x[1], unit(x[2]), x[3]), "only the sentences normalised"),
        "features normalised": (lambda x, w, t, n: by_tower(x, w, t, lambda x, w: unit(tower(x, w))), "^.*slip: features normal"),
        "cosines": (lambda x, w, t, n: by_tower(x, w, unit(t), lambda x, w: unit(tower(x, w))), "features and sentences"),
        "mean twice": (lambda *x: whole_gradient(*x) / len(x[0]), "divided by the size"),
        "sum over the batch": (lambda *x: whole_gradient(*x) * len(x[0]), "summed over the batch"),
        "all at once": (whole_gradient, "8 rows stood in the tower's graph at a time, and size is 3"),
        "all at once, by backward": (whole_by_backward, "8 rows stood"),
        "all at once, transposed": (lambda x, w, t, n: by_tower(x, w, t, lambda x, w: (w.T @ x.T).tanh().T), "8 rows stood"),
        "two parts at once": (lambda x, w, t, n: cached_by_backward(x, w, t, 2 * n), "6 rows stood"),
        "part by part, in one graph": (
            lambda x, w, t, n: by_tower(x, w, t, lambda x, w: torch.cat([tower(part, w) for part in x.split(n)])), "[4-8] rows stood"),
    },
    "all_views_loss": {
        "core view": (lambda v, s: pairs_of_views(v, [(0, j) for j in range(1, len(v))], s), "core view"),
        "neighbours": (lambda v, s: pairs_of_views(v, [(j - 1, j) for j in range(1, len(v))], s), "neighbours"),
        "twice": (lambda v, s: 2 * all_views(v, s), "twice"),
        "itself too": (lambda v, s: all_views(v, s) + pairs_of_views(v, [(i, i) for i in range(len(v))], s), "themselves"),
        "mean": (lambda v, s: all_views(v, s) / len(each_once(v)), "mean over the pairs"),
        "one direction": (lambda v, s: pairs_of_views(v, each_once(v), s, lambda *x: one_way(clip_logits(*x))), "earlier"),
        "not normalised": (lambda v, s: pairs_of_views(
            v, each_once(v), s, lambda a, b, s: both_ways(s.exp() * a @ b.T)), "not normalised"),
        "wrong axis": (lambda v, s: pairs_of_views(
            v, each_once(v), s, lambda a, b, s: both_ways(s.exp() * unit(a, 0) @ unit(b, 0).T)), "wrong axis"),
        "no exp": (lambda v, s: pairs_of_views(
            v, each_once(v), s, lambda a, b, s: both_ways(s * unit(a) @ unit(b).T)), "without exp"),
        "sum over the batch": (lambda v, s: v.shape[1] * all_views(v, s), "over the batch"),
        "by the views": (lambda v, s: all_views(v, s) / len(v), "number of views"),
        "halved": (lambda v, s: all_views(v, s) / 2, "halved"),
        "last view": (lambda v, s: pairs_of_views(v, [(j, -1) for j in range(len(v) - 1)], s), "last view"),
        "ring": (lambda v, s: pairs_of_views(v, [(j - 1, j) for j in range(len(v))], s), "ring"),
        "divided": (lambda v, s: all_views(v, -s), "divided by the scale"),
        "exp overflows": (lambda v, s: pairs_of_views(v, each_once(v), s, lambda *x: (
            one_way_by_exp(clip_logits(*x)) + one_way_by_exp(clip_logits(*x).T)) / 2), "scale of 100.*range of float32"),
        "scale detached": (lambda v, s: all_views(v, s.detach()), "log_scale"),
    },
}
