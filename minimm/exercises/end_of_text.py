"""Lesson 05: where CLIP's text tower is read out."""

import numpy as np

from ._exercise import Case, Exercise, furthest_row


def _texts(seed, lengths, l, d, eot=9, pad=0, words=(1, 8), about=""):
    """States of texts of these lengths, the end among them, with what is behind the end as well."""
    rng = np.random.default_rng(seed)
    ids = np.full((len(lengths), l), pad)
    for row, length in zip(ids, lengths):
        row[: length - 1] = rng.integers(words[0], words[1] + 1, size=length - 1)
        row[length - 1] = eot
    return Case({"states": rng.normal(size=(len(lengths), l, d)), "ids": ids, "eot_id": eot}, about)


def _cases():
    return [
        _texts(0, [5, 3, 6], 7, 4),
        _texts(1, [2, 8, 4, 6], 8, 5, about="one text fills its row"),
        _texts(2, [4, 7, 3, 5, 6], 9, 3, eot=2, words=(3, 30), about="words have higher ids than the end of the text"),
        _texts(3, [3, 6, 4], 8, 5, pad=9, about="padded with the end-of-text token, as the released tokenizer does"),
        _texts(4, [5], 6, 4, about="a single text"),
        _texts(5, [2, 4], 5, 6, eot=7, pad=11, words=(1, 6), about="the padding has the highest id"),
    ]


def _expected(states, ids, eot_id):
    return np.array([of_text[list(row).index(eot_id)] for of_text, row in zip(states, ids)])


def _at(place):
    """The state at a place that is worked out from the ids and the first place of the end."""
    def way(states, ids, eot_id):
        first = (ids == eot_id).argmax(axis=1)
        at = np.broadcast_to(place(ids, first, eot_id), len(ids))
        return states[np.arange(len(ids)), at]

    return way


def _mean(kept):
    def way(states, ids, eot_id):
        inside = kept(np.arange(ids.shape[1]), (ids == eot_id).argmax(axis=1)[:, None])
        return (states * inside[:, :, None]).sum(axis=1) / inside.sum(axis=1, keepdims=True)

    return way


def _tell(came, expected):
    row = furthest_row(came, expected)
    return f"row n must be the state of text n's first token with the id eot_id, as it stands; row {row} is something else."


EXERCISE = Exercise(
    name="end_of_text",
    lesson="05",
    difficulty=1,
    minutes=10,
    prompt="""Write `end_of_text(states, ids, eot_id)`: what CLIP's text tower hands on of a sentence.

`states` is a float tensor of shape `b l d`: behind the last block, one state a token. `ids` (`b l`) holds the tokens' ids,
`eot_id` is the id of the end-of-text token, a whole number. It stands in every row, at another place in each; padding
follows, whose id may be any, `eot_id` itself as well. Return `b d`: the state of each text's *first* end-of-text token.""",
    hints=(
        "Two steps: at which place does each text end (`b` whole numbers), and what stands there in `states`?",
        "`ids == eot_id` is True at the ends. `.int().argmax(dim=1)` gives the first of several equal largest values.",
        "A place for each row: `states[torch.arange(b), place]` takes entry `place[n]` of row n. `states[:, place]` would take all"
        " places of all rows, `b b d`.",
    ),
    solution='''
def end_of_text(states, ids, eot_id):
    place = (ids == eot_id).int().argmax(dim=1)  # b: the first of them
    return states[torch.arange(len(states)), place]
''',
    fact="The authors look for the *highest* id of a row, since end-of-text has the highest of their vocabulary. A well-known port "
    "had a wrong number for that token in its settings, and nobody noticed, since the rule never reads it: until somebody added "
    "a word to the vocabulary.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the last end-of-text token of a row? Behind the first one is padding.",
         _at(lambda ids, first, eot_id: ids.shape[1] - 1 - (ids == eot_id)[:, ::-1].argmax(axis=1))),
        ("the last place of every row? That is padding, but for the longest text.",
         _at(lambda ids, first, eot_id: ids.shape[1] - 1)),
        ("the first token? With causal attention it has seen nothing but itself.", _at(lambda ids, first, eot_id: 0)),
        ("the token with the highest id? That is the end in the authors' vocabulary, not in every one.",
         _at(lambda ids, first, eot_id: ids.argmax(axis=1))),
        ("the token in front of the end? It has not seen that the text is over.", _at(lambda ids, first, eot_id: first - 1)),
        ("one place too far?", _at(lambda ids, first, eot_id: np.minimum(first + 1, ids.shape[1] - 1))),
        ("the place of the first text's end for all of them?", _at(lambda ids, first, eot_id: first[0])),
        ("the mean over the whole row?", lambda states, ids, eot_id: states.mean(axis=1)),
        ("the mean up to the end, instead of the state at the end?", _mean(lambda at, first: at <= first)),
        ("the mean of the words, without the end?", _mean(lambda at, first: at < first)),
        ("the states of all end-of-text tokens added up? Padding may have the same id.",
         lambda states, ids, eot_id: (states * (ids == eot_id)[:, :, None]).sum(axis=1)),
    ),
    tell=_tell,
    shape="b d",
)
