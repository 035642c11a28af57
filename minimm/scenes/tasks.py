"""What is asked about the scenes, as examples and batches of them: questions, entailment, two pictures, why-questions.

- vqa: which of ANSWERS answers the question (VQA)
- entailment: which of LABELS a hypothesis is (SNLI-VE)
- pairs: is a statement true of two pictures (NLVR2), 1 or 0
- why: which of four answers, and then which of four rationales (VCR)

Letters: b examples, l tokens, c choices, n answers, a their tokens.
"""

from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import torch

from .._errors import expect
from . import questions
from .data import Steps
from .questions import ANSWERS
from .statements import FORMS, LABELS
from .tokenizer import tokenizer
from .world import shuffled, stream

#: Task -> kinds of its examples.
KINDS = {"vqa": questions.KINDS, "entailment": LABELS, "pairs": FORMS, "why": ("answer", "rationale")}
HIDE = (None, "picture", "text")
#: ANSWERS as ids, [CLS] in front and [SEP] behind: `n a`.
ANSWER_IDS = tokenizer(ANSWERS)

# A language of few words repeats itself: the 130,000 questions of the training split are 6,000 different ones.
_encode = lru_cache(maxsize=100_000)(tokenizer.encode)


class Example(NamedTuple):
    """scenes: the numbers of the scenes within the data, one or (pairs) two; texts: one, or (why) four to choose from;
    label: the number of what is right; kind: what accuracy is told apart by."""

    scenes: tuple
    texts: tuple
    label: int
    kind: str


def _vqa(data):
    label = {answer: i for i, answer in enumerate(ANSWERS)}
    return [Example((i,), (q.text,), label[q.answer], q.kind) for i, of in enumerate(data.questions) for q in of]


def _entailment(data):
    return [Example((i,), (h.text,), LABELS.index(h.label), h.label)
            for i, of in enumerate(data.hypotheses) for h in of]


def _pairs(data):
    # Statements are about a scene and the next one of the split: that one may be missing in the data.
    numbers = data.numbers
    return [Example((i, i + 1), (s.text,), int(s.truth), s.form) for i, of in enumerate(data.statements[:-1])
            if numbers[i + 1] == numbers[i] + 1 for s in of]


def _why(data):
    # As in VCR a model reads question and answer in one, and the rationales with the right answer.
    result = []
    for i, why in enumerate(data.why):
        if why is not None:
            answers = tuple([f"{why.question} {answer}" for answer in why.answers])
            rationales = tuple([f"{answers[why.answer]} {rationale}" for rationale in why.rationales])
            result.append(Example((i,), answers, why.answer, "answer"))
            result.append(Example((i,), rationales, why.rationale, "rationale"))
    return result


_EXAMPLES = {"vqa": _vqa, "entailment": _entailment, "pairs": _pairs, "why": _why}
TASKS = tuple(_EXAMPLES)


def examples(data, task):
    """All examples of a task that the data has, in the order of its scenes: tuple of Example.

    kind: of question (vqa), the label's name (entailment), the form (pairs), "answer" or "rationale" (why: one of each
    for every question, one behind the other). A statement whose second scene is not in the data is left out.
    Raises ValueError for an unknown task.
    """
    expect(task in _EXAMPLES, "task", repr(task), f"one of {', '.join(TASKS)}")
    return tuple(_EXAMPLES[task](data))


def batch_of(data, chosen, see=None, hide=None):
    """Examples of one task, all that a model needs of them: a mapping.

    The tensors of the pictures, as `see` gives them (see `Batches`), each picture once, with "of": `b`, which of them
    each example is about. Where there are two, they stand as such mappings under "left" and "right".
    "ids": `b l`, with choices `b c l`; "label": `b`.
    hide: "picture" or "text", to find out how far one gets with the other alone. A hidden picture is 0 everywhere, with
    all its regions at one point; a hidden text is [CLS] [SEP].
    Raises ValueError for no example, and for another `hide`.
    """
    expect(len(chosen) > 0, "chosen", "none", "at least one example")
    expect(hide in HIDE, "hide", repr(hide), f"one of {HIDE}")

    def pictures(numbers):
        place = {}  # number of a scene -> its row
        of = torch.tensor([place.setdefault(number, len(place)) for number in numbers])
        seen = (see or data.see)(torch.tensor(list(place)))
        return {**({name: _blank(t) for name, t in seen.items()} if hide == "picture" else seen), "of": of}

    if len(chosen[0].scenes) == 1:
        of_pictures = pictures([e.scenes[0] for e in chosen])
    else:
        of_pictures = {side: pictures([e.scenes[i] for e in chosen]) for i, side in enumerate(("left", "right"))}
    ids = tokenizer.pad([_encode("" if hide == "text" else text) for e in chosen for text in e.texts])
    if len(chosen[0].texts) > 1:
        ids = ids.unflatten(0, (len(chosen), -1))
    return {**of_pictures, "ids": ids, "label": torch.tensor([e.label for e in chosen])}


def _blank(t):
    # A mask tells which regions are real, and models refuse a picture without any.
    return torch.ones_like(t) if t.dtype == torch.bool else torch.zeros_like(t)


def to(batch, device):
    """A batch on another device, the tensors of the pictures `left` and `right` as well."""
    return {name: to(t, device) if isinstance(t, dict) else t.to(device) for name, t in batch.items()}


class TaskBatches:
    """Batches of the examples of a task, as a function of the step, like `Batches`: `size` scenes (pairs of them), each
    with all that is asked about it, so that a model whose picture encoder works alone looks at each but once.

    Every epoch goes through all scenes in a new order. Arguments as for `batch_of`; `as_words` gives
    the answers of vqa the form that ALBEF learns. Raises ValueError for an unknown task or `hide`, and if the size is
    not between 1 and the number of scenes with an example.
    """

    def __init__(self, data, task, size, seed=0, device=None, see=None, hide=None):
        expect(hide in HIDE, "hide", repr(hide), f"one of {HIDE}")
        self.data, self.task, self.seed, self.device, self.see, self.hide = data, task, seed, device, see, hide
        self.of_scene = [tuple(of) for _, of in groupby(examples(data, task), lambda e: e.scenes)]
        self.steps = Steps(len(self.of_scene), size, self.order)

    def order(self, epoch):
        """The scenes of an epoch in their order, each as a tuple of its examples."""
        return shuffled(stream("task", self.task, self.seed, epoch), self.of_scene)

    def __call__(self, step):
        batch = batch_of(self.data, [e for of in self.steps(step) for e in of], self.see, self.hide)
        return to(batch, self.device) if self.device else batch


def as_words(batch):
    """A batch of vqa with what `ALBEFAnswers` learns to say: `answers` `b a`, one for each question, of weight 1."""
    label = batch["label"]
    return {**batch, "answers": ANSWER_IDS.to(label.device)[label],
            "question": torch.arange(len(label), device=label.device), "weights": torch.ones_like(label).float()}
