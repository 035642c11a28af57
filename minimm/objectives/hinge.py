"""Hinges: a pair has to be more alike, by a margin, than the wrong pairs (Faghri et al. 2018, VSE++).

Both losses are SUMS over the batch, as in the authors' code (the paper writes a mean): with twice the batch the
gradient is twice as long, and so is the step of an optimiser that does not divide by it.
"""

import torch

from .._errors import expect


def order_similarity(images, texts):
    """-||max(0, text - image)||: 0 where no number of the sentence is larger than the picture's, else less.

    images `i d`, texts `t d -> i t`. A sentence says less than the picture shows, it stands above the picture in the
    order (Vendrov et al. 2016). As VSE++'s authors have it: the norm, not its square. Makes `i t d` numbers on the way.
    """
    expect(images.ndim == texts.ndim == 2 and images.shape[1] == texts.shape[1], "images and texts",
           f"shapes {tuple(images.shape)} and {tuple(texts.shape)}", "`i d` and `t d` of one width")
    excess = (texts[None] - images[:, None]).clamp(min=0)  # i t d
    # Where the order holds the norm is 0. Its gradient is then 0 too; that of a written-out root would be 0 / 0.
    return -torch.linalg.vector_norm(excess, dim=-1)


def hinges(scores, margin, index=None):
    """What every wrong pair costs: (wrong sentences for a picture, wrong pictures for a sentence), both `b b`.

    scores `b b`, a row a picture, a column a sentence; the diagonal holds the pairs. index `b`: number of the picture
    of each pair. Two captions of one picture that meet in a batch punish each other; the authors let them. With `index`
    they cost nothing. Raises ValueError unless the matrix is square with at least two pairs, or for a negative margin.
    """
    expect(scores.ndim == 2 and scores.shape[0] == scores.shape[1], "scores", f"shape {tuple(scores.shape)}",
           "a square matrix `b b`")
    # Alone in its batch a pair has no wrong partner: the loss would be 0 and teach nothing.
    expect(len(scores) > 1, "scores", f"a batch of {len(scores)}", "at least two pairs, as each needs a negative")
    expect(margin >= 0, "margin", margin, "0 or more")
    right = scores.diagonal()
    texts = (margin + scores - right[:, None]).clamp(min=0)
    images = (margin + scores - right[None, :]).clamp(min=0)
    index = torch.arange(len(scores), device=scores.device) if index is None else index
    expect(index.shape == right.shape, "index", f"shape {tuple(index.shape)}", f"({len(scores)},)")
    # Cleared after the hinge: in front of it the pair itself would count as a negative and cost the margin.
    own = index[:, None] == index[None, :]
    return texts.masked_fill(own, 0), images.masked_fill(own, 0)


def sum_of_hinges(scores, margin=0.2, index=None):
    """All wrong pairs count: 0-d. Arguments and errors as for `hinges` (the paper's SH loss, "VSE0")."""
    texts, images = hinges(scores, margin, index)
    return texts.sum() + images.sum()


def max_of_hinges(scores, margin=0.2, index=None):
    """Only the hardest wrong pair of each picture and of each sentence counts: 0-d (the paper's MH loss, "VSE++").

    If all scores are the same the loss is 2 * margin * b: a run that stays there has collapsed, and its gradient is too
    weak to leave. It happens early in training and with small batches; start with `sum_of_hinges`.
    """
    texts, images = hinges(scores, margin, index)
    # The hardest sentence stands in the picture's row, the hardest picture in the sentence's column. `max` sends the
    # gradient to one of several that are equally hard, `amax` would share it out.
    return texts.max(1).values.sum() + images.max(0).values.sum()
