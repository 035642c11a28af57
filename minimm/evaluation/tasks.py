"""Questions, entailment, two pictures, why-questions: what a model answers, and how often it is right."""

from collections import Counter

import torch

from .._errors import expect
from ..models.heads import ALBEFAnswers, Answerer
from ..objectives.answers import soft_scores
from ..scenes import ANSWER_IDS, LABELS, batch_of, examples
from ..scenes.tasks import KINDS, to
from .embed import evaluating

CHOICES = {"entailment": len(LABELS), "pairs": 2, "why": 4}


@torch.no_grad()
def predictions(model, data, task, see=None, hide=None, size=250, k=8):
    """The labels that a model gives to `examples(data, task)`, in their order: `b` of int64, on the CPU.

    model: one of `models.heads`, in any mode: it answers in evaluation mode and gets its own back. `see` and `hide` as
    for `scenes.batch_of`; size: of the batches; k: how many answers ALBEF scores whole.
    Raises ValueError for an unknown task and for data without an example of it.
    """
    asked = examples(data, task)
    expect(len(asked) > 0, "data", f"{len(data)} scenes without an example", f"at least one example of {task}")
    predicted = []
    with evaluating(model) as device:
        for start in range(0, len(asked), size):
            batch = to(batch_of(data, asked[start:start + size], see, hide), device)
            if isinstance(model, (ALBEFAnswers, Answerer)):
                label = model.rank(batch, batch["ids"], ANSWER_IDS.to(device), k)[1][:, 0]
            else:
                label = model(batch).argmax(1)
            predicted.append(label.cpu())
    return torch.cat(predicted)


def accuracy(data, task, predicted):
    """How many predictions are right, in percent: a mapping "all", every kind of example in the data, and "examples",
    their number. predicted: `b` of int64, in the order of `examples(data, task)`.

    Of "why" it is "answer", "rationale" (chosen with the right answer at hand) and "both" right for one question, which
    VCR calls Q -> A, QA -> R and Q -> AR; "examples" are the questions.
    Raises ValueError unless there is one prediction for each example, and an example.
    """
    asked = examples(data, task)
    expect(torch.is_tensor(predicted) and predicted.shape == (len(asked),) != (0,), "predicted",
           getattr(predicted, "shape", type(predicted).__name__), f"a tensor, a label for each of {len(asked)} examples")
    right = predicted.cpu() == torch.tensor([e.label for e in asked])

    def percent(these):
        return 100 * these.double().mean().item()

    if task == "why":
        answer, rationale = right.view(-1, 2).unbind(1)
        return {"answer": percent(answer), "rationale": percent(rationale), "both": percent(answer & rationale),
                "examples": len(answer)}
    of_kind = {kind: percent(right[[e.kind == kind for e in asked]]) for kind in _kinds(asked, task)}
    return {"all": percent(right), **of_kind, "examples": len(asked)}


def vqa_accuracy(predicted, answers):
    """VQA's accuracy where several people answered every question and need not agree, in percent: the mean of
    `soft_scores` over the questions.

    predicted `b`, answers `b p`: numbers of answers, those of p people. Raises ValueError for other shapes or no question.
    """
    expect(predicted.ndim == 1 and answers.ndim == 2 and len(predicted) == len(answers) > 0, "answers",
           f"shape {tuple(answers.shape)} for predictions of shape {tuple(predicted.shape)}", "`b p` for `b`, b > 0")
    counts = (answers == predicted[:, None]).sum(1)
    return 100 * soft_scores(counts, answers.shape[1]).mean().item()


def chance(data, task, train):
    """What one gets without looking, in percent: a mapping with the keys of `accuracy`.

    To questions one always gives the most frequent answer to their kind in the scenes `train`; all else one guesses.
    Raises ValueError for a kind of question that `train` does not have.
    """
    asked = examples(data, task)
    if task == "vqa":
        counts = {}
        for e in examples(train, task):
            counts.setdefault(e.kind, Counter())[e.label] += 1
        missing = {e.kind for e in asked} - set(counts)
        expect(not missing, "train", f"no question of the kind {', '.join(sorted(missing))}", "questions of every kind")
        most = {kind: of_kind.most_common(1)[0][0] for kind, of_kind in counts.items()}
        return accuracy(data, task, torch.tensor([most[e.kind] for e in asked]))
    guessed = 100 / CHOICES[task]
    if task == "why":
        return {"answer": guessed, "rationale": guessed, "both": guessed / CHOICES[task], "examples": len(asked) // 2}
    return {**dict.fromkeys(["all", *_kinds(asked, task)], guessed), "examples": len(asked)}


def _kinds(asked, task):
    # those that there are, in an order that does not depend on the data
    there = {e.kind for e in asked}
    return [kind for kind in KINDS[task] if kind in there]
