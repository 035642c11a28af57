"""From attention to maps: what looks at what, said in several ways, each with its equation.

Letters: b pairs, h heads, q queries, k keys, d channels. s and q are also the two modalities of Chefer et al. 2021,
"Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers" (here "Chefer"), whose
rules 5 to 11 stand at their lines. A is a layer's attention weights `... h q k`, G their gradient: d score / d A.
Half precision is computed in float32, as a product of many small numbers is not kept by it.
"""

import torch

from ..objectives.contrastive import single


def attention(weights, head=None):
    """The weights themselves, of one head or the mean of all: `... h q k -> ... q k`. Every row sums to 1."""
    return single(weights).mean(-3) if head is None else single(weights)[..., head, :, :]


def attention_gradient(weights, gradients, head=None):
    """mean_h (G * A), signed: what would raise the score if it got more weight, and (below 0) what would lower it.
    `... h q k -> ... q k`."""
    return attention(single(gradients) * single(weights), head)


def grad_cam(weights, gradients, head=None):
    """mean_h (max(0, G) * A): ALBEF's Grad-CAM (Li et al. 2021, figure 4 and its code), `... h q k -> ... q k`.

    Since A >= 0 it is also mean_h max(0, G * A): Chefer's rule 5, what relevancy goes on with. Each head is clamped before the
    mean: heads that speak against do not take away from those that speak for.
    """
    return attention((single(gradients) * single(weights)).clamp(min=0), head)


def grad_cam_by_heads(weights, gradients):
    """max(0, mean_h (mean(G_h) * A_h)): the Grad-CAM that Chefer compare with. A head has one weight, the mean of its gradient
    over all queries and keys, and the clamp comes last: not the same as `grad_cam`. `... h q k -> ... q k`."""
    return (single(gradients).mean((-2, -1), keepdim=True) * single(weights)).mean(-3).clamp(min=0)


def grad_cam_of_convolution(features, gradients):
    """max(0, sum_d mean(G_d) * A_d): Grad-CAM (Selvaraju et al. 2017, equations 1 and 2). features, the output of a
    convolution, and their gradient `b d h w -> b h w`: a channel counts by its mean gradient over all places."""
    weight = single(gradients).mean((-2, -1), keepdim=True)
    return (weight * single(features)).sum(-3).clamp(min=0)


def rollout(layers):
    """A_L ... A_2 A_1 with A = rows of (mean_h A + identity), normalised to 1: attention followed through the layers, the
    skip connections counted as half (Abnar and Zuidema 2020). layers: weights `... h q q`, the first layer first; later ones
    are multiplied from the left. `... q q`."""
    result = None
    for weights in layers:
        step = attention(weights)
        step = step + torch.eye(step.shape[-1], dtype=step.dtype, device=step.device)
        step = step / step.sum(-1, keepdim=True)
        result = step if result is None else step @ result
    return result


def rollout_across(own, cross, other):
    """R_ss^T A R_qq: rollout from one modality to the other (Chefer's baseline). cross `... h s q`: the last layer between them;
    own, other: weights `... h s s`, `... h q q` of the self-attention of both in front of it, first layers first, if there is
    any. `... s q`."""
    across = attention(cross)
    if own:
        across = rollout(own).mT @ across
    return across @ rollout(other) if other else across


def normalised(relevancy):
    """R^ + I, R^ = rows of (R - I), normalised to 1 (Chefer, rules 8 and 9): `... s s`. A row of R that is still the identity's,
    where no self-attention came before, has no R^: 0 instead of 0 / 0 (as the authors do for DETR)."""
    identity = torch.eye(relevancy.shape[-1], dtype=relevancy.dtype, device=relevancy.device)
    gained = relevancy - identity
    total = gained.sum(-1, keepdim=True)
    return gained / torch.where(total == 0, 1, total) + identity


def relevancy(steps, sizes):
    """How much each position of a modality matters to each position of another, through all layers: a mapping
    (s, q) -> R_sq `... s q`; R_ss starts as the identity, R_sq as 0.

    steps: the layers in the order of computation, each a mapping (s, q) -> the layer's `grad_cam` `... s q` (rule 5), with
    queries of s and keys of q: {(s, s)} for self-attention, {(s, q)} for cross-attention, {(s, q), (q, s)} for
    co-attention, whose additions all come from what was before. sizes: (s, q) -> an empty R `... s q` of zeros.
    """
    R = {(s, q): zeros + (torch.eye(zeros.shape[-1], dtype=zeros.dtype, device=zeros.device) if s == q else 0)
         for (s, q), zeros in sizes.items()}
    for step in steps:
        added = []
        for (s, q), A in step.items():
            if s == q:
                added += [((s, r), A @ R[s, r]) for s_, r in R if s_ == s]  # rules 6 and 7
            else:
                added += [((s, q), normalised(R[s, s]).mT @ A @ normalised(R[q, q])),  # rule 10
                          ((s, s), A @ R[q, s])]  # rule 11
        for pair, addition in added:
            R[pair] = R[pair] + addition
    return R


def text_relevance(relevancy, end):
    """CLIP's words (Chefer): the row of the end-of-text token `end` `b`, from the first word to the last, normalised to 1, and 0
    for the start token and from the end on: `b l l -> b l`."""
    row = relevancy[torch.arange(len(end), device=end.device), end]
    place = torch.arange(row.shape[1], device=end.device)
    row = row * ((place > 0) & (place < end[:, None]))
    total = row.sum(1, keepdim=True)
    return row / torch.where(total == 0, 1, total)


def patch_similarity(places, sentence):
    """The cosine of every place of a picture with a sentence, both in the common space: places `b n e`, sentence `b e`: `b n`.
    CLIP trained the class token's alone; its places never had to answer to a sentence."""
    return torch.einsum("bne,be->bn", torch.nn.functional.normalize(single(places), dim=-1),
                        torch.nn.functional.normalize(single(sentence), dim=-1))
