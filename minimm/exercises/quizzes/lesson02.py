"""Lesson 02: architectures."""

from .._question import Choice, Option

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
                """How heavy is what reads each modality, evenly or not? And how closely do the modalities work
together behind it?""",
                """The first (even or uneven) decides mostly about cost: a detector in front of ViLBERT takes most
of its time. The second (disentangled or entangled) decides about what is possible: with one inner product all
pictures can be indexed in advance, but questions and reasoning need layers in which words and picture meet.""",
                right=True,
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
        ),
    ),
)
