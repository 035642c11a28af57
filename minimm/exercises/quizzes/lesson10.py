"""Lesson 10: looking inside."""

from .._question import Choice, Number, Option, Slip

#: Of the ViLT that comes with the course; tests/test_explain_weights.py finds it again.
BINDING_HEAD = (3, 1)
COLOUR_HEAD = (1, 3)


def _number(block, head):
    return 4 * block + head


QUESTIONS = (
    Choice(
        name="rows_without_gradient",
        lesson="10",
        difficulty=2,
        minutes=3,
        prompt="""You make ALBEF's Grad-CAM of the word "skull" by the *matching score*, from the last fusion layer, and the
map is black: exactly 0 everywhere. Why?""",
        options=(
            Option(
                """The score is read out at `[CLS]`. Behind the last layer nothing reads the word's row any more, so the score
does not depend on its weights.""",
                """The gradient of a score by something that it does not depend on is 0. One layer earlier the row counts, by way of
what `[CLS]` reads from the word afterwards; or take a score that is read out at the word.""",
                right=True,
            ),
            Option(
                "The model does not know the word.",
                "Then the map would be of noise, not of zeros. And a black map comes for every word.",
            ),
            Option(
                "All gradients are negative, and Grad-CAM cuts them off.",
                "Some would be positive if there were any. Look at them before the cut: they are all exactly 0.",
            ),
            Option(
                "The softmax is saturated: one weight is 1, all others are 0.",
                "The weights of that layer are well spread, as the raw map shows. It is the gradient that is 0.",
            ),
        ),
    ),
    Choice(
        name="convincing_map",
        lesson="10",
        difficulty=1,
        minutes=2,
        prompt="""A paper shows ten pictures with one thing each, and ten maps of its name that lie on the thing. What do you ask
for first, before you believe that the model knows where the thing is?""",
        options=(
            Option(
                "Ten more pictures of the same kind.",
                "They would look the same: whatever is drawn to things passes, known word or not.",
            ),
            Option(
                "A finer colour scale.",
                "A scale shows what is there more clearly, but not whether it has to do with the word.",
            ),
            Option(
                "The attention of all heads.",
                "Of many heads some will look right by chance. That makes a choice among maps possible, and belief harder.",
            ),
            Option(
                "The maps of other words, and of the same network with random weights.",
                """If they lie on the thing as well, the maps show that there is a thing, not that the word was understood. In this
lesson a random ViLT found the thing in most pictures.""",
                right=True,
            ),
        ),
    ),
    Number(
        name="binding_head",
        lesson="10",
        difficulty=2,
        minutes=10,
        prompt=r"""Of ViLT's sixteen heads, which one looks from a colour word at the thing that is meant, rather than at the
other things of that colour, in the largest share of the captions? Answer with $4 \cdot \text{block} + \text{head}$, both
counted from 0.""",
        answer=_number(*BINDING_HEAD),
        tolerance=0.1,
        right="""In the first blocks a colour word knows its colour alone, and no head can tell the two things apart: all are near
50 %. By the last block the word has read its noun. It is also the head that costs most colours when it is taken away.""",
        wrong="""Run the cell above with your function of exercise 3, and look for the largest number. Blocks and heads are counted
from 0.""",
        slips=(
            Slip(_number(*COLOUR_HEAD), """That one has the clearest map: it finds all things of the colour. But it looks at the
meant one no more often than at the other: it sees colours, and does not bind."""),
            Slip(_number(*BINDING_HEAD) + 5, "Counted from 1? Blocks and heads are counted from 0."),
        ),
    ),
    Choice(
        name="shuffled_attention",
        lesson="10",
        difficulty=2,
        minutes=5,
        prompt="""ALBEF fills a hidden icon into a caption, and is right nearly always. Now the places of its last cross-attention
are shuffled, so that its map is nonsense. How often is it right now?""",
        run="Run the cells of *Does it use what it looks at?* (the change is `shuffled`, of the layer `last`).",
        options=(
            Option("As often as before.", "Not quite: the last layer adds something. But the better part of it was known before."),
            Option(
                "Somewhat less often, but in most cases.",
                """The word had read the picture in the first fusion layer, and the skip connection carries that past the last
one. The map of the last layer shows where that layer looks, not where the answer comes from.""",
                right=True,
            ),
            Option("As often as by chance.", "That would be so if the last layer were the only way from the picture to the word."),
        ),
    ),
)
