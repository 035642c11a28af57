"""Right and wrong ways to do the exercises of lesson 04."""

import torch
import torch.nn.functional as F


def unit(x, dim=-1):
    return F.normalize(x, dim=dim)


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


RIGHT = {
    "masked_hinges": [masked_by_product, masked_by_loop],
    "hardest_gradient": [hinge_gradient_of(both_maxima), hinge_gradient_by_loop],
    "semi_hard_hinges": [semi_hard_by_loop, semi_hard_by_sorting, lambda s, m: hinge_of(s, m, easier(s))],
    "order_violation": [violation_by_loop, violation_by_halves],
}

WRONG = {
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
        "no margin": (lambda i, t, m: hinge_gradient_by_loop(i, t, 0.0), "margin left out"),
        "margin subtracted": (lambda i, t, m: hinge_gradient_by_loop(i, t, -m), "margin subtracted"),
        "through a normalisation": (hinge_gradient_of(lambda i, t, m: both_maxima(F.normalize(i, dim=1), t, m)), "normalisation"),
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
