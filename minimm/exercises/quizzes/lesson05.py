"""Lesson 05: CLIP."""

from .._question import Choice, Number, Option, Slip

_CLASSES, _PROMPTS, _PICTURES = 1_000, 80, 50_000

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
                """It looks for the most similar picture among those that it was trained on, and takes the breed
from there.""",
                """It keeps no pictures, only weights. And the pictures that it was trained on came with sentences,
not with labels.""",
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
        ),
    ),
    Number(
        name="sentences_to_read",
        lesson="05",
        difficulty=2,
        minutes=3,
        prompt=f"""CLIP classifies the {_PICTURES:,} pictures of ImageNet's validation set into {_CLASSES:,} classes, with an
ensemble of {_PROMPTS} prompts for each class. How many sentences go through the text tower?""",
        answer=_CLASSES * _PROMPTS,
        tolerance=1,
        unit="sentences",
        right="""Each class has its prompts, read once. After the averaging one row a class is left, and a picture costs a pass
through the picture tower and a product with those rows, whether there were eighty prompts or one.""",
        wrong="""Does the text tower see anything of a picture? How many different sentences are there then, and how often
must each of them be read?""",
        slips=(
            Slip(_CLASSES * _PROMPTS * _PICTURES, """That is what a model pays that reads picture and sentence *together*
(ViLT, ViLBERT). CLIP's features of sentences do not depend on the picture."""),
            Slip(_CLASSES, "That is the number of rows of the classifier, after the averaging. What was averaged had to be read."),
            Slip(_PICTURES, "Those are the passes through the picture tower."),
            Slip(_CLASSES * _PROMPTS + _PICTURES, "Those are the passes through both towers. How many are the text tower's?"),
            Slip(_CLASSES * _PICTURES, "Those are the cosines that are compared. A cosine is no pass through a tower."),
            Slip(_PROMPTS, "So many for *each* class: its name goes into all of them."),
        ),
    ),
    Choice(
        name="size_by_words",
        lesson="05",
        difficulty=2,
        minutes=3,
        prompt="""A linear probe reads the *size* of a thing off CLIP's picture feature nearly always. Zero-shot, by "a small
..." against "a large ...", guesses. Which explanation agrees with both?""",
        options=(
            Option(
                "The picture tower does not see the size.",
                "Then the probe could not read it: all that a probe has is the feature of the picture.",
            ),
            Option(
                "The probe is cleverer than the words: it is not linear, while a zero-shot classifier is.",
                """Both are linear in the picture's feature. The one has its rows from labelled pictures, the other from the
text tower.""",
            ),
            Option(
                """Sentences with "small" and with "large" have nearly the same text feature: hardly a batch needed them to
differ.""",
                r"""With $\hat T \approx \hat T'$ the two logits are nearly equal for *every* picture. A sentence is found among
those of its batch by icons and colours already, so the loss is low without the size. What is in the picture's feature
stays out of the words' reach.""",
                right=True,
            ),
            Option(
                "The ensemble has too few prompts: an average over more of them would be far above chance.",
                """An average of features that do not differ does not differ. More prompts help where single wordings err in
different directions.""",
            ),
        ),
    ),
)
