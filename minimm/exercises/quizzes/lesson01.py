"""Lesson 01: tasks and how success at them is measured."""

from .._question import Choice, Number, Option, Slip

_RANKS = (1, 3, 12, 2, 7)


def _recall(k):
    return 100 * sum(rank <= k for rank in _RANKS) / len(_RANKS)


_ANSWERS, _RATIONALES = 70, 80  # right ones, in percent

QUESTIONS = (
    Number(
        name="recall_by_hand",
        lesson="01",
        difficulty=1,
        minutes=3,
        prompt=f"""Five pictures look for their captions among 1,000. Each picture has one right caption, and a model
puts it at these ranks (1 is the most similar of all): {", ".join(map(str, _RANKS))}. What is R@5 (*recall at 5*)?""",
        answer=_recall(5),
        tolerance=0.05,
        unit="%",
        right="""R@5 is the share of the queries whose right answer is among the first five. It asks only whether
it is there, so rank 2 and rank 5 count the same, and rank 7 counts as little as rank 700: the median rank tells
what recalls leave out.""",
        wrong="""Go through the five pictures one by one: is the right caption among the first five? Then take the
share of pictures for which it is, in percent.""",
        slips=(
            Slip(_recall(5) / 100, "That is a fraction; the answer is asked for in percent, as papers print it."),
            Slip(sum(rank <= 5 for rank in _RANKS), """That is how many pictures find their caption; which share of all
pictures is it?"""),
            Slip(100 - _recall(5), """That is the share of the misses. Count the pictures whose caption *is* among
the first five."""),
            Slip(_recall(1), """That is R@1: only those pictures whose caption comes first. At 5, the first five
places count."""),
            Slip(_recall(10), "That is R@10: a caption at rank 7 is not among the first five."),
            Slip(_recall(5) / 5, """Divided by 5 once too often? With one right caption a picture is a hit or not;
how many places were looked at is no longer asked. (Divided by them, it would be a precision.)"""),
        ),
    ),
    Number(
        name="least_of_both",
        lesson="01",
        difficulty=2,
        minutes=3,
        prompt=f"""A model gets {_ANSWERS} % of the answers right (Q → A) and {_RATIONALES} % of the rationales
(QA → R), of the same questions. Nothing more is known. What is the *least* that Q → AR can be?""",
        answer=_ANSWERS + _RATIONALES - 100,
        tolerance=0.5,
        unit="%",
        right="""The questions with a wrong answer and those with a wrong rationale can at most be all different ones,
and the rest has both right. The most it can be is the smaller of the two shares, and what it would be by chance is their
product: three numbers far apart, so Q → AR has to be counted, it does not follow.""",
        wrong="""Let the mistakes in answers and the mistakes in rationales meet as seldom as they can. For which share of the
questions is nothing wrong then?""",
        slips=(
            Slip(_ANSWERS * _RATIONALES / 100, """That is the product: what it is if answer and rationale have nothing
to do with each other. They may also avoid each other."""),
            Slip(min(_ANSWERS, _RATIONALES), """That is the most it can be: whenever the answer is right, the rationale is
too."""),
            Slip((_ANSWERS + _RATIONALES) / 2, "That is the mean of the two; no question is half right here."),
            Slip(0, "Then every question would have a mistake. Are there enough mistakes for all of them?"),
        ),
    ),
    Choice(
        name="what_seeing_adds",
        lesson="01",
        difficulty=2,
        minutes=2,
        prompt="""On a collection for visual entailment (three labels, equally frequent) a model reads picture and sentence
and gets 68 % right. Trained with every picture replaced by black it gets 66 %. What do the two numbers say?""",
        options=(
            Option(
                "The sentences give away nearly all of what it gets right; what seeing adds is 2 points.",
                """That is what the run with black pictures is for. Whether the 2 points are more than chance depends on the
number of examples, and whether more could be seen at all on the collection: one that people have evened out, such as the
second VQA, asks harder.""",
                right=True,
            ),
            Option(
                "The model sees well: guessing would give 33 %.",
                """Guessing is the yardstick for who neither sees nor reads. Most of the way from 33 % is covered with eyes
closed, by the sentences alone.""",
            ),
            Option(
                "Pictures do not matter for entailment.",
                """They matter for *this model on this collection* no more than that. The label follows from the picture by
its definition, and somebody who looks could get nearly all of it right.""",
            ),
            Option(
                "The run with black pictures is not fair, since the model was made for pictures.",
                """It was trained anew without them, so it had every chance to make the best of the sentences. It would be
unfair to take the pictures away only in the test, from a model that relies on them.""",
            ),
        ),
    ),
)
