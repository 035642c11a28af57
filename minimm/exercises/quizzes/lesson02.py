"""Lesson 02: architectures."""

from .._question import Choice, Number, Option, Slip

_READ, _PAIR = 1.2, 3e-6  # milliseconds: reading a picture and its text, comparing a pair

QUESTIONS = (
    Choice(
        name="core_differences",
        lesson="02",
        difficulty=1,
        minutes=2,
        prompt="""VSE++, CLIP, ViLBERT and ViLT all read a picture and a sentence. Kim et al. (2021) order such
models by two questions, and their answers tell a good deal of what a model can do and what it costs. Which two?""",
        options=(
            Option(
                "Is the model a CNN or a transformer? Was it trained on few pairs or on many?",
                """These change how good a model is, not what kind it is: VSE++ with a vision transformer in place
of its CNN, trained on a hundred times as many pairs, still compares two vectors by an inner product, and still
cannot answer a question about a picture.""",
            ),
            Option(
                "Which tasks is it for? And is it tuned for each of them or used zero-shot?",
                """Tasks follow from the architecture more than they define it. ViLT does retrieval, question
answering and reasoning with one body and a small head each, and ViLBERT is reported zero-shot as well as tuned.""",
            ),
            Option(
                """Does it look at the picture as regions, as a grid or as patches? And does it read words or
pieces of words?""",
                """That is about the form of the input. Regions matter because of what finds them (a heavy
detector), which is a part of the first question; but ViLT and CLIP both cut the picture into patches, and are of
different kinds.""",
            ),
            Option(
                """How heavy is what reads each modality, evenly or not? And how closely do the modalities work
together behind it?""",
                """The first (even or uneven) decides mostly about cost: a detector in front of ViLBERT takes most
of its time. The second (disentangled or entangled) decides about what is possible: with one inner product all
pictures can be indexed in advance, but questions and reasoning need layers in which words and picture meet.""",
                right=True,
            ),
        ),
    ),
    Number(
        name="pairs_outweigh_reading",
        lesson="02",
        difficulty=2,
        minutes=3,
        prompt=rf"""A model with two towers reads a picture and its sentence in {_READ} ms and compares a pair in
${_PAIR * 1e6:g} \times 10^{{-6}}$ ms. Every sentence is to find its picture among $N$ of them. From which $N$ on does
comparing take longer than reading?""",
        answer=_READ / _PAIR,
        tolerance=0.01 * _READ / _PAIR,
        right=r"""Reading takes $N r$, comparing $N^2 m$: equal where $N = r / m$. Below it two towers are as good
as linear, and above it they are quadratic too. What a model that reads pairs together has is not another law but
another $m$.""",
        wrong="Reading takes $N$ times one number, comparing $N^2$ times the other. Where are the two equal?",
        slips=(
            Slip((_READ / _PAIR) ** 0.5, "Is the root needed? One $N$ cancels: $N r = N^2 m$."),
            Slip(1000 * _READ / _PAIR, "Are both numbers in milliseconds?"),
        ),
    ),
    Choice(
        name="which_measure",
        lesson="02",
        difficulty=2,
        minutes=2,
        prompt="""ViLT's text embedder holds nearly ten times as many parameters as its picture embedder, and needs no
multiplication at all. How can that be?""",
        options=(
            Option(
                "It is a table with a row for each word: a row is looked up, not multiplied.",
                """A vocabulary of 30,522 words in 768 numbers each is 23 million parameters, and a sentence
touches a few dozen rows of it. Parameters say what must be stored, operations what must be computed: a map of models
depends on which one it draws.""",
                right=True,
            ),
            Option(
                "Its parameters are shared with the transformer behind it, which does the work.",
                "They are not shared: the table of words is the embedder's, and the transformer has its own matrices.",
            ),
            Option(
                "The counter does not count operations of text.",
                "It counts products of matrices, wherever they are: in CLIP's text tower it finds plenty.",
            ),
            Option(
                "A sentence has fewer tokens than a picture has patches.",
                "That makes text cheaper than a picture, but nothing that multiplies becomes free by few tokens.",
            ),
        ),
    ),
)
