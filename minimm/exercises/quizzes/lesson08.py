"""Lesson 08: ALBEF."""

from .._question import Choice, Option

QUESTIONS = (
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
                """There is no object detector in front: the picture's patches go straight into the vision
transformer.""",
                """UNITER and VILLA wait for a Faster R-CNN, which reads the picture in high resolution, proposes
regions and sorts them out one by one; by Kim et al.'s measure it takes most of such a model's time. A vision
transformer reads the patches in one pass, and is trained together with the rest.""",
                right=True,
            ),
            Option(
                "It was trained on fewer pairs than others.",
                """That is about training, and it is only half true: 14 million pictures are far fewer than ALIGN's
1.2 billion, but more than VILLA had. How long an answer takes does not depend on it.""",
            ),
        ),
    ),
)
