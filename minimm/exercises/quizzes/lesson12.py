"""Lesson 12: outlook."""

import math

from .._question import Choice, Number, Option, Slip

_BETA = 0.02
_STEPS = math.ceil(math.log(0.5) / math.log(1 - _BETA))

QUESTIONS = (
    Number(
        name="noise_outweighs",
        lesson="12",
        difficulty=2,
        minutes=5,
        prompt=rf"""A schedule has the same $\beta = {_BETA}$ in every step. After how many steps does the noise outweigh the
signal for the first time, $\mathrm{{SNR}} < 1$?""",
        answer=_STEPS,
        tolerance=0.4,
        unit="steps",
        right=rf"""$\mathrm{{SNR}} = \bar\alpha/(1 - \bar\alpha)$ is 1 where $\bar\alpha = 1/2$, and $\bar\alpha_t = (1 - \beta)^t$. So
$t = \ln 2 / (-\ln(1 - \beta)) \approx 0.69/\beta$, rounded up: a half-life, as of what decays.""",
        wrong=r"""Where is $\bar\alpha/(1 - \bar\alpha)$ equal to 1? And what is $\bar\alpha_t$ when all betas are the same?""",
        slips=(
            Slip(0.5 / _BETA, r"You added the betas up. Each step takes its share of what is *left*: multiply $(1 - \beta)$."),
            Slip(1 / _BETA, r"That is where the betas add up to 1. Each step takes its share of what is left."),
            Slip(2 * _STEPS, r"Is there one root too many? $\bar\alpha$ itself must be 1/2, not $\sqrt{\bar\alpha}$."),
            Slip(math.ceil(math.log(0.25) / math.log(1 - _BETA)),
                 r"There $\sqrt{\bar\alpha} = 1/2$. The ratio is one of variances: $\bar\alpha$ itself must be 1/2."),
            Slip(_STEPS - 1, "One more: there the signal is still just ahead."),
        ),
    ),
    Choice(
        name="frozen_and_queries",
        lesson="12",
        difficulty=2,
        minutes=3,
        prompt="""BLIP-2 keeps its picture encoder and its language model frozen. Between them stand 32 learnt queries, which read the
picture by cross-attention. Why not hand all the patches of the picture on to the language model?""",
        options=(
            Option(
                "A language model cannot read vectors, only words, and the queries turn the picture into words.",
                """What they give are vectors, projected to the width of the language model's word embeddings, and no words. A
transformer reads any vectors of its width.""",
            ),
            Option(
                "Because gradients cannot flow through a frozen model.",
                """They can: its weights are not changed, but what it computes is differentiable, and in the second stage the loss of
the frozen language model is what trains the queries.""",
            ),
            Option(
                "So that picture and sentence meet in an inner product only, as in CLIP.",
                """Then one vector would do. The queries' answers become tokens in front of the question, and the language model's
self-attention mixes them with its words in every layer.""",
            ),
            Option(
                """Because 32 vectors are a bottleneck: whatever the size of the picture, the queries must fetch what says something
about the *text*, and the language model has only 32 tokens more to read.""",
                """Their first training asks just for that: contrastive loss, matching and captioning, the three losses of lesson 08
under other names. Attention costs the square of the length, so 32 instead of hundreds of patches also saves the large model time.""",
                right=True,
            ),
        ),
    ),
)
