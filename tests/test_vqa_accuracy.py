"""The score of an answer that some of several people gave."""

import pytest
import torch

from minimm.evaluation.tasks import vqa_accuracy
from minimm.objectives.answers import soft_scores


def left_out(answer, answers):
    """By the definition: every person is left out once."""
    shares = []
    for k in range(len(answers)):
        others = answers[:k] + answers[k + 1:]
        shares.append(min(others.count(answer) / 3, 1))
    return sum(shares) / len(shares)


def test_ten_people():
    expected = torch.tensor([0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(soft_scores(torch.arange(11)), expected)


@pytest.mark.parametrize("people", [2, 3, 5, 10])
def test_any_number_of_people(people):
    expected = [left_out(1, [1] * n + [0] * (people - n)) for n in range(people + 1)]
    torch.testing.assert_close(soft_scores(torch.arange(people + 1), people), torch.tensor(expected).double())


def test_accuracy_by_hand():
    answers = torch.tensor([[4] * 10, [4, 5, 5] + [6] * 7, [1, 1, 1] + [2] * 7])
    assert vqa_accuracy(torch.tensor([4, 5, 1]), answers) == pytest.approx(100 * (1 + 0.6 + 0.9) / 3)
    assert vqa_accuracy(torch.tensor([0, 0, 2]), answers) == pytest.approx(100 / 3)
    assert vqa_accuracy(torch.tensor([7, 7]), torch.tensor([[7, 7, 8], [7, 8, 9]])) == pytest.approx(
        100 * (left_out(7, [7, 7, 8]) + left_out(7, [7, 8, 9])) / 2)


def test_what_is_refused():
    with pytest.raises(TypeError, match="counts"):
        soft_scores(torch.tensor([0.5]))
    for counts, people in (([11], 10), ([-1], 10), ([1], 1)):
        with pytest.raises(ValueError, match="counts|people"):
            soft_scores(torch.tensor(counts), people)
    for predicted, answers in ((torch.zeros(3), torch.zeros(2, 10)), (torch.zeros(0), torch.zeros(0, 10)),
                               (torch.zeros(2, 1), torch.zeros(2, 10)), (torch.zeros(2), torch.zeros(2))):
        with pytest.raises(ValueError, match="answers"):
            vqa_accuracy(predicted.long(), answers.long())
