"""Right and wrong ways to do the exercises of lesson 06."""

import torch
import torch.nn.functional as F


def location_by_loop(boxes, sizes, shares=(0, 1, 0, 1), area=lambda w, h: w * h):
    rows = []
    for of_picture, size in zip(boxes, sizes):
        for box in of_picture:
            corners = [box[k] / size[shares[k]] for k in range(4)]
            rows.append(torch.stack([*corners, area(corners[2] - corners[0], corners[3] - corners[1])]))
    return torch.stack(rows).view(*boxes.shape[:2], 5)


def location_in_pixels_first(boxes, sizes):
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1, keepdim=True) / sizes.prod(-1)[:, None, None]
    return torch.cat([boxes / sizes.repeat(1, 2)[:, None], area], dim=-1)


def middle_and_size(boxes, sizes):
    right = location_by_loop(boxes, sizes)
    low, high = right[..., :2], right[..., 2:4]
    return torch.cat([(low + high) / 2, high - low, right[..., 4:]], dim=-1)


def corner_and_size(boxes, sizes):
    right = location_by_loop(boxes, sizes)
    return torch.cat([right[..., :2], right[..., 2:4] - right[..., :2], right[..., 4:]], dim=-1)


def overlap_of(boxes, plus=0, over="union"):
    x0, y0, x1, y1 = boxes.unbind(-1)
    wide = torch.minimum(x1[:, None], x1) - torch.maximum(x0[:, None], x0) + plus
    high = torch.minimum(y1[:, None], y1) - torch.maximum(y0[:, None], y0) + plus
    common, area = F.relu(wide) * F.relu(high), (x1 - x0 + plus) * (y1 - y0 + plus)
    both = area[:, None] + area
    return common / {"union": both - common, "sum": both, "smaller": torch.minimum(area[:, None], area),
                     "own": area[:, None].expand_as(both)}[over]


def hiding(hidden, **how):
    def hide(features, boxes, selected, threshold):
        return features * (~hidden(overlap_of(boxes, **how), selected, threshold))[:, None]

    return hide


def beside_selected(overlap, selected, threshold):
    return (overlap > threshold)[:, selected].any(1)


def hidden_by_loop(features, boxes, selected, threshold):
    result, overlap = features.clone(), overlap_of(boxes)
    for i in range(len(boxes)):
        for j in range(len(boxes)):
            if selected[j] and overlap[i, j] > threshold:
                result[i] = 0
    return result


def spreading(overlap, selected, threshold):
    for _ in selected:
        selected = beside_selected(overlap, selected, threshold)
    return selected


def read(q, k, v, mask=None, scale=None, dim=-1):
    scores = q @ k.T * (q.shape[1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim) @ v


def both(tq, tk, tv, rq, rk, rv, m):
    return torch.cat([read(tq, rk, rv), read(rq, tk, tv, m)])


def both_by_loop(tq, tk, tv, rq, rk, rv, m):
    rows = []
    for queries, keys, values in ((tq, rk, rv), (rq, tk[m], tv[m])):
        for query in queries:
            weights = torch.stack([(query * key).sum() for key in keys]).div(len(query) ** 0.5).exp()
            rows.append((weights[:, None] * values).sum(0) / weights.sum())
    return torch.stack(rows)


def both_without_pads(tq, tk, tv, rq, rk, rv, m):
    return torch.cat([read(tq, rk, rv), read(rq, tk[m], tv[m])])


def joint(tq, tk, tv, rq, rk, rv, m):
    mask = torch.cat([m, torch.ones(len(rk), dtype=torch.bool)])
    return read(torch.cat([tq, rq]), torch.cat([tk, rk]), torch.cat([tv, rv]), mask)


def zeroed(tq, tk, tv, rq, rk, rv, m):
    return torch.cat([read(tq, rk, rv), ((rq @ tk.T * rq.shape[1] ** -0.5).softmax(-1) * m) @ tv])


def divergences(logits, classes):
    log_q = logits - logits.logsumexp(-1, keepdim=True)
    return torch.where(classes > 0, classes * (classes.clamp(min=1e-30).log() - log_q), 0).sum(-1)


def loss_by_loop(logits, classes, selected):
    costs, count = divergences(logits, classes), selected.sum()
    total = logits.sum() * 0
    for i, j in selected.nonzero().tolist():
        total = total + costs[i, j]
    return total / count if count else total


def loss_by_mask(logits, classes, selected):
    return (divergences(logits, classes) * selected).sum() / selected.sum().clamp(min=1)


def cross_entropies(logits, classes):
    return -(classes * logits.log_softmax(-1)).sum(-1)


def averaged(cost):
    return lambda a, p, m: (cost(a, p) * m).sum() / m.sum().clamp(min=1)


RIGHT = {
    "box_location": [location_by_loop, location_in_pixels_first],
    "hide_overlapping": [hidden_by_loop, hiding(beside_selected)],
    "co_attention": [both, both_by_loop, both_without_pads],
    "masked_region_loss": [loss_by_loop, loss_by_mask],
}

WRONG = {
    "box_location": {
        "middle and size": (middle_and_size, "middle, width and height"),
        "exchanged": (lambda b, s: location_by_loop(b, s.flip(1)), "exchanged"),
        "width for all": (lambda b, s: location_by_loop(b, s, (0, 0, 0, 0)), "by the width"),
        "height for all": (lambda b, s: location_by_loop(b, s, (1, 1, 1, 1)), "by the height"),
        "first picture's size": (lambda b, s: location_by_loop(b, s[:1].expand_as(s)), "first picture"),
        "pixels": (lambda b, s: location_by_loop(b, torch.ones_like(s)), "not divided"),
        "half the perimeter": (lambda b, s: location_by_loop(b, s, area=lambda w, h: w + h), "product"),
        "root": (lambda b, s: location_by_loop(b, s, area=lambda w, h: (w * h).sqrt()), "root"),
        "order": (lambda b, s: location_by_loop(b, s)[..., [0, 2, 1, 3, 4]], "another order"),
        "no area": (lambda b, s: location_by_loop(b, s)[..., :4], "shape"),
        "corner and size": (corner_and_size, "corner, width and height"),
        "y first": (lambda b, s: location_by_loop(b, s)[..., [1, 0, 3, 2, 4]], "y in front of x"),
        "area first": (lambda b, s: location_by_loop(b, s).roll(1, -1), "area first"),
        "divided twice": (lambda b, s: torch.cat(
            [(right := location_by_loop(b, s))[..., :4], right[..., 4:] / s.prod(-1)[:, None, None]], -1), "size twice"),
        "from -1 to 1": (lambda b, s: torch.cat(
            [2 * (right := location_by_loop(b, s))[..., :4] - 1, right[..., 4:]], -1), "from -1 to 1"),
        "a pixel less": (lambda b, s: torch.cat(
            [location_by_loop(b, s - 1)[..., :4], location_by_loop(b, s)[..., 4:]], -1), "a pixel less"),
        "percent": (lambda b, s: 100 * location_by_loop(b, s), "shares|0 to 1"),
        "half precision": (lambda b, s: location_by_loop(b.bfloat16(), s.bfloat16()).to(b), "precision|furthest"),
    },
    "hide_overlapping": {
        "only selected": (hiding(lambda o, s, t: s), "only the selected"),
        "wrong axis": (hiding(lambda o, s, t: ((o > t) & s[:, None]).any(1)), "only the selected"),
        "only neighbours": (hiding(lambda o, s, t: beside_selected(o, s, t) & ~s), "themselves left"),
        "any other": (hiding(lambda o, s, t: s | ((o > t).sum(1) > 1)), "selected or not"),
        "spreading": (hiding(spreading), "neighbours of neighbours"),
        "any overlap": (hiding(lambda o, s, t: beside_selected(o, s, 0)), "whatever the threshold"),
        "below": (hiding(lambda o, s, t: s | (o < t)[:, s].any(1)), "below"),
        "sum": (hiding(beside_selected, over="sum"), "counts it twice"),
        "smaller": (hiding(beside_selected, over="smaller"), "smaller area"),
        "own": (hiding(beside_selected, over="own"), "own area"),
        "pixel": (hiding(beside_selected, plus=1), "pixel"),
        "kept": (lambda f, b, s, t: f - hidden_by_loop(f, b, s, t), "wrong ones"),
        "mask": (lambda f, b, s, t: beside_selected(overlap_of(b), s, t), "shape"),
        "removed": (lambda f, b, s, t: f[~beside_selected(overlap_of(b), s, t)], "shape"),
        "threshold of 0.4": (lambda f, b, s, t: hidden_by_loop(f, b, s, 0.4), "of 0.4, whatever"),
        "threshold of 0.5": (lambda f, b, s, t: hidden_by_loop(f, b, s, 0.5), "of 0.5, whatever"),
        "first alone": (hiding(lambda o, s, t: s | (o[int(s.int().argmax())] > t) & s.any()), "first selected"),
        "added up": (hiding(lambda o, s, t: s | ((o * s).sum(1) > t)), "added up"),
        "width and height": (
            lambda f, b, s, t: hidden_by_loop(f, torch.cat([b[:, :2], b[:, :2] + b[:, 2:]], 1), s, t), "width and height"),
        "minus infinity": (
            lambda f, b, s, t: f.masked_fill(beside_selected(overlap_of(b), s, t)[:, None], -torch.inf), "becomes 0"),
        "in place": (lambda f, b, s, t: f.mul_((~beside_selected(overlap_of(b), s, t))[:, None]), "unchanged|changed"),
    },
    "co_attention": {
        "self": (
            lambda tq, tk, tv, rq, rk, rv, m: torch.cat([read(tq, tk, tv, m), read(rq, rk, rv)]), "reading itself",
        ),
        "one stream": (joint, "single stream"),
        "queries as keys": (lambda tq, tk, tv, rq, rk, rv, m: both(tk, tq, tv, rk, rq, rv, m), "exchanged"),
        "no mask": (lambda tq, tk, tv, rq, rk, rv, m: both(tq, tk, tv, rq, rk, rv, m | True), "mask left out"),
        "zeroed": (zeroed, "add up to 1"),
        "no scale": (
            lambda tq, tk, tv, rq, rk, rv, m: torch.cat([read(tq, rk, rv, scale=1), read(rq, tk, tv, m, 1)]),
            "not divided",
        ),
        "divided by c": (
            lambda tq, tk, tv, rq, rk, rv, m: torch.cat(
                [read(tq, rk, rv, scale=1 / tq.shape[1]), read(rq, tk, tv, m, 1 / tq.shape[1])]),
            "instead of its root",
        ),
        "regions first": (
            lambda tq, tk, tv, rq, rk, rv, m: torch.cat([read(rq, tk, tv, m), read(tq, rk, rv)]), "regions first",
        ),
        "residual": (
            lambda tq, tk, tv, rq, rk, rv, m: torch.cat([tq, rq]) + both(tq, tk, tv, rq, rk, rv, m), "residual",
        ),
        "by the number of keys": (lambda tq, tk, tv, rq, rk, rv, m: torch.cat(
            [read(tq, rk, rv, scale=len(rk) ** -0.5), read(rq, tk, tv, m, len(tk) ** -0.5)]), "number of keys"),
        "scaled behind the softmax": (lambda tq, tk, tv, rq, rk, rv, m: torch.cat(
            [read(tq, rk, rv, scale=1), read(rq, tk, tv, m, 1)]) / tq.shape[1] ** 0.5, "behind the softmax"),
        "scores transposed": (lambda tq, tk, tv, rq, rk, rv, m: torch.cat([read(tq, rk, rv), read(rk, tq, tv, m)]), "scores, trans"),
        "weights transposed": (lambda tq, tk, tv, rq, rk, rv, m: torch.cat(
            [(w := (tq @ rk.T * tq.shape[1] ** -0.5).softmax(-1)) @ rv, w.T @ tv]), "weights, trans"),
        "mask of readers": (lambda tq, tk, tv, rq, rk, rv, m: torch.cat(
            [(tq @ rk.T * tq.shape[1] ** -0.5).masked_fill(~m[:, None], -1e9).softmax(-1) @ rv, read(rq, tk, tv)]), "that read"),
        "mask of both": (lambda tq, tk, tv, rq, rk, rv, m: torch.cat([(tq @ rk.T * tq.shape[1] ** -0.5).masked_fill(
            ~m[:, None], -1e9).softmax(-1) @ rv, read(rq, tk, tv, m)]), "kept from reading"),
        "infinite mask of both": (lambda tq, tk, tv, rq, rk, rv, m: torch.cat(
            [read(tq, rk, rv, m[:, None]), read(rq, tk, tv, m)]), "NaN.*the keys"),
        "one after the other": (lambda tq, tk, tv, rq, rk, rv, m: torch.cat(
            [words := read(tq, rk, rv), read(rq, words, words, m)]), "have just read"),
        "keys for values": (lambda tq, tk, tv, rq, rk, rv, m: both(tq, tk, tk, rq, rk, rk, m), "keys taken"),
        "text alone": (lambda tq, tk, tv, rq, rk, rv, m: read(tq, rk, rv), "shape"),
        "a pair": (lambda tq, tk, tv, rq, rk, rv, m: (read(tq, rk, rv), read(rq, tk, tv, m)), "a tuple"),
    },
    "masked_region_loss": {
        "cross-entropy": (averaged(cross_entropies), "entropy"),
        "mean over classes": (lambda a, p, m: loss_by_mask(a, p, m) / a.shape[-1], "over the classes as well"),
        "all regions": (lambda a, p, m: (divergences(a, p) * m).mean(), "all regions"),
        "pictures": (lambda a, p, m: (divergences(a, p) * m).sum() / len(a), "number of pictures"),
        "sum": (lambda a, p, m: (divergences(a, p) * m).sum(), "summed over the regions"),
        "mask ignored": (lambda a, p, m: divergences(a, p).mean(), "mask ignored"),
        "mask inverted": (lambda a, p, m: loss_by_mask(a, p, ~m), "wrong way round"),
        "no softmax": (averaged(lambda a, p: (torch.xlogy(p, p) - p * a).sum(-1)), "no softmax"),
        "hard": (averaged(lambda a, p: F.cross_entropy(a.mT, p.argmax(-1), reduction="none")), "likeliest"),
        "sign": (lambda a, p, m: -loss_by_mask(a, p, m), "sign"),
        "softmax of probabilities": (lambda a, p, m: loss_by_mask(a, p.softmax(-1), m), "probabilities already"),
        "softmax twice": (lambda a, p, m: loss_by_mask(a.softmax(-1), p, m), "one behind the other"),
        "mask on the logits": (
            lambda a, p, m: divergences(a * m[..., None], p).sum() / m.sum().clamp(min=1), "multiplied by the mask"),
        "all logits": (lambda a, p, m: (divergences(a, p) * m).sum() / a.numel(), "number of all logits"),
        "small number": (averaged(
            lambda a, p: (torch.xlogy(p, p) - p * (a.softmax(-1) + 1e-8).log()).sum(-1)), "small number|very sure"),
        "0 log 0": (
            lambda a, p, m: (p * (p.log() - a.log_softmax(-1)))[m].sum() / max(1, int(m.sum())), "0 times log 0",
        ),
        "mean of nothing": (lambda a, p, m: divergences(a, p)[m].mean(), "0 / 0"),
        "log of softmax": (
            averaged(lambda a, p: (torch.xlogy(p, p) - p * a.softmax(-1).log()).sum(-1)), "Is the softmax",
        ),
        "detached": (lambda a, p, m: loss_by_mask(a.detach(), p, m), "detached"),
    },
}
