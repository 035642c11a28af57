"""Lesson 03: the contrastive loss."""

import math

from .._question import Choice, Number, Option, Slip

QUESTIONS = (
    Number(
        name="doubled_batch",
        lesson="03",
        difficulty=1,
        minutes=3,
        prompt=r"""A model gives all partners in a batch of 256 the same score. Its loss is CLIP's, the mean of both
directions. Somebody doubles the batch to 512. By how many nats does the loss *rise*?""",
        answer=math.log(2),
        tolerance=0.01,
        unit="nats",
        right=r"""$\ln 512 - \ln 256 = \ln 2$. Nothing has become worse: the exam has become harder. Curves of different
batch sizes are compared by how far they lie below chance, not by their height.""",
        wrong=r"""With equal scores every one of $b$ candidates has the probability $1/b$. What is minus the logarithm of it
for the two batches, and how far are they apart?""",
        slips=(
            Slip(math.log(512), "That is the loss itself at 512 pairs. How much of it was there before?"),
            Slip(2 * math.log(2), "That is the rise of the lecture's *sum* of both directions. CLIP takes their mean."),
            Slip(1.0, r"That is the rise in *bits*. Losses here are in nats: natural logarithms."),
            Slip(0.0, r"More candidates with the same score share the same probability of 1: each gets less."),
        ),
    ),
    Choice(
        name="cosine_level",
        lesson="03",
        difficulty=2,
        minutes=3,
        prompt="""Two models rank a gallery in exactly the same way. In model A matched pairs have a cosine of about 0.9 and
others of 0.5; in model B it is 0.3 and 0.1. Which statement follows from the contrastive loss?""",
        options=(
            Option(
                """A has learnt more: its matched pairs are more similar.""",
                r"""The level never reaches the loss: with $0.6$ taken off all of A's cosines, every softmax, and so the
loss, would be the same.""",
            ),
            Option(
                """B has a modality gap, so its loss cannot be as low.""",
                """A gap is a common offset of all cosines between pictures and sentences, and a common offset
cancels in every softmax.""",
            ),
            Option(
                """With the right scale each, both can have the same low loss; only the leads, times the scale, count.""",
                r"""The lead of a matched pair is $0.4$ in A and $0.2$ in B. With twice the scale B's logits differ by as much
as A's.""",
                right=True,
            ),
            Option(
                """A threshold at 0.5 accepts the good pairs of both.""",
                """It would accept nothing in B and nearly everything in A. A cosine has no meaning of its own; a
threshold has to be chosen for one model, on data.""",
            ),
        ),
    ),
    Choice(
        name="accumulated_negatives",
        lesson="03",
        difficulty=2,
        minutes=3,
        prompt="""Your GPU holds 32 pairs. You want the gradient of the loss of 256 pairs, for a CLIP whose towers use layer
normalisation. Which of these gives *exactly* that?""",
        options=(
            Option(
                """Accumulate the gradients of eight batches of 32, then take one step.""",
                """Each part asks "which of 32?". The logits between different parts are never computed, so their
224 negatives a row are missing.""",
            ),
            Option(
                """Accumulate as above, with the learning rate eight times as high.""",
                """The length of a step was not the matter: its direction is that of another loss.""",
            ),
            Option(
                """Keep the features of the last seven batches and use them as negatives.""",
                """That is a queue, as in MoCo. It brings negatives, but old ones, from weights that have changed since,
and no gradient flows through them.""",
            ),
            Option(
                """All features without a graph; the loss's gradient at the features; then each part through the
towers again, with a graph.""",
                """Gradient caching. The loss needs the features of all and the graph of none; the second pass needs
the graph of one part at a time.""",
                right=True,
            ),
        ),
    ),
)
