"""Right and wrong ways to do the exercise of lesson 00."""

import torch
import torch.nn.functional as F


def unit_by_loop(features):
    rows = []
    for row in features:
        length = sum(x * x for x in row) ** 0.5
        rows.append(row / length)
    return torch.stack(rows)


def unit_by_columns(features):
    return (features.T / torch.einsum("b d, b d -> b", features, features).sqrt()).T  # not contiguous


def unit(x, dim=-1):
    return F.normalize(x, dim=dim)


RIGHT = {
    "unit_length": [unit_by_loop, unit_by_columns, lambda features: F.normalize(features.double(), dim=1).to(features)],
}

WRONG = {
    "unit_length": {
        "columns": (lambda f: f / f.norm(dim=0, keepdim=True), "wrong axis"),
        "squared": (lambda f: f / f.pow(2).sum(dim=1, keepdim=True), "square root"),
        "root too many": (lambda f: f / f.norm(dim=1, keepdim=True).sqrt(), "root too many"),
        "l1": (lambda f: f / f.abs().sum(dim=1, keepdim=True), "L1"),
        "sum": (lambda f: f / f.sum(dim=1, keepdim=True), "sum of the entries"),
        "maximum": (lambda f: f / f.abs().amax(dim=1, keepdim=True), "largest entry"),
        "whole matrix": (lambda f: f / f.norm(), "whole matrix"),
        "rms": (lambda f: F.rms_norm(f, f.shape[1:], eps=0), "mean square"),
        "multiplied": (lambda f: f * f.norm(dim=1, keepdim=True), "multiplied"),
        "softmax": (lambda f: f.softmax(dim=1), "softmax"),
        "standardised": (lambda f: (f - f.mean(1, keepdim=True)) / f.std(1, correction=0, keepdim=True), "standardised"),
        "lengths": (lambda f: f.norm(dim=1), "lengths themselves"),
        "rows reversed": (lambda f: unit(f).flip(0), "points"),
        "sign lost": (lambda f: unit(f).abs(), "points"),
        "squeezed": (lambda f: unit(f).squeeze(), "shape"),
        "first row's length": (lambda f: f / f[0].norm(), "length 1"),
        "large epsilon": (lambda f: f / (f.norm(dim=1, keepdim=True) + 1e-4), "epsilon"),
        "half precision": (lambda f: unit(f.bfloat16()).to(f), "precision|length 1"),
    },
}
