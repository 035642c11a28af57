"""Lesson 01: tasks and how success at them is measured."""

from .._question import Number, Slip

_RANKS = (1, 3, 12, 2, 7)


def _recall(k):
    return 100 * sum(rank <= k for rank in _RANKS) / len(_RANKS)


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
)
