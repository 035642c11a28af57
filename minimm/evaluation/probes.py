"""Linear probes: what can be read off a frozen feature by one linear layer (Radford et al. 2021, section 3.2).

Good retrieval does not prove that a model sees: a layout of colours may be enough. A probe asks for one attribute at
a time. Icon, colour and size can be several in a scene, so the probe predicts for each value whether it is there, and is
asked for as many values as there are; background and count are one value a scene.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .._errors import expect
from ..scenes import BACKGROUNDS, COLOURS, ICONS, SIZES

#: Attribute -> its values.
ATTRIBUTES = {"icon": tuple(ICONS), "colour": tuple(COLOURS), "size": tuple(SIZES), "background": tuple(BACKGROUNDS),
              "count": (1, 2, 3, 4)}


class Probe(NamedTuple):
    """accuracy, in percent, and what one gets without looking (the most frequent values), in percent."""

    accuracy: float
    chance: float


def values(scene, attribute):
    """The set of values of an attribute in a scene."""
    if attribute == "background":
        return {scene.background}
    if attribute == "count":
        return {len(scene.things)}
    return {getattr(thing, attribute) for thing in scene.things}


def presence(scenes, attribute):
    """Which values of an attribute are there: `b v` of 0 and 1."""
    expect(attribute in ATTRIBUTES, "attribute", repr(attribute), f"one of {', '.join(ATTRIBUTES)}")
    options = ATTRIBUTES[attribute]
    return torch.tensor([[float(v in there) for v in options] for there in (values(s, attribute) for s in scenes)])


def found(scores, targets):
    """Of the values that are there, the share (in percent) among the best scored, as many as there are: `b v`."""
    place = scores.argsort(1, descending=True).argsort(1)
    return 100 * ((place < targets.sum(1, keepdim=True)) * targets).sum().item() / targets.sum().item()


def logistic_regression(features, targets, penalty=1e-6, iterations=200):
    """Weights `d v` and biases `v` of one independent logistic regression a value, by L-BFGS, in float64.

    features `b d`; targets `b v` of 0 and 1; penalty: half of it times the sum of squared weights is added to the loss
    (on held-out training scenes a hundred times as much hides what is there, and less brings next to nothing).
    """
    weight = torch.zeros(features.shape[1], targets.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(targets.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(features @ weight + bias, targets) + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return weight.detach(), bias.detach()


def linear_scores(features, targets, others):
    """Scores `n v` of other features `n d` by logistic regressions that are fitted to features `b d` and targets `b v` of 0
    and 1. Both are standardised by mean and spread of the features that are fitted to."""
    mean, spread = features.mean(0), features.std(0) + 1e-6
    x, other = (((part - mean) / spread).double().cpu() for part in (features, others))
    weight, bias = logistic_regression(x, targets.double())
    return other @ weight + bias


def probe(train, test, attribute):
    """Fit a probe on one part and score it on another: Probe.

    train, test: (features `b d`, scenes) of frozen features. Raises ValueError if the lengths differ.
    """
    for name, (features, scenes) in (("train", train), ("test", test)):
        expect(len(features) == len(scenes) > 0, name, f"{len(features)} features, {len(scenes)} scenes",
               "one feature for each scene, at least one")
    y, y_test = (presence(scenes, attribute).double() for _, scenes in (train, test))
    without_looking = y.mean(0).expand_as(y_test)
    return Probe(found(linear_scores(train[0], y, test[0]), y_test), found(without_looking, y_test))
