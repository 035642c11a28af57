"""Right and wrong ways to do the exercises of lesson 09."""

import torch
import torch.nn.functional as F


def path_by_shares(weights, m):
    """Each row by the closed form: no loop hands anything on."""
    rows = []
    for i in range(len(weights)):
        age = i - torch.arange(i + 1, dtype=weights.dtype)
        share = torch.tensor(float(m), dtype=weights.dtype) ** age  # 0 ** 0 is 1
        share[1:] *= 1 - m
        rows.append(share @ weights[: i + 1])
    return torch.stack(rows)


def path_by_lerp(weights, m, start=None, order=False):
    path = weights.clone()
    if start is not None:
        path[0] = start
    for i in range(1, len(path)):
        path[i] = torch.lerp(weights[i - order], path[i - 1], m)
    return path


def keys_of(texts, queue):
    return torch.hstack([texts.T, queue])


def believed(images, texts, queue, temperature, dim=1):
    return F.softmax(images @ keys_of(texts, queue) / temperature, dim)


def targets_by_fill(images, texts, queue, temperature, alpha):
    target = alpha * believed(images, texts, queue, temperature)
    n = torch.arange(len(images))
    target[n, n] += 1 - alpha
    return target


def targets_by_loop(images, texts, queue, temperature, alpha):
    rows = []
    for n, image in enumerate(images.double()):
        scores = torch.cat([texts.double() @ image, image @ queue.double()]) / temperature
        row = alpha * (scores - scores.logsumexp(0)).exp()
        row[n] = row[n] + 1 - alpha
        rows.append(row)
    return torch.stack(rows).to(images.dtype)


def mixed(belief, alpha):
    return alpha * belief + (1 - alpha) * torch.eye(*belief.shape, dtype=belief.dtype)


def gradient_by_fill(logits, teacher_logits, truth, alpha):
    slope = logits.softmax(-1) - alpha * teacher_logits.softmax(-1)
    slope[torch.arange(len(truth)), truth] -= 1 - alpha
    return slope / len(truth)


def gradient_by_autograd(logits, teacher_logits, truth, alpha):
    leaf = logits.clone().requires_grad_()
    log_p, n = leaf.log_softmax(-1), torch.arange(len(truth))
    loss = -(1 - alpha) * log_p[n, truth] - alpha * (teacher_logits.softmax(-1) * log_p).sum(-1)
    return torch.autograd.grad(loss.mean(), leaf)[0]


def target_of(teacher_logits, truth, alpha):
    hard = torch.zeros_like(teacher_logits).scatter_(1, truth[:, None], 1)
    return alpha * teacher_logits.softmax(1) + (1 - alpha) * hard


def entropy(target):
    return torch.special.entr(target).sum(-1)


def floor_by_entr(teacher_logits, truth, alpha):
    return entropy(target_of(teacher_logits, truth, alpha)).mean()


def floor_by_loop(teacher_logits, truth, alpha):
    total = 0.0
    for row in target_of(teacher_logits.double(), truth, alpha).tolist():
        total -= sum(y * torch.tensor(y, dtype=torch.float64).log().item() for y in row if y > 0)
    return total / len(truth)


def log_of_the_target(teacher_logits, truth, alpha):
    target = target_of(teacher_logits, truth, alpha)
    return -(target * target.log()).sum(1).mean()


RIGHT = {
    "momentum_path": [path_by_shares, path_by_lerp],
    "pseudo_targets": [targets_by_fill, targets_by_loop],
    "distillation_gradient": [gradient_by_fill, gradient_by_autograd],
    "loss_floor": [floor_by_entr, floor_by_loop],
}

WRONG = {
    "momentum_path": {
        "m and 1 - m": (lambda w, m: path_by_lerp(w, 1 - m), "swapped"),
        "from zero": (lambda w, m: path_by_lerp(w, m, 0.0), "zeros"),
        "a first step from zero": (lambda w, m: path_by_lerp(w, m, (1 - m) * w[0]), "counted with 1 - m"),
        "old weights": (lambda w, m: path_by_lerp(w, m, order=True), "step before"),
        "the student": (lambda w, m: w.clone(), "handed back|first row"),
        "plain mean": (lambda w, m: w.cumsum(0) / torch.arange(1, len(w) + 1)[:, None], "plain mean"),
        "no 1 - m": (lambda w, m: torch.stack([m ** i * w[0] + sum(m ** (i - j) * w[j] for j in range(1, i + 1))
                                               for i in range(len(w))]), "1 - m left out"),
        "two last": (lambda w, m: torch.cat([w[:1], m * w[:-1] + (1 - m) * w[1:]]), "two last"),
        "from the start": (lambda w, m: torch.cat([w[:1], m * w[:1] + (1 - m) * w[1:]]), "mixed with the start"),
        "the end alone": (lambda w, m: path_by_lerp(w, m)[-1], "shape"),
        "without the start": (lambda w, m: path_by_lerp(w, m)[1:], "shape"),
        "backwards": (lambda w, m: path_by_lerp(w.flip(0), m).flip(0), "start|first row"),
    },
    "pseudo_targets": {
        "alpha and 1 - alpha": (lambda i, t, q, s, a: targets_by_fill(i, t, q, s, 1 - a), "swapped"),
        "multiplied": (lambda i, t, q, s, a: targets_by_fill(i, t, q, 1 / s, a), "multiplied"),
        "no temperature": (lambda i, t, q, s, a: targets_by_fill(i, t, q, 1.0, a), "temperature left out"),
        "columns": (lambda i, t, q, s, a: mixed(believed(i, t, q, s, 0), a), r"\(columns\)"),
        "no softmax": (lambda i, t, q, s, a: mixed(i @ keys_of(t, q) / s, a), "no softmax"),
        "logits mixed": (lambda i, t, q, s, a: mixed(i @ keys_of(t, q) / s, a).softmax(1), "before the softmax"),
        "no queue": (lambda i, t, q, s, a: mixed((i @ t.T / s).softmax(1), a), "shape"),
        "queue first": (lambda i, t, q, s, a: targets_by_fill(i, t, q, s, a).roll(q.shape[1], 1), "queue in front"),
        "texts ask": (lambda i, t, q, s, a: targets_by_fill(t, t, q, s, a), "question is a picture's"),
        "pictures as keys": (lambda i, t, q, s, a: targets_by_fill(i, i, q, s, a), "own features among the keys"),
        "belief alone": (lambda i, t, q, s, a: believed(i, t, q, s), "belief alone"),
        "truth alone": (lambda i, t, q, s, a: mixed(believed(i, t, q, s), 0), "truth alone"),
        "likeliest": (lambda i, t, q, s, a: mixed(F.one_hot(believed(i, t, q, s).argmax(1), len(t) + q.shape[1]).to(i), a),
                      "likeliest key"),
        "truth whole": (lambda i, t, q, s, a: a * believed(i, t, q, s) + torch.eye(len(i), len(i) + q.shape[1], dtype=i.dtype),
                        "added whole, without 1 - alpha"),
        "bool": (lambda i, t, q, s, a: targets_by_fill(i, t, q, s, a) > 0.5, "dtype"),
    },
    "distillation_gradient": {
        "no mean": (lambda p, q, t, a: gradient_by_fill(p, q, t, a) * len(t), "division by n"),
        "mean over all": (lambda p, q, t, a: gradient_by_fill(p, q, t, a) / p.shape[1], "n v"),
        "sign": (lambda p, q, t, a: -gradient_by_fill(p, q, t, a), "sign"),
        "alpha": (lambda p, q, t, a: gradient_by_fill(p, q, t, 1 - a), "swapped"),
        "no teacher": (lambda p, q, t, a: gradient_by_fill(p, q, t, 0), "without a teacher"),
        "no truth": (lambda p, q, t, a: gradient_by_fill(p, q, t, 1), "without the truth"),
        "truth's part": (lambda p, q, t, a: (1 - a) * gradient_by_fill(p, q, t, 0), "only the truth's part"),
        "teacher's part": (lambda p, q, t, a: a * gradient_by_fill(p, q, t, 1), "only the teacher's part"),
        "both whole": (lambda p, q, t, a: gradient_by_fill(p, q, t, 0) + gradient_by_fill(p, q, t, 1), "both parts whole"),
        "no softmax": (lambda p, q, t, a: (p - target_of(q, t, a)) / len(t), "student's logits"),
        "teacher bare": (lambda p, q, t, a: gradient_by_fill(p, q, t, a) + a * (q.softmax(1) - q) / len(t), "teacher's logits"),
        "hard teacher": (lambda p, q, t, a: gradient_by_fill(p, F.one_hot(q.argmax(1), q.shape[1]).log().to(p), t, a), "likeliest word"),
        "swapped": (lambda p, q, t, a: gradient_by_fill(q, p, t, a), "teacher and student swapped"),
        "loss": (lambda p, q, t, a: -(target_of(q, t, a) * p.log_softmax(1)).sum(1).mean(), "shape"),
    },
    "loss_floor": {
        "teacher": (lambda q, t, a: entropy(q.softmax(1)).mean(), "teacher alone"),
        "share of it": (lambda q, t, a: a * entropy(q.softmax(1)).mean(), "do not add up"),
        "cross-entropy": (lambda q, t, a: -(target_of(q, t, a) * q.log_softmax(1)).sum(1).mean(), "in place of the entropy"),
        "alpha": (lambda q, t, a: floor_by_entr(q, t, 1 - a), "swapped"),
        "sum": (lambda q, t, a: floor_by_entr(q, t, a) * len(t), "mean"),
        "mean over all": (lambda q, t, a: floor_by_entr(q, t, a) / q.shape[1], "vocabulary as well"),
        "bits": (lambda q, t, a: floor_by_entr(q, t, a) / torch.tensor(2.0).log().item(), "bits"),
        "sign": (lambda q, t, a: -floor_by_entr(q, t, a), "negative"),
        "mean first": (lambda q, t, a: entropy(target_of(q, t, a).mean(0)), "mean target"),
        "NaN": (log_of_the_target, "log 0"),
        "zero": (lambda q, t, a: 0.0, "constant|zero"),
        "uniform": (lambda q, t, a: torch.tensor(float(q.shape[1])).log(), "largest entropy"),
        "a row each": (lambda q, t, a: entropy(target_of(q, t, a)), "shape"),
    },
}
