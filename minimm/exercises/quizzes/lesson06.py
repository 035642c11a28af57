"""Lesson 06: ViLBERT."""

import math

from .._question import Choice, Number, Option, Slip

_TOKENS, _REGIONS, _HEADS = 20, 10, 8
_SCORES = 2 * _TOKENS * (1 + _REGIONS) * _HEADS
_LIKELY = 0.6
_ENTROPY = -sum(p * math.log(p) for p in (_LIKELY, 1 - _LIKELY))

QUESTIONS = (
    Number(
        name="scores_of_co_attention",
        lesson="06",
        difficulty=1,
        minutes=3,
        prompt=f"""A sentence of {_TOKENS} tokens and a picture of {_REGIONS} regions go through one co-attention
layer of ViLBERT with {_HEADS} heads. The whole picture is one region more. How many attention weights does that
layer compute?""",
        answer=_SCORES,
        tolerance=0.5,
        right="""Each token has a weight for each region, each region one for each token, and every head has its own:
$2\\,l\\,(r + 1)\\,h$. It grows with the product of the two lengths; only the self-attentions grow with their
squares.""",
        wrong="""How large is the table of one head in which words are the rows and regions the columns? How many
such tables does a co-attention have, and how many heads?""",
        slips=(
            Slip(_SCORES / 2, "That is one direction. Words read regions, and regions read words."),
            Slip(_SCORES / _HEADS, "That is one head. Every head has weights of its own."),
            Slip(2 * _TOKENS * _REGIONS * _HEADS, "The whole picture is read, and reads, like a region."),
            Slip((_TOKENS + 1 + _REGIONS) ** 2 * _HEADS, "That is one sequence of words and regions."),
            Slip(2 * (_TOKENS + 1 + _REGIONS) * _HEADS, "Every token meets every region: a product, not a sum."),
        ),
    ),
    Choice(
        name="agreed_divergence",
        lesson="06",
        difficulty=2,
        minutes=3,
        prompt="""A detector gives 0.6 to *sun* and 0.4 to *star*. The region is masked, and ViLBERT predicts exactly
that. What does it pay, and in which direction does the gradient on its logits point?""",
        options=(
            Option(
                rf"$-\log 0.6$, about {-math.log(_LIKELY):.2f}: the likeliest name. The gradient asks for more of it.",
                """That is a cross-entropy with a hard target. It would ask for a certainty that the detector does
not have; the target here is the whole distribution.""",
            ),
            Option(
                f"$H(p)$, about {_ENTROPY:.2f}: what no prediction can go below. The gradient is 0.",
                """That is what a cross-entropy with soft targets pays, and its gradient is indeed 0 here. The
Kullback-Leibler divergence has that entropy taken off.""",
            ),
            Option(
                "Nothing, and the gradient is 0.",
                r"""$\mathrm{KL}(p \parallel q) = 0$ if and only if $q = p$, and the gradient is $q - p$. So a loss
of masked regions tells at a glance how far there is to go; a cross-entropy would stand still at a number that is the
detector's, not the model's.""",
                right=True,
            ),
            Option(
                "Nothing, but the gradient goes on pulling towards the likelier class.",
                "At a minimum of a smooth function the gradient is 0. It is $q - p$, number by number.",
            ),
        ),
    ),
    Choice(
        name="co_attention_last",
        lesson="06",
        difficulty=2,
        minutes=6,
        prompt="""With co-attention first, in front of the text blocks 0 and 1, the shipped model lost half of the
masked icons. Now the other way: both co-attentions stand behind the last text block, with the same weights. What
becomes of the masked words?""",
        run="""In the cell that builds `early`, change `text_co=(0, 1)` to `text_co=(4, 4)`, and run from there to the
table of masked words. The line that compares what `[MASK]` reads will change too: find out why.""",
        options=(
            Option(
                "They get as bad as with co-attention first: a model stands any change of its order equally badly.",
                """It suffers, but much less. The queries now come from words that have read their sentence, even
twice as long as they used to.""",
            ),
            Option(
                "Worse than as trained, but far better than with co-attention first.",
                """The queries know their sentence, so that they find their region; what suffers is the rest: the
blocks that should have worked with what was read no longer stand behind it, and the co-attentions get states that
they were not trained on. Reading first matters more than the exact place.""",
                right=True,
            ),
            Option(
                "Better than as trained: more words are read before the picture is.",
                """More reading is not what the weights were trained for. The last two blocks learnt to work with
words that have seen the picture, and now nobody passes on what was seen.""",
            ),
            Option(
                "They fall to what one gets without looking: nothing stands behind the co-attentions.",
                """The head that names words stands behind them, and it gets what was read. Only the blocks in
between are gone from there.""",
            ),
        ),
    ),
)
