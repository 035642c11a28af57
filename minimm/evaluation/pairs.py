"""Retrieval with models that read picture and sentence together: no embeddings, every pair is scored.

    score = scorer(model, data, ids)
    retrieval(score_pairs(score, torch.ones(100, 100, dtype=torch.bool)))  # all pairs of a small gallery
    reranked(*rerank(score, similarity, k))  # in a large one those that a first stage found similar
    ceiling(similarity, k)  # how good that can get at best

The first stage is a model with two towers, or ALBEF's own cosines (Li et al. 2021, ALBEF, section 5).

Letters: i pictures, t texts, m pairs.
"""

from functools import singledispatch

import torch

from .._errors import expect
from ..models.albef import ALBEF
from ..models.vilbert import ViLBERT
from ..models.vilt import ViLT, ViLTRetrieval
from ..scenes.tasks import to
from .embed import evaluating
from .retrieval import Retrieval, belonging, ranks, recall


@singledispatch
def match(model, picture, ids):
    """How well pictures and sentences match, pair by pair: `m`. picture: mapping of tensors; ids `m l`.

    Raises TypeError for a model that it does not know.
    """
    raise TypeError(f"model: expected a ViLT, ViLTRetrieval, ViLBERT or ALBEF, but got a {type(model).__name__}")


@match.register(ViLT)
def vilt_match(model, picture, ids):
    logits = model(picture["images"], ids, picture.get("sizes")).matching_logits
    return logits[:, 1] - logits[:, 0]


@match.register(ViLTRetrieval)
def vilt_rank(model, picture, ids):
    return model(picture["images"], ids[:, None], picture.get("sizes"))[:, 0]


@match.register(ViLBERT)
def vilbert_match(model, picture, ids):
    return model.score(ids=ids, **{name: t for name, t in picture.items() if name != "region_classes"})


@match.register(ALBEF)
def albef_match(model, picture, ids):
    """Every picture is encoded anew for every pair. With its own cosines as the first stage, `ALBEF.rerank` gives the
    same scores sooner."""
    return model(picture["images"], ids).matching_logits[:, 1]


def scorer(model, data, ids, see=None):
    """A function of pairs, (numbers of pictures `m`, of texts `m`) -> `m`, for `score_pairs` and `rerank`.

    ids `t l`: the texts; see: what the model sees of the scenes (default: `data.see`). The model scores in evaluation
    mode and gets its own back. Raises what `match` raises.
    """
    see = see or data.see

    @torch.no_grad()
    def score(pictures, texts):
        with evaluating(model) as device:
            return match(model, to(see(pictures), device), ids[texts].to(device)).float().cpu()

    return score


def score_pairs(score, wanted, size=250):
    """The scores of wanted pairs, `size` at a time: `i t`, -inf for all others.

    score: as `scorer` returns it; wanted `i t` of bool. Raises ValueError if no pair is wanted.
    """
    expect(wanted.ndim == 2 and wanted.dtype == torch.bool and bool(wanted.any()), "wanted",
           f"{wanted.dtype}, shape {tuple(wanted.shape)}", "bool `i t`, at least one of them True")
    pairs = wanted.nonzero()
    found = torch.cat([score(*part.unbind(1)) for part in pairs.split(size)])
    return found.new_full(wanted.shape, float("-inf")).masked_scatter(wanted, found)


def _best(similarity, k):
    # (which texts are among the k best for each picture, which pictures for each text), both `i t` of bool
    expect(1 <= k <= min(similarity.shape), "k", k, f"1 to {min(similarity.shape)}, the number of candidates")
    return tuple(torch.zeros_like(similarity, dtype=torch.bool).scatter(d, similarity.topk(k, dim=d).indices, True)
                 for d in (1, 0))


def rerank(score, similarity, k, size=250):
    """The second stage: (scores of the texts for every picture `i t`, scores of the pictures for every text `t i`).

    similarity `i t`: of the first stage, on the CPU. What is not among its k best has -inf: the last rank, all of it.
    Raises ValueError unless k is 1 to the number of candidates.
    """
    for_picture, for_text = _best(similarity, k)
    scores = score_pairs(score, for_picture | for_text, size)  # a pair that both want is scored once
    return scores.masked_fill(~for_picture, float("-inf")), scores.masked_fill(~for_text, float("-inf")).T


def reranked(of_picture, of_text, image_of_text=None):
    """Retrieval from the two matrices of `rerank`, or the last two of `ALBEF.rerank`; image_of_text as for `ranks`.

    Its mean rank says little: what was not scored shares the last one.
    """
    return Retrieval(recall(ranks(of_picture, image_of_text)[0]), recall(ranks(of_text.T, image_of_text)[1]))


def ceiling(similarity, k, image_of_text=None):
    """For how many the right one is among the k best of the first stage, in percent: (text, image). No second stage can
    find more."""
    _, own = belonging(similarity, image_of_text)
    for_picture, for_text = _best(similarity, k)
    return tuple(100 * (best & own).any(d).double().mean().item() for best, d in ((for_picture, 1), (for_text, 0)))
