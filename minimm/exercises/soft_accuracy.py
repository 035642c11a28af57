"""Lesson 01: VQA's accuracy with ten annotators who need not agree."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words


def _case(seed, questions, people, about=""):
    """Questions on which some agree and some do not; the prediction is right, half right or wrong."""
    rng = np.random.default_rng(seed)
    answers = np.stack([rng.choice(6, size=people, p=rng.dirichlet([0.5] * 6)) for _ in range(questions)])
    predicted = np.where(rng.random(questions) < 0.8, answers[np.arange(questions), rng.integers(people, size=questions)],
                         rng.integers(6, size=questions))
    return Case({"answers": answers, "predicted": predicted}, about)


def _cases():
    one_of_each = np.array([[1] * n + [2] * (10 - n) for n in range(5)])
    return [
        _case(1, 13, 10),
        Case({"answers": one_of_each, "predicted": np.ones(5, np.int64)}, "0, 1, 2, 3 and 4 of the people agree"),
        _case(2, 8, 10),
        _case(3, 24, 10),
        _case(4, 9, 6, "six people"),
        _case(5, 1, 10, "a single question"),
        _case(6, 15, 4, "four people"),
        Case({"answers": np.full((3, 10), 5), "predicted": np.array([5, 5, 2])}, "all people agree"),
    ]


def _matches(answers, predicted):
    return (answers == predicted[:, None]).sum(axis=1)


def _expected(answers, predicted):
    scores = []
    for said, answer in zip(answers.tolist(), predicted.tolist()):
        for k in range(len(said)):
            scores.append(min((said[:k] + said[k + 1:]).count(answer) / 3, 1))
    return np.array(100 * np.mean(scores))


def _most_frequent(answers, predicted):
    return np.mean([n == max((said == a).sum() for a in said) for said, n in zip(answers, _matches(answers, predicted))])


def _left_out(answers, predicted, score):
    """The mean of `score(n)` over who is left out, n of the others agree."""
    n, people = _matches(answers, predicted), answers.shape[1]
    return np.mean((n * score(n - 1) + (people - n) * score(n)) / people)


_tell = number_in_words(
    "the result must be the mean over questions, and over who is left out, of min(n / 3, 1), in percent", ("low", "high"),
    (0, 100, "the result is in percent and lies between 0 and 100"))


EXERCISE = Exercise(
    name="soft_accuracy",
    lesson="01",
    difficulty=2,
    minutes=15,
    prompt="""Write `soft_accuracy(answers, predicted)`: VQA's accuracy.

`answers` (`b p`) holds the numbers of the answers that p people gave to each of b questions, `predicted` (`b`) the numbers
of the answers to be judged. An answer is compared with all the people but one: if n of these gave it, it scores min(n / 3,
1). Leave out each of the p people in turn and take the mean, then the mean over the questions. Return it in percent, as a
float or a 0-d tensor. p is not always ten.""",
    hints=(
        "How many people gave the predicted answer? `(answers == predicted[:, None]).sum(dim=1)` is `b`; call it n.",
        "If the one who is left out gave the answer, n - 1 of the others agree, else n. How often does each happen?",
        "In n of the p turns the score is min((n - 1) / 3, 1), in the other p - n it is min(n / 3, 1). (n may be 0.)",
    ),
    solution='''
def soft_accuracy(answers, predicted):
    people = answers.shape[1]
    n = (answers == predicted[:, None]).sum(dim=1).double()  # b
    score = n * ((n - 1) / 3).clamp(max=1) + (people - n) * (n / 3).clamp(max=1)
    return 100 * (score / people).mean()
''',
    fact="That is where the numbers 0.3, 0.6, 0.9 and 1 in the code of ViLT and ViLBERT come from: the scores of an answer "
    "that one, two, three, four of ten people gave. min(n / 3, 1) alone would give 1/3, 2/3 and 1.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("nobody left out? min(n / 3, 1) of all people is not the mean over those who leave one out.",
         lambda answers, predicted: 100 * np.minimum(_matches(answers, predicted) / 3, 1).mean()),
        ("no minimum with 1? More than three who agree do not count for more.",
         lambda answers, predicted: 100 * _left_out(answers, predicted, lambda n: n / 3)),
        ("no minimum with 1, and nobody left out?",
         lambda answers, predicted: 100 * np.mean(_matches(answers, predicted) / 3)),
        ("a fraction; was it to be percent?", lambda answers, predicted: _expected(answers, predicted) / 100),
        ("the share of the people who agree?", lambda answers, predicted: 100 * np.mean(answers == predicted[:, None])),
        ("right if anybody said so? One who agrees is not enough for the full score.",
         lambda answers, predicted: 100 * np.mean(_matches(answers, predicted) > 0)),
        ("right only if three people agree? Fewer count in part.",
         lambda answers, predicted: 100 * _left_out(answers, predicted, lambda n: n >= 3)),
        ("compared with the most frequent answer alone?",
         lambda answers, predicted: 100 * _most_frequent(answers, predicted)),
        ("only the first person left out?",
         lambda answers, predicted: 100 * np.minimum(_matches(answers[:, 1:], predicted) / 3, 1).mean()),
        ("only the last person left out?",
         lambda answers, predicted: 100 * np.minimum(_matches(answers[:, :-1], predicted) / 3, 1).mean()),
        ("the one who is left out always taken to agree?",
         lambda answers, predicted: 100 * np.clip((_matches(answers, predicted) - 1) / 3, 0, 1).mean()),
        ("ten people taken for granted? p is the second axis of answers.",
         lambda answers, predicted: 10 * np.mean((lambda n: n * np.minimum((n - 1) / 3, 1) + (10 - n) * np.minimum(
             n / 3, 1))(_matches(answers, predicted)))),
        ("the mean taken before the minimum? Every question, and everybody who is left out, has a minimum of its own.",
         lambda answers, predicted: 100 * min(_left_out(answers, predicted, lambda n: n / 3), 1)),
        ("the sum over the questions instead of the mean?",
         lambda answers, predicted: len(predicted) * _expected(answers, predicted)),
    ),
    tell=_tell,
    plain_number=True,
)
