"""Lesson 05: CLIP."""

from .._question import Choice, Option

QUESTIONS = (
    Choice(
        name="zero_shot_transfer",
        lesson="05",
        difficulty=1,
        minutes=2,
        prompt="""CLIP was never trained to tell breeds of dogs apart. Still it can be asked which of 30 breeds a
picture shows, without a single labelled example. How?""",
        options=(
            Option(
                """A linear layer on its image features learns the 30 classes from a few labelled pictures each.""",
                """That is a *linear probe*: it needs labels. Zero-shot means that the task comes with none; what
it does come with are the names of the classes.""",
            ),
            Option(
                """It writes a sentence about the picture, and the first breed that occurs in it is the answer.""",
                """CLIP cannot write. Its text tower turns a given sentence into a vector, and all it can do with
it is compare.""",
            ),
            Option(
                """Each name becomes a sentence ("a photo of a beagle, a type of dog"). The class whose sentence is
most similar to the picture wins.""",
                r"""The text tower *writes the classifier*: row $c$ of its weights is the unit-length feature of the
sentence for class $c$, and $p(c) \propto \exp(\langle I, T_c \rangle / \tau)$, the training's own softmax with
classes in the place of captions. So it works as far as captions on the web have talked about such things: well for
dogs, badly for counting or for tumours.""",
                right=True,
            ),
            Option(
                """It looks for the most similar picture among those that it was trained on, and takes the breed
from there.""",
                """It keeps no pictures, only weights. And the pictures that it was trained on came with sentences,
not with labels.""",
            ),
        ),
    ),
)
