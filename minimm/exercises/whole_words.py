"""Lesson 07: a word is hidden with all its pieces."""

import numpy as np

from ._exercise import Case, Exercise


def _inputs(seed, *lengths, p=0.3, words=(1, 1, 2, 3)):
    """Texts of some lengths: [CLS], words of one to three pieces, [SEP], padding; tokens chosen at random anywhere."""
    rng = np.random.default_rng(seed)
    l = max(lengths)
    continues, special = np.zeros((len(lengths), l)), np.ones((len(lengths), l))
    for row, length in enumerate(lengths):
        at = 1
        special[row, 1 : length - 1] = 0
        while at < length - 1:
            pieces = int(rng.choice(words))
            continues[row, at + 1 : min(at + pieces, length - 1)] = 1
            at += pieces
    return {"chosen": (rng.random((len(lengths), l)) < p).astype(float), "continues": continues, "special": special}


def _cases():
    nothing = _inputs(5, 9, 6)
    return [
        Case(_inputs(0, 19, 14, 17)),
        Case(_inputs(1, 12, 16)),
        Case(_inputs(2, 11, 8, 13, 10), "texts of four lengths"),
        Case(_inputs(3, 15, 15, words=(3, 4)), "long words"),
        Case(_inputs(4, 10, 12, words=(1,)), "every word one token"),
        Case({**nothing, "chosen": 0 * nothing["chosen"]}, "nothing chosen"),
    ]


def _words(continues, special):
    """Lists of the positions of every word, (row, positions)."""
    found = []
    for row in range(len(special)):
        for at in range(special.shape[1]):
            if special[row, at]:
                continue
            if continues[row, at]:
                found[-1][1].append(at)
            else:
                found.append((row, [at]))
    return found


def _by_words(decide):
    """The answer when `decide(chosen pieces)` gives what becomes of the pieces of a word."""

    def hide(chosen, continues, special):
        hidden = np.zeros_like(chosen)
        for row, at in _words(continues, special):
            hidden[row, at] = decide(chosen[row, at])
        return hidden

    return hide


_expected = _by_words(np.max)


def _neighbours(pieces):
    padded = np.pad(pieces, 1)
    return np.max([padded[:-2], padded[1:-1], padded[2:]], axis=0)


def _tell(came, expected):
    missing, more = ((came < 0.5) & (expected > 0.5)).sum(), ((came > 0.5) & (expected < 0.5)).sum()
    if not missing and not more:
        return "every entry must be 1 or 0; yours has others."
    what = " and ".join(part for part in (f"{missing} that must be hidden stay visible" * bool(missing),
                                          f"{more} that must stay visible are hidden" * bool(more)) if part)
    return ("all pieces of a word are hidden if one of them is chosen, and only then, and special tokens never; of the "
            f"tokens, {what}.")


EXERCISE = Exercise(
    name="whole_words",
    lesson="07",
    difficulty=2,
    minutes=15,
    prompt="""Write `whole_words(chosen, continues, special)`: hide whole words, not pieces.

All three are float tensors of shape `b l` that hold 0 and 1. `chosen` is 1 where a token was drawn to be hidden,
anywhere in the text. `continues` is 1 for a piece that continues the word in front of it ("##brel"). `special` is 1 for
[CLS], [SEP] and [PAD], which belong to no word. Every text begins with [CLS]. Return a tensor of the same shape and
dtype: 1 for every token of a word of which at least one piece was chosen, else 0; special tokens always 0.""",
    hints=(
        "A word begins where `continues` is 0. Give every token the number of its word: count the beginnings up to it,"
        " with `cumsum` along the text.",
        "Two tokens of a text belong to one word if their numbers are equal:"
        " `numbers[:, :, None] == numbers[:, None, :]` is `b l l`.",
        "A token is hidden if any token of its word is chosen: with the matrix of the last hint as floats,"
        " `same @ chosen[..., None]` counts them. Special tokens begin words of their own, so clear them at the end."
        " Can a chosen special token hide a word?",
    ),
    solution='''
def whole_words(chosen, continues, special):
    numbers = (1 - continues).cumsum(dim=1)  # b l: special tokens count as words of their own
    same = numbers[:, :, None] == numbers[:, None, :]  # b l l
    hit = (same & chosen.bool()[:, None, :]).any(dim=2)
    return (hit & ~special.bool()).to(chosen.dtype)
''',
    fact="BERT's authors published weights with whole-word masking half a year after the first ones. Nothing else "
    "had changed, and nearly all scores rose.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("only the chosen pieces themselves? The rest of the word gives them away.",
         _by_words(lambda pieces: pieces)),
        ("hidden from the chosen piece to the end of the word only? What stands in front of it counts too.",
         _by_words(np.maximum.accumulate)),
        ("hidden from the beginning of the word to the chosen piece only?",
         _by_words(lambda pieces: np.maximum.accumulate(pieces[::-1])[::-1])),
        ("a word hidden only if all its pieces are chosen?", _by_words(np.min)),
        ("a word hidden only if its first piece is chosen?", _by_words(lambda pieces: pieces[0])),
        ("only the pieces next to a chosen one hidden with it? A word can have more.", _by_words(_neighbours)),
        ("special tokens hidden too?",
         lambda chosen, continues, special: np.maximum(_expected(chosen, continues, special), chosen * special)),
        ("the visible tokens instead of the hidden ones?",
         lambda chosen, continues, special: 1 - _expected(chosen, continues, special)),
        ("the number of chosen pieces instead of 1?", _by_words(np.sum)),
        ("a whole text hidden as soon as one of its tokens is chosen?",
         lambda chosen, continues, special: (1 - special) * chosen.max(axis=1, keepdims=True)),
    ),
    tell=_tell,
    shape="b l",
)
