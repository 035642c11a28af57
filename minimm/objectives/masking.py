"""Language: hide some words and ask for them (Devlin et al. 2019), by tokens or by whole words; or say one word after
the other.

What to hide is drawn first and applied then, so that a lesson can show the draw and a test can bring its own.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .._errors import expect

#: The label of a position that is not asked for.
IGNORE = -100


class Masked(NamedTuple):
    """ids `b l` with some hidden; labels `b l`: the true id where something is asked for, else IGNORE."""

    ids: torch.Tensor
    labels: torch.Tensor


class Draw(NamedTuple):
    """What becomes of a position if it is selected: replace (80 %): the mask token; else random (half of the rest): the
    word in words; else it stays what it is. All `b l`."""

    replace: torch.Tensor
    random: torch.Tensor
    words: torch.Tensor


def chosen(shape, p, device=None):
    """True with probability p: a tensor of bool."""
    return torch.bernoulli(torch.full(shape, p, device=device)).bool()


def draw(shape, vocab, device=None):
    """The 80 / 10 / 10 of BERT for every position: Draw. A random word can be any of the vocabulary, even [PAD]."""
    return Draw(chosen(shape, 0.8, device), chosen(shape, 0.5, device), torch.randint(vocab, shape, device=device))


def apply_mask(ids, selected, drawn, mask_id):
    """Hide the selected positions of ids (both `b l`) as drawn: Masked."""
    masked = torch.where(selected & drawn.replace, mask_id, ids)
    masked = torch.where(selected & ~drawn.replace & drawn.random, drawn.words, masked)
    return Masked(masked, torch.where(selected, ids, IGNORE))


def mask_tokens(ids, may_hide, mask_id, vocab, p=0.15):
    """Hide every token on its own with probability p (ALBEF, ViLBERT): Masked.

    ids `b l`; may_hide `b l` of bool: where there is something to hide, no [CLS] and no padding. Raises ValueError for
    a p that is no probability or masks of another shape.
    """
    expect(0 < p <= 1, "p", p, "a probability above 0")
    expect(may_hide.shape == ids.shape, "may_hide", f"shape {tuple(may_hide.shape)}", f"that of ids, {tuple(ids.shape)}")
    selected = chosen(ids.shape, p, ids.device) & may_hide  # drawn in this order, as the authors of ALBEF do
    return apply_mask(ids, selected, draw(ids.shape, vocab, ids.device), mask_id)


def word_numbers(ids, continues, special_ids):
    """Which word of its text every token belongs to: `b l`, counted from 0, -1 for special tokens.

    continues `v` of bool: the tokens that continue a word ("##brella"); special_ids: [CLS], [SEP] and the like.
    """
    special = torch.isin(ids, torch.tensor(special_ids, device=ids.device))
    starts = ~special & ~continues[ids]
    return torch.where(special, -1, starts.cumsum(1) - 1)


def select_words(numbers, orders, budgets):
    """Take whole words in the given order while they fit the budget; a word that would exceed it is skipped: `b l`.

    numbers `b l` from `word_numbers`; orders: for every text the numbers of its words, shuffled; budgets: tokens that may
    be hidden, one number a text.
    """
    selected = torch.zeros_like(numbers, dtype=torch.bool)
    for row, number, order, budget in zip(selected, numbers, orders, budgets):
        for word in order:
            there = number == word
            if row.sum() + there.sum() <= budget:
                row |= there
    return selected


def whole_word_mask(ids, continues, special_ids, pad_id, mask_id, p=0.15, count_pads=False):
    """Hide whole words (ViLT, section 3.3): a piece cannot be guessed from the rest of its word: Masked.

    ids `b l`; continues `v` of bool; special_ids without the padding. At most max(1, round(p l)) tokens of a text are
    hidden, where l counts [CLS] and [SEP] too. A text all of whose words are longer than that gets no mask.
    count_pads: as the collator that ViLT was trained with does it, every [PAD] counts as a word of its own that may use
    up the budget, so that some short texts get no mask at all. Raises ValueError for a p that is no probability and for
    an id that `continues` does not know.
    """
    expect(0 < p <= 1, "p", p, "a probability above 0")
    highest = int(ids.max())
    expect(highest < len(continues), "ids", f"ids up to {highest}", f"ids below {len(continues)}, which `continues` knows")
    pads = ids == pad_id
    numbers = word_numbers(ids, continues, special_ids if count_pads else [*special_ids, pad_id])
    lengths = [ids.shape[1]] * len(ids) if count_pads else (~pads).sum(1).tolist()
    orders = [torch.randperm(int(row.max()) + 1, device=ids.device) for row in numbers]
    selected = select_words(numbers, orders, [budget(length, p) for length in lengths]) & ~pads
    return apply_mask(ids, selected, draw(ids.shape, len(continues), ids.device), mask_id)


def budget(length, p):
    """How many of `length` tokens may be hidden: at least one."""
    return max(1, round(length * p))


def masked_cross_entropy(logits, labels, teacher_logits=None, alpha=0.0):
    """The mean over the positions that are asked for of -log p(true word): 0-d.

    logits `b l v`; labels `b l`, IGNORE elsewhere. With teacher_logits `b l v` and alpha the truth counts 1 - alpha and
    what the teacher believes alpha (Li et al. 2021, equation 7); the mean is still over what is asked for, not over b l.
    If nothing is asked for the result is 0, where a plain mean would be 0 / 0. Raises ValueError for labels or
    teacher_logits of another shape, and for labels that are no words of the vocabulary, such as -1.
    """
    expect(logits.shape[:-1] == labels.shape, "labels", f"shape {tuple(labels.shape)}", f"shape {tuple(logits.shape[:-1])}")
    asked = labels != IGNORE
    logits, truth = logits[asked], labels[asked]  # n v, n
    if len(truth) == 0:
        return logits.sum()
    low, high = (int(v) for v in truth.aminmax())
    expect(0 <= low and high < logits.shape[1], "labels", f"{low} to {high}",
           f"words from 0 to {logits.shape[1] - 1}, and {IGNORE} where nothing is asked for")
    loss = F.cross_entropy(logits, truth)
    if teacher_logits is None or alpha == 0:
        return loss
    expect(teacher_logits.shape == (*labels.shape, logits.shape[1]), "teacher_logits",
           f"shape {tuple(teacher_logits.shape)}", f"that of the logits, {(*labels.shape, logits.shape[1])}")
    teacher = teacher_logits[asked].detach().softmax(-1)
    return (1 - alpha) * loss + alpha * F.cross_entropy(logits, teacher)


def causal_cross_entropy(logits, labels, teacher_logits=None, alpha=0.0):
    """-log p(answer) of every text, each word given those in front of it: the SUM over its words, `b`.

    logits `b l v`, those of position i speak of the word at i + 1; labels `b l`, IGNORE where nothing is asked for;
    teacher_logits and alpha as in `masked_cross_entropy`. ALBEF's answers are learnt so (Li et al. 2021, section 5).
    """
    expect(logits.shape[:-1] == labels.shape, "labels", f"shape {tuple(labels.shape)}", f"shape {tuple(logits.shape[:-1])}")
    logits, labels = logits[:, :-1].log_softmax(-1), labels[:, 1:]
    asked = labels != IGNORE
    word = logits.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    if teacher_logits is not None and alpha > 0:
        soft = (teacher_logits[:, :-1].detach().softmax(-1) * logits).sum(-1)
        word = (1 - alpha) * word + alpha * soft
    return -(word * asked).sum(1)
