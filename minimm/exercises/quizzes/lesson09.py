"""Lesson 09: noisy pairs and momentum distillation."""

import math

from .._question import Choice, Number, Option, Slip

_M = 0.995

QUESTIONS = (
    Choice(
        name="data_for_pretraining",
        lesson="09",
        difficulty=2,
        minutes=3,
        prompt="""What must a data set be like, so that a model such as CLIP or ALBEF can be pre-trained on it and
then be used for many tasks?""",
        options=(
            Option(
                """A great many pairs of a picture and a sentence, of all sorts of things, where the sentence
mostly has to do with the picture.""",
                """Number and variety come first: CLIP has 400 million pairs, looked for with 500,000 queries and
at most about 20,000 pairs a query, so that no subject fills it up. Such numbers exist only on the web, where
sentences leave things out and say what is not to be seen. A model can bear that (and ALBEF's training is made to),
as long as most of it fits.""",
                right=True,
            ),
            Option(
                "Each picture carries one of a fixed list of labels, checked by people.",
                """That is ImageNet, and its list is the trouble: a model learns to tell apart what is on it and
nothing else. A sentence can name anything, together with its colour, its number and what it does. CLIP's features
beat those of the best network then trained with ImageNet's labels on 21 of 27 data sets.""",
            ),
            Option(
                "Each sentence describes its picture completely and says nothing that cannot be seen.",
                """It would be welcome, but people would have to write it: such collections (COCO, Flickr30k) have
about 0.1 million pictures or fewer, and serve for tuning and testing. ALBEF's 14 million pictures are mostly from
the web, noise and all.""",
            ),
            Option(
                "Each thing in a picture has a box around it and a name.",
                """Boxes are what a *detector* learns from, and the models that stand on region features (ViLBERT,
UNITER) need one, which limits them to its categories. CLIP, ViLT and ALBEF learn without boxes.""",
            ),
        ),
    ),
    Choice(
        name="role_of_momentum_distillation",
        lesson="09",
        difficulty=2,
        minutes=3,
        prompt=r"""A picture's text on the web is "polar bear in the [MASK]", and the word that stood there is
*wild*. In ALBEF the loss of the masked word is taken to a mixture $(1 - \alpha)\, y + \alpha\, q$: $y$ is 1 for
*wild* and 0 for all other words, and $q$ is what a moving average of the model itself answers. What is that good
for?""",
        options=(
            Option(
                "A small model learns from a large one, and is faster in the end.",
                """That is what distillation was invented for, but here the teacher has exactly the size of its
student: its weights are an exponential moving average of the student's, nothing else.""",
            ),
            Option(
                "Pairs that do not fit are found and left out.",
                r"""No pair is left out, and the given word keeps its share $1 - \alpha$ of the target. What changes
is what else counts as an answer.""",
            ),
            Option(
                "The moving average changes slowly, so that the features in the queue fit together.",
                """It does, and that is its *other* task, taken over from MoCo: it fills the queue with the
negatives of the contrastive loss. A masked word needs no queue.""",
            ),
            Option(
                """Answers that fit the picture as well (*zoo*, *water*) are no longer punished as wrong ones.""",
                r"""The text of a pair is one of many that would fit. With $y$ alone, *zoo* is as wrong as
*umbrella*, even where the picture shows a zoo; $q$ gives it a share. The same mixture serves the contrastive loss,
where another text of the batch may fit the picture too. (ALBEF takes $\alpha = 0.4$ and lets it grow during the
first epoch, for at the start the average knows nothing.)""",
                right=True,
            ),
        ),
    ),
    Number(
        name="half_life",
        lesson="09",
        difficulty=1,
        minutes=3,
        prompt=rf"""A copy of a model is kept with $m = {_M}$, as in the paper. After how many steps is the share of
the weights with which the run started down to one half?""",
        answer=math.log(2) / -math.log(_M),
        tolerance=2.0,
        unit="steps",
        right=r"""The start counts $m^t$, and $m^t = \frac12$ gives $t = \ln 2 / (-\ln m)$. In a run of a few hundred
steps that is far too long: for a good part of it most of the teacher would be the random weights of the first moment.""",
        wrong="The start is multiplied by $m$ in every step. For which $t$ is $m^t$ one half?",
        slips=(
            Slip(1 / (1 - _M), r"""That is the memory $1 / (1 - m)$, about the mean age of what is in the copy. By then
the start counts $1/e$, less than a half."""),
            Slip(0.5 / (1 - _M), r"""A share of $1 - m$ of the start goes only in the first step; later ones take that
share of what is *left*. So it takes longer."""),
            Slip(math.log(2) / (1 - _M) / math.log(10), "A decimal logarithm? Take the natural one above and below."),
        ),
    ),
)
