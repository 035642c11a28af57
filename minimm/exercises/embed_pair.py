"""Lesson 07: words, class token and patches as one sequence."""

import numpy as np

from ._exercise import Case, Exercise


def _inputs(seed, b, l, n, d):
    rng = np.random.default_rng(seed)
    return {"words": rng.normal(size=(b, l, d)), "patches": rng.normal(size=(b, n, d)),
            "class_token": rng.normal(size=d), "positions": rng.normal(size=(1 + n, d)),
            "modality": rng.normal(size=(2, d))}


def _cases():
    return [
        Case(_inputs(0, 2, 5, 4, 3)),
        Case(_inputs(1, 3, 4, 6, 5)),
        Case(_inputs(2, 4, 2, 9, 7)),
        Case(_inputs(3, 1, 3, 4, 6), "a batch of one"),
        Case(_inputs(4, 2, 6, 1, 4), "a single patch"),
    ]


def _join(words, patches, class_token, positions, modality, text=0, image=1, of_class=1, of_patches=1, token=1, roll=0,
          order="wci"):
    """The sequence, with a switch for every slip."""
    positions = np.roll(positions, roll, axis=0)
    none = 0 * modality[0]
    kind = {0: modality[0], 1: modality[1], None: none}
    of_words = words + kind[text]
    first = np.tile(token * class_token + of_class * positions[0] + kind[image], (len(words), 1, 1))
    rest = patches + of_patches * positions[1:] + kind[image]
    return np.concatenate([{"w": of_words, "c": first, "i": rest}[part] for part in order], axis=1)


def _slip(**changes):
    return lambda **inputs: _join(**inputs, **changes)


def _expected(words, patches, class_token, positions, modality):
    rows = []
    for of_text, of_image in zip(words, patches):
        rows.append([word + modality[0] for word in of_text] + [class_token + positions[0] + modality[1]]
                    + [patch + positions[1 + i] + modality[1] for i, patch in enumerate(of_image)])
    return np.array(rows)


def _tell(came, expected):
    wrong = ~np.isclose(came, expected, atol=1e-4).all(axis=(0, 2))
    places = ", ".join(str(i) for i in np.flatnonzero(wrong)[:6])
    return (f"the sequence is words, class token, patches, each the sum of its embeddings; {wrong.sum()} of its "
            f"{len(wrong)} places are something else (counted from 0: {places}{', ...' if wrong.sum() > 6 else ''}).")


EXERCISE = Exercise(
    name="embed_pair",
    lesson="07",
    difficulty=1,
    minutes=10,
    prompt="""Write `embed_pair(words, patches, class_token, positions, modality)`: all that enters ViLT's transformer.

`words` (`b l d`) are the words' embeddings, with their positions in them; `patches` (`b n d`) the projected patches,
without. `class_token` has the shape `d`; `positions` the shape `1+n d`: row 0 belongs to the picture's class token, row
1 + i to patch i. `modality` is `2 d`: row 0 for text, row 1 for pictures. Return the sequence (`b l+1+n d`): the words,
then the picture's class token, then the patches, each with its position (words have theirs) and its modality.""",
    hints=(
        "Three parts of the sequence, three sums. Which embeddings belong to which part?",
        "The class token is the same for all pictures: `expand` repeats it for each of the batch, `b 1 d`.",
        "Put the class token in front of the patches first: then `positions` fits as it is, and `modality[1]` is"
        " added to both at once. `torch.cat([..., ...], dim=1)` joins along the sequence.",
    ),
    solution='''
def embed_pair(words, patches, class_token, positions, modality):
    first = class_token.expand(len(patches), 1, -1)  # b 1 d
    picture = torch.cat([first, patches], dim=1) + positions + modality[1]
    return torch.cat([words + modality[0], picture], dim=1)
''',
    fact="ViLT's words carry two type embeddings: this one, and the sentence type that BERT already adds inside its "
    "own embeddings. The second one is 0 for every word there is, so it changes nothing but a constant.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the modalities swapped? Row 0 is the text's.", _slip(text=1, image=0)),
        ("only the picture given a modality?", _slip(text=None)),
        ("only the words given a modality?", _slip(image=None)),
        ("no modality at all?", _slip(text=None, image=None)),
        ("row 0 of the modality for both?", _slip(image=0)),
        ("row 1 of the modality for both?", _slip(text=1)),
        ("no positions at all?", _slip(of_class=0, of_patches=0)),
        ("no position for the class token? Row 0 is its own.", _slip(of_class=0)),
        ("no positions for the patches?", _slip(of_patches=0)),
        ("the positions shifted by one? Row 0 is the class token's.", _slip(roll=-1)),
        ("the class token itself left out of its sum?", _slip(token=0)),
        ("the picture in front of the words?", _slip(order="ciw")),
        ("the class token in front of everything? It is the picture's: behind the words.", _slip(order="cwi")),
        ("the class token behind the patches?", _slip(order="wic")),
    ),
    tell=_tell,
    shape="b l+1+n d",
)
