"""Right and wrong ways to do the exercises of lesson 01."""

import numpy as np
import torch


def ranks_by_loop(similarity, image_of_text, pick=max, count_own=False):
    ranks = []
    for n, row in enumerate(similarity.tolist()):
        own = [s for s, image in zip(row, image_of_text.tolist()) if image == n]
        ranks.append(1 + sum(s > pick(own) and (count_own or s not in own) for s in row))
    return torch.tensor(ranks).double()


def rank_by_loop(similarity, image_of_text, **options):
    return ranks_by_loop(similarity, image_of_text, **options).quantile(0.5).floor()


def rank_by_sorting(similarity, image_of_text):
    places = []
    for n, order in enumerate(similarity.argsort(dim=1, descending=True)):
        places.append((image_of_text[order] == n).nonzero()[0, 0].item() + 1)
    return int(np.median(places))


def ranks_of_captions(similarity, image_of_text):
    own = similarity.gather(0, image_of_text[None])
    return (1 + (similarity > own).sum(0)).double().quantile(0.5).floor()


def left_out(answers, predicted, score):
    """The mean over everybody who is left out, by loops: score of how many of the others agree."""
    scores = []
    for said, answer in zip(answers.tolist(), predicted.tolist()):
        scores += [score((said[:k] + said[k + 1:]).count(answer)) for k in range(len(said))]
    return 100 * sum(scores) / len(scores)


def third(n):
    return min(n / 3, 1)


def soft_by_masks(answers, predicted):
    agree = (answers == predicted[:, None]).double()
    others = agree.sum(1, keepdim=True) - agree  # b p: whoever is left out
    return 100 * (others / 3).clamp(max=1).mean()


def agreeing(answers, predicted):
    return (answers == predicted[:, None]).sum(1).double()


def both_by_loop(answer_scores, rationale_scores, answer, rationale):
    hits = sum(int(a.argmax() == n and r.argmax() == m)
               for a, r, n, m in zip(answer_scores, rationale_scores, answer, rationale))
    return 100 * hits / len(answer)


def both_by_ranks(answer_scores, rationale_scores, answer, rationale):
    before = [(s >= s.gather(1, label[:, None])).sum(1) for s, label in
              ((answer_scores, answer), (rationale_scores, rationale))]
    return 100 * (before[0] * before[1] == 1).float().mean()


def of_two(combine):
    return lambda a, r, n, m: 100 * combine((a.argmax(1) == n).double(), (r.argmax(1) == m).double())


def iou_by_loop(boxes, truth):
    result = torch.zeros_like(boxes[:, 0])
    for row, ((a, b, c, d), (e, f, g, h)) in enumerate(zip(boxes, truth)):
        if min(c, g) > max(a, e) and min(d, h) > max(b, f):
            common = (min(c, g) - max(a, e)) * (min(d, h) - max(b, f))
            result[row] = common / ((c - a) * (d - b) + (g - e) * (h - f) - common)
    return result


def iou_by_centres(boxes, truth):
    size, true_size = boxes[:, 2:] - boxes[:, :2], truth[:, 2:] - truth[:, :2]
    distance = ((boxes[:, 2:] + boxes[:, :2]) - (truth[:, 2:] + truth[:, :2])).abs() / 2
    common = torch.minimum(torch.minimum(size, true_size), ((size + true_size) / 2 - distance).relu()).prod(1)
    return common / (size.prod(1) + true_size.prod(1) - common)


def common_and_areas(boxes, truth):
    sides = (torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2])).clamp(min=0)
    return sides.prod(1), *((x[:, 2:] - x[:, :2]).prod(1) for x in (boxes, truth))


def iou_over(formula):
    return lambda boxes, truth: (lambda i, a, t: i / formula(i, a, t))(*common_and_areas(boxes, truth))


def iou_unclipped(boxes, truth):
    common = (torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2])).prod(1)
    return common / (sum((x[:, 2:] - x[:, :2]).prod(1) for x in (boxes, truth)) - common)


def iou_clipped_late(boxes, truth):
    common = (torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2])).prod(1).relu()
    return common / (sum((x[:, 2:] - x[:, :2]).prod(1) for x in (boxes, truth)) - common)


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


RIGHT = {
    "recall_at_k": [recall_by_topk, recall_by_loop, recall_by_numpy, recall_as_an_array,
                    lambda s, k: np.float64(recall_by_loop(s, k))],
    "median_rank": [rank_by_loop, rank_by_sorting],
    "soft_accuracy": [soft_by_masks, lambda answers, predicted: left_out(answers, predicted, third)],
    "answer_and_rationale": [both_by_loop, both_by_ranks],
    "box_iou": [iou_by_loop, iou_by_centres],
}

WRONG = {
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
    "median_rank": {
        "from 0": (lambda s, o: rank_by_loop(s, o) - 1, "counted from 0"),
        "mean": (lambda s, o: ranks_by_loop(s, o).mean(), "mean of the ranks"),
        "not rounded": (lambda s, o: ranks_by_loop(s, o).quantile(0.5), "not rounded down"),
        "rounded up": (lambda s, o: ranks_by_loop(s, o).quantile(0.5).ceil(), "rounded up"),
        "torch.median": (lambda s, o: ranks_by_loop(s, o).median(), "torch.median"),
        "columns": (ranks_of_captions, "direction"),
        "square": (lambda s, o: rank_by_loop(s, torch.arange(s.shape[1])), "image_of_text left out"),
        "worst": (lambda s, o: rank_by_loop(s, o, pick=min, count_own=True), "worst"),
        "first": (lambda s, o: rank_by_loop(s, o, pick=lambda own: own[0], count_own=True), "first of an image's own"),
        "last": (lambda s, o: rank_by_loop(s, o, pick=lambda own: own[-1], count_own=True), "last of an image's own"),
        "least similar": (lambda s, o: rank_by_loop(-s, o), "least similar"),
        "largest": (lambda s, o: ranks_by_loop(s, o).max(), "largest rank"),
        "constant": (lambda s, o: 1, "a constant"),
        "all ranks": (ranks_by_loop, "shape"),
    },
    "soft_accuracy": {
        "nobody left out": (lambda a, p: 100 * (agreeing(a, p) / 3).clamp(max=1).mean(), "nobody left out"),
        "no minimum": (lambda a, p: left_out(a, p, lambda n: n / 3), "no minimum"),
        "neither": (lambda a, p: 100 * (agreeing(a, p) / 3).mean(), "nobody left out"),
        "fraction": (lambda a, p: soft_by_masks(a, p) / 100, "fraction"),
        "share": (lambda a, p: 100 * (a == p[:, None]).double().mean(), "share of the people"),
        "anybody": (lambda a, p: 100 * (agreeing(a, p) > 0).double().mean(), "anybody"),
        "three at least": (lambda a, p: left_out(a, p, lambda n: n >= 3), "Fewer count in part"),
        "majority": (lambda a, p: 100 * (a.mode(1).values == p).double().mean(), "most frequent|mean over questions"),
        "first left out": (lambda a, p: 100 * (agreeing(a[:, 1:], p) / 3).clamp(max=1).mean(), "first person"),
        "last left out": (lambda a, p: 100 * (agreeing(a[:, :-1], p) / 3).clamp(max=1).mean(), "last person"),
        "ten people": (
            lambda a, p: 10 * (agreeing(a, p) * ((agreeing(a, p) - 1) / 3).clamp(max=1)
                               + (10 - agreeing(a, p)) * (agreeing(a, p) / 3).clamp(max=1)).mean(), "ten people",
        ),
        "one each": (lambda a, p: [left_out(a[n:n + 1], p[n:n + 1], third) for n in range(len(a))], "float or a 0-d"),
    },
    "answer_and_rationale": {
        "product": (of_two(lambda a, r: a.mean() * r.mean()), "product"),
        "mean": (of_two(lambda a, r: (a.mean() + r.mean()) / 2), "mean of the two"),
        "minimum": (of_two(lambda a, r: min(a.mean(), r.mean())), "smaller of the two"),
        "answers": (of_two(lambda a, r: a.mean()), "answers alone"),
        "rationales": (of_two(lambda a, r: r.mean()), "rationales alone"),
        "either": (of_two(lambda a, r: (a + r).clamp(max=1).mean()), "one of the two"),
        "equal": (of_two(lambda a, r: (a == r).double().mean()), "both wrong"),
        "given the answer": (of_two(lambda a, r: r[a > 0].mean()), "only among"),
        "fraction": (of_two(lambda a, r: (a * r).mean() / 100), "fraction"),
        "count": (of_two(lambda a, r: (a * r).sum() / 100), "count"),
        "lowest": (lambda a, r, n, m: both_by_loop(-a, -r, n, m), "lowest"),
        "labels swapped": (lambda a, r, n, m: both_by_loop(a, r, m, n), "taken for each other"),
        "scores added": (lambda a, r, n, m: both_by_loop(a + r, a + r, n, m), "added"),
        "each": (of_two(lambda a, r: a * r), "shape"),
    },
    "box_iou": {
        "sum of areas": (iou_over(lambda i, a, t: a + t), "counted twice"),
        "dice": (iou_over(lambda i, a, t: (a + t) / 2), "Dice"),
        "smaller": (iou_over(lambda i, a, t: torch.minimum(a, t)), "smaller area"),
        "larger": (iou_over(lambda i, a, t: torch.maximum(a, t)), "larger area"),
        "own area": (iou_over(lambda i, a, t: a), "`boxes` alone"),
        "true area": (iou_over(lambda i, a, t: t), "true area alone"),
        "unclipped": (iou_unclipped, "below 0"),
        "clipped late": (iou_clipped_late, "height each|below 0"),
        "plus one": (lambda b, t: iou_by_loop(b + torch.tensor([0, 0, 1, 1]), t + torch.tensor([0, 0, 1, 1])), "pixel added"),
        "sizes": (
            lambda b, t: iou_by_loop(*(torch.cat([x[:, :2], x[:, :2] + x[:, 2:]], 1) for x in (b, t))), "width and height",
        ),
        "distance": (lambda b, t: 1 - iou_by_loop(b, t), "distance"),
        "percent": (lambda b, t: 100 * iou_by_loop(b, t), "percent"),
        "intersection": (lambda b, t: common_and_areas(b, t)[0], "intersection itself"),
        "all pairs": (lambda b, t: torch.stack([iou_by_loop(b, x.expand_as(b)) for x in t]), "shape"),
        "mean": (lambda b, t: iou_by_loop(b, t).mean(), "shape"),
    },
}
