"""Lesson 01: Q -> AR of VCR."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words


def _case(seed, questions, choices, about=""):
    rng = np.random.default_rng(seed)
    answer, rationale = rng.integers(choices, size=(2, questions))
    one, other = (rng.normal(size=(questions, choices)) for _ in range(2))
    one[np.arange(questions), answer] += 1.2
    other[np.arange(questions), rationale] += 0.8
    return Case({"answer_scores": one, "rationale_scores": other, "answer": answer, "rationale": rationale}, about)


def _cases():
    return [
        _case(9, 23, 4), _case(2, 11, 4), _case(3, 17, 4), _case(4, 9, 3, "three choices"),
        _case(5, 14, 5, "five choices"), _case(6, 4, 4), _case(7, 31, 4), _case(8, 19, 4),
    ]


def _right(scores, label):
    return scores.argmax(axis=1) == label


def _expected(answer_scores, rationale_scores, answer, rationale):
    hits = 0
    for one, other, a, r in zip(answer_scores, rationale_scores, answer, rationale):
        hits += one[a] == max(one) and other[r] == max(other)
    return np.array(100 * hits / len(answer))


def _of_two(combine):
    """A slip: what is made of the two vectors that say which questions are right."""
    return lambda answer_scores, rationale_scores, answer, rationale: 100 * combine(
        _right(answer_scores, answer), _right(rationale_scores, rationale))


_tell = number_in_words(
    "the result must be the percentage of the questions whose answer is right and whose rationale is right as well",
    ("low", "high"), (0, 100, "the result is a percentage of the questions and lies between 0 and 100"))


EXERCISE = Exercise(
    name="answer_and_rationale",
    lesson="01",
    difficulty=1,
    minutes=10,
    prompt="""Write `answer_and_rationale(answer_scores, rationale_scores, answer, rationale)`: VCR's Q -> AR.

`answer_scores` and `rationale_scores` (both `b c`) hold a model's scores for the c answers and the c rationales of b
questions; it chooses the highest. `answer` and `rationale` (`b`, whole numbers) say which are right. Return, as a float or
a 0-d tensor, the percentage of the questions for which both choices are right. No two scores of a row are equal.""",
    hints=(
        "First a vector of `b` yes or no: is the answer that the model chooses the right one? Then the same for the rationale.",
        "`scores.argmax(dim=1) == label` is that vector. When are both right?",
        "`&` joins two vectors of bool element by element; the mean of the joined vector (as floats) is the share.",
    ),
    solution='''
def answer_and_rationale(answer_scores, rationale_scores, answer, rationale):
    answered = answer_scores.argmax(dim=1) == answer
    explained = rationale_scores.argmax(dim=1) == rationale
    return 100 * (answered & explained).double().mean()
''',
    fact="Nothing is got for half of it: with four choices each, guessing reaches 25 % of the answers and 25 % of the "
    "rationales, but 6.25 % of both.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the product of the two accuracies? That is what it would be if the two had nothing to do with each other.",
         _of_two(lambda a, r: a.mean() * r.mean())),
        ("the mean of the two accuracies?", _of_two(lambda a, r: (a.mean() + r.mean()) / 2)),
        ("the smaller of the two accuracies? They need not be right on the same questions.",
         _of_two(lambda a, r: min(a.mean(), r.mean()))),
        ("the answers alone (Q -> A)?", _of_two(lambda a, r: a.mean())),
        ("the rationales alone (QA -> R)?", _of_two(lambda a, r: r.mean())),
        ("one of the two is enough? Both must be right.", _of_two(lambda a, r: (a | r).mean())),
        ("both right or both wrong? Only the first counts.", _of_two(lambda a, r: (a == r).mean())),
        ("only among the questions whose answer is right?", _of_two(lambda a, r: (a & r).sum() / max(1, a.sum()))),
        ("a fraction; was it to be percent?", _of_two(lambda a, r: (a & r).mean() / 100)),
        ("a count; was it to be percent?", _of_two(lambda a, r: (a & r).sum() / 100)),
        ("the lowest score chosen instead of the highest?",
         lambda answer_scores, rationale_scores, answer, rationale: 100 * np.mean(
             _right(-answer_scores, answer) & _right(-rationale_scores, rationale))),
        ("the two labels taken for each other?",
         lambda answer_scores, rationale_scores, answer, rationale: 100 * np.mean(
             _right(answer_scores, rationale) & _right(rationale_scores, answer))),
        ("the two scores added before the choice? Answer and rationale are chosen one by one.",
         lambda answer_scores, rationale_scores, answer, rationale: 100 * np.mean(
             _right(answer_scores + rationale_scores, answer) & _right(answer_scores + rationale_scores, rationale))),
    ),
    tell=_tell,
    plain_number=True,
)
