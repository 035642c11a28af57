"""Lesson 11: the lecture in numbers."""

from ...evaluation.published import published
from .._question import Choice, Option

_TEXT = {name: figures[0] for name, figures in published("text retrieval", "Flickr30k").items()}
_COCO = {name: figures[0] for name, figures in published("text retrieval", "MS-COCO, 1,000 pictures").items()}
_ZERO = {name: figures[0] for name, figures in published("text retrieval, zero-shot", "Flickr30k").items()}
_DEV, _STANDARD = published("VQA", "VQA 2, test-dev"), published("VQA", "VQA 2, test-standard")
_MILLIONS = published("million pairs")

QUESTIONS = (
    Choice(
        name="fair_comparison",
        lesson="11",
        difficulty=2,
        minutes=4,
        prompt="""Four pairs of figures stand in the tables above. From which of them may one conclude the most about the two
*models*?""",
        options=(
            Option(
                f"Questions: ViLT {_DEV['ViLT']} and VinVL {_DEV['VinVL']} on VQA 2, test-dev.",
                """The same questions, the same split, both fine-tuned, answers from the same list. Even here more than the
architecture differs: the data of pre-training, the detector and what it had learnt from. A fair row is one where you can *name*
what differs.""",
                right=True,
            ),
            Option(
                f"Text retrieval, R@1: VSE++ {_COCO['VSE++']} on MS-COCO, ViLT {_TEXT['ViLT']} on Flickr30k.",
                """Two galleries of 1,000 pictures, but of other pictures with other captions. On Flickr30k VSE++ has another number
than on MS-COCO, and on MS-COCO's gallery of 5,000 pictures it has a third one.""",
            ),
            Option(
                f"Text retrieval on Flickr30k, R@1: ALBEF {_ZERO['ALBEF']} zero-shot, UNITER {_TEXT['UNITER']} fine-tuned.",
                """The same gallery, but not the same help: UNITER was tuned on Flickr30k's training split. That the *harder* condition
has the larger number does say something; how much is due to which part, it does not.""",
            ),
            Option(
                f"Questions: ALBEF {_STANDARD['ALBEF']} on test-standard, ViLT {_DEV['ViLT']} on test-dev.",
                """Two sets of questions, scored by the same formula. They are drawn alike, so that the numbers are close to each
other for one model; but a difference of a point or two may come from the questions.""",
            ),
        ),
    ),
    Choice(
        name="zero_shot_and_pairs",
        lesson="11",
        difficulty=3,
        minutes=5,
        prompt=f"""Zero-shot on Flickr30k ALBEF finds the right caption first for {_ZERO['ALBEF']} % of the pictures, ALIGN for
{_ZERO['ALIGN']} %. ALBEF saw {_MILLIONS['ALBEF']} million pairs, ALIGN {_MILLIONS['ALIGN']:,} million. What follows?""",
        options=(
            Option(
                "More pairs do not help any more.",
                """Two models that differ in everything cannot tell. Within ALBEF they do help: its own table gives 4 million pictures
beside 14 million, and the larger set wins in every column.""",
            ),
            Option(
                "Strong interaction makes up for a factor of more than eighty in data.",
                """It is one of the things that differ: ALBEF ranks by its towers and re-ranks by its fusion, as our second stage does.
But there is another one, which the table does not say.""",
            ),
            Option(
                """Less than it seems: one would have to know whether ALBEF had been tuned on anything like Flickr30k before.""",
                """It had. For this row the authors take the model that was fine-tuned on MS-COCO: 5 captions a picture, written by
people to the same instructions as Flickr30k's. *Zero-shot* says that Flickr30k was not seen, not that nothing like it was. Readers
who ran the pre-trained model alone, at its smaller resolution, found about 88 (issues 3 and 29 of the authors' repository).""",
                right=True,
            ),
            Option(
                "Flickr30k was among the pairs that ALBEF was trained on.",
                """It was not: COCO and Visual Genome, SBU and Conceptual Captions were. A leak would be the end of the comparison,
which is why one asks; here the answer is no.""",
            ),
        ),
    ),
)
