"""Lesson 08: ALBEF."""

from .._question import Choice, Number, Option, Slip

_PICTURES, _PERCENT = 5000, 2
_LONGEST = (2 * _PERCENT / 100) ** 0.5 * _PICTURES

QUESTIONS = (
    Number(
        name="own_in_queue",
        lesson="08",
        difficulty=2,
        minutes=5,
        prompt=f"""You have {_PICTURES:,} pictures, and every epoch goes through them in a new random order. At most
{_PERCENT} % of the queries, on average, may meet an older key of their own among the negatives of the queue. How
many keys may the queue hold?""",
        answer=_LONGEST,
        tolerance=40,
        unit="keys",
        right=r"""$\frac{K^2}{2N^2} = 0.02$ gives $K = 0.2\,N$. The share grows with the square of the length: with
twice as many keys, four times as many queries would meet their own.""",
        wrong=r"""As long as $K \le N$ the share is $\frac{K^2}{2N^2}$. Set it to what is allowed, and solve for
$K$.""",
        slips=(
            Slip(_PERCENT / 100 * _PICTURES, r"""That would be right if the own key could be of any age up to an
epoch, all alike. But it is an epoch old on average, and young ones are rare: the share goes with the square of
$K$."""),
            Slip((_PERCENT / 100) ** 0.5 * _PICTURES, r"Nearly: where is the 2 of $\frac{K^2}{2N^2}$?"),
            Slip(_PICTURES, "Then half of all queries meet their own."),
        ),
    ),
    Choice(
        name="one_candidate",
        lesson="08",
        difficulty=1,
        minutes=3,
        prompt="""Re-ranking takes the $k$ best by cosine and scores them again with the matching head. What is R@1
after re-ranking with $k = 1$?""",
        options=(
            Option(
                "That of the cosines alone, exactly.",
                """One candidate has no order to be changed: whatever the matching head says of it, it stays first. R@1
is then the first stage's, and so is its ceiling, recall at 1.""",
                right=True,
            ),
            Option(
                "That of the matching head alone, if it scored all pairs.",
                """For that $k$ would have to be the whole gallery. With one candidate the head has nothing to choose
from.""",
            ),
            Option(
                "Lower than that of the cosines: a candidate that the head refuses is thrown out.",
                """A refusal is a low logit, and a low logit only costs places among candidates that were scored too.
There is no other one.""",
            ),
            Option(
                "Higher than that of the cosines: two opinions are better than one.",
                "Two opinions help where they can disagree about an order. What order do they disagree about here?",
            ),
        ),
        run="Run `found(1)` in a new cell, and compare with `found(None)`, the cosines alone.",
    ),
    Choice(
        name="albef_is_fast",
        lesson="08",
        difficulty=2,
        minutes=3,
        prompt="""ALBEF answers questions better than VILLA, and more than ten times faster, although its vision
transformer is no small network. Where does it save the time?""",
        options=(
            Option(
                "Picture and sentence never meet in a network: one inner product compares them.",
                """That is CLIP. ALBEF compares by an inner product *first* (to align), but then six layers of
cross-attention read both; without them it could not answer a question.""",
            ),
            Option(
                "Its queue of momentum features replaces large batches.",
                """The queue gives the contrastive loss more negatives, so it helps in training, where memory would
otherwise limit the batch. When a question is answered, there is no queue.""",
            ),
            Option(
                "It was trained on fewer pairs than others.",
                """That is about training, and it is only half true: 14 million pictures are far fewer than ALIGN's
1.2 billion, but more than VILLA had. How long an answer takes does not depend on it.""",
            ),
            Option(
                """There is no object detector in front: the picture's patches go straight into the vision
transformer.""",
                """UNITER and VILLA wait for a Faster R-CNN, which reads the picture in high resolution, proposes
regions and sorts them out one by one; by Kim et al.'s measure it takes most of such a model's time. A vision
transformer reads the patches in one pass, and is trained together with the rest.""",
                right=True,
            ),
        ),
    ),
)
