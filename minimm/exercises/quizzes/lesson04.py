"""Lesson 04: hard negatives."""

from .._question import Choice, Number, Option, Slip

_BATCH, _MARGIN = 64, 0.2
_COLLAPSED = 2 * _MARGIN * _BATCH

QUESTIONS = (
    Number(
        name="collapsed_loss",
        lesson="04",
        difficulty=1,
        minutes=2,
        prompt=f"""VSE++ is trained with the max of hinges, summed over a batch of {_BATCH} pairs, and a margin of
{_MARGIN}. The loss falls for a while and then stands still: the model says the same of every picture and every sentence.
At which value does it stand?""",
        answer=_COLLAPSED,
        tolerance=0.05,
        right="""All scores are the same, so every hinge is the margin itself, and each pair has two of them: one that
looks for a wrong sentence and one that looks for a wrong picture. A loss that comes to rest at $2mB$ has learnt to say
nothing.""",
        wrong="""If all scores are the same, what is left of one hinge, $[m - s_{ii} + s_{ij}]_+$? How many hinges does the
max keep of a batch?""",
        slips=(
            Slip(_COLLAPSED * (_BATCH - 1), "That is the sum of hinges. The max keeps one hinge in each direction."),
            Slip(_COLLAPSED / 2, "That is one direction: pictures look for sentences, and sentences for pictures."),
            Slip(_COLLAPSED / _BATCH, "That is the mean over the batch. The authors sum, and so does the course."),
            Slip(_MARGIN, "That is a single hinge. How many of them does a batch have?"),
            Slip(0.0, "A loss of 0 would mean that every right pair leads by the margin. Here all scores are the same."),
        ),
    ),
    Choice(
        name="above_the_collapse",
        lesson="04",
        difficulty=2,
        minutes=3,
        prompt=rf"""A new model has a max of hinges of {1.08 * _COLLAPSED:.1f}, where $2mB$ is {_COLLAPSED:.1f}; no hinge is 0.
Which small change of all its scores lowers that loss?""",
        options=(
            Option(
                "To stretch all differences between the scores by the same factor.",
                r"""The loss is $2mB + \lambda D$, and here $D$ is above 0: stretched differences make it *larger*. The
hardest wrong ones are ahead of the right ones, and would be further ahead.""",
            ),
            Option(
                "To shrink all differences between the scores by the same factor.",
                r"""The loss is $2mB + \lambda D$ with $D$ above 0, so it falls as $\lambda$ does, down to $2mB$ at
$\lambda = 0$. That is the way into the collapse, and it is open until the right pair is ahead of the hardest wrong
one on average.""",
                right=True,
            ),
            Option(
                "To add the same number to all scores.",
                "A hinge sees differences only: the same number added to the right and to the wrong score goes.",
            ),
            Option(
                "None: the model has already collapsed.",
                "A collapsed model stands at $2mB$ to all digits. This one still tells things apart, but wrongly.",
            ),
        ),
    ),
    Choice(
        name="short_warm_start",
        lesson="04",
        difficulty=2,
        minutes=6,
        prompt="""The warm start of this lesson gives the sum of hinges as many steps as it needs. What becomes of a run
from scratch that changes to the max after 60 steps already, when the sum has fallen by about half?""",
        options=(
            Option(
                "It learns as well, only a little later: once right pairs lead on average, nothing can go wrong.",
                """To lead the *average* wrong one is what the sum asks for. The max compares with the hardest of the
batch, and that one is still ahead after 60 steps.""",
            ),
            Option(
                "It collapses: the hardest negatives are still ahead of the right pairs.",
                r"""Look at the ratio of the run at step 60: it is far above 1, higher even than at the start, since the
sum has spread the scores before it has put them right. From there the max presses them together again, and the loss
comes down towards $2mB$.""",
                right=True,
            ),
            Option(
                "It diverges: the loss jumps at the change, and so does the gradient.",
                """The loss *falls* at the change, from a sum over 63 hinges to one, and the gradient's length is
clipped. Nothing diverges.""",
            ),
        ),
        run="Run `attempt(VSEConfig(warm_up=60))` in a new cell, and look at what the loss comes to rest at.",
    ),
)
