"""Retrieval: rank the sentences for a picture and the pictures for a sentence."""

from collections import Counter, defaultdict
from typing import NamedTuple

import torch

from .._errors import expect
from ..scenes import fits


class Recall(NamedTuple):
    """Recall at 1, 5, 10 in percent, and the median and mean rank, counted from 1."""

    r1: float
    r5: float
    r10: float
    median: float
    mean: float


class Retrieval(NamedTuple):
    """`text`: the sentences are ranked for every picture; `image`: the pictures are ranked for every sentence."""

    text: Recall
    image: Recall


def recall(ranks):
    """The measures of a vector of ranks that count from 0.

    The median is rounded down before 1 is added, as the authors of VSE++ do it.
    """
    expect(len(ranks) > 0, "ranks", "none", "at least one")
    ranks = torch.as_tensor(ranks, dtype=torch.float64)
    below = [100 * (ranks < k).double().mean().item() for k in (1, 5, 10)]
    return Recall(*below, ranks.quantile(0.5).floor().item() + 1, ranks.mean().item() + 1)


def belonging(similarity, image_of_text=None):
    """(image_of_text `t`, which pairs belong together: `i t` of bool); arguments and errors as for `ranks`."""
    expect(similarity.ndim == 2 and similarity.numel() > 0, "similarity", f"shape {tuple(similarity.shape)}",
           "a matrix `i t`, not empty")
    expect(not similarity.isnan().any(), "similarity", "NaN", "numbers")
    pictures, texts = similarity.shape
    if image_of_text is None:
        expect(pictures == texts, "similarity", f"shape {tuple(similarity.shape)}",
               "a square matrix, or image_of_text to say which picture each sentence belongs to")
        image_of_text = torch.arange(texts)
    image_of_text = torch.as_tensor(image_of_text, device=similarity.device)
    expect(image_of_text.shape == (texts,), "image_of_text", f"shape {tuple(image_of_text.shape)}", f"({texts},)")
    own = image_of_text == torch.arange(pictures, device=similarity.device)[:, None]
    expect(bool(own.any(1).all()), "image_of_text", "a picture without a sentence", "at least one for each")
    return image_of_text, own


def ranks(similarity, image_of_text=None):
    """(ranks of the best own sentence for every picture, ranks of the own picture for every sentence), from 0.

    similarity `i t`; image_of_text `t`: the picture that each sentence belongs to (default: sentence k to picture k).
    A wrong candidate that is as similar as the right one counts as ranked before it: a model that finds all pairs
    equally good gets nothing. Raises ValueError if the shapes do not fit or a picture has no sentence.
    """
    image_of_text, own = belonging(similarity, image_of_text)
    best = similarity.masked_fill(~own, float("-inf")).amax(1, keepdim=True)
    of_picture = ((similarity >= best) & ~own).sum(1)
    of_text = ((similarity >= similarity.gather(0, image_of_text[None])) & ~own).sum(0)
    return of_picture, of_text


def retrieval(similarity, image_of_text=None):
    """Retrieval from a similarity matrix `i t`; arguments as for `ranks`."""
    of_picture, of_text = ranks(similarity, image_of_text)
    return Retrieval(recall(of_picture), recall(of_text))


def best_possible(captions, scenes):
    """R@1 in percent, (text, image), of somebody who sees and reads perfectly: several scenes can fit a caption.

    captions: one a scene, `scenes.Caption`. Among n candidates that fit equally well the best one can do is to guess.
    """
    expect(len(captions) == len(scenes), "captions", len(captions), f"one for each of the {len(scenes)} scenes")
    by_icons = defaultdict(list)  # only scenes of the same icons can fit
    for k, scene in enumerate(scenes):
        by_icons[tuple(sorted(t.icon for t in scene.things))].append(k)
    fitting = [[k for k in by_icons[tuple(sorted(m.icon for m in caption.mentions))] if fits(caption, scenes[k])]
               for caption in captions]
    of_scene = Counter(k for scenes_that_fit in fitting for k in scenes_that_fit)
    text = sum(1 / of_scene[k] for k in range(len(scenes))) / len(scenes)
    image = sum(1 / len(scenes_that_fit) for scenes_that_fit in fitting) / len(captions)
    return 100 * text, 100 * image
