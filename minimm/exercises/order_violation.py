"""Lesson 04: the penalty of order embeddings."""

import numpy as np

from ._exercise import Case, Exercise


def _features(seed, i, t, d):
    """Features without negative numbers, as order embeddings have them; the sentences say somewhat less."""
    rng = np.random.default_rng(seed)
    return {"images": np.abs(rng.normal(size=(i, d))), "texts": 0.8 * np.abs(rng.normal(size=(t, d)))}


def _cases():
    first = _features(31, 4, 5, 3)
    other = _features(8, 5, 3, 4)
    holds = {"images": other["images"], "texts": other["images"][:3] * np.array([[0.9], [0.5], [0.0]])}
    return [
        Case(first),
        Case(_features(2, 3, 7, 6)),
        Case(_features(5, 6, 2, 4), "more pictures than sentences"),
        Case({"images": first["texts"], "texts": first["images"]}, "case 1 with pictures and sentences exchanged"),
        Case(holds, "sentence n is picture n made smaller, so that the order holds"),
        Case(_features(9, 2, 3, 1), "a single dimension"),
    ]


def _difference(images, texts):
    return texts[None, :, :] - images[:, None, :]


def _expected(images, texts):
    table = np.zeros((len(images), len(texts)))
    for i, image in enumerate(images):
        for t, text in enumerate(texts):
            table[i, t] = sum((y - x) ** 2 for x, y in zip(image, text) if y > x)
    return table


def _excess(images, texts):
    return np.maximum(0, _difference(images, texts))


def _tell(came, expected):
    i, t = np.unravel_index(np.abs(came - expected).argmax(), came.shape)
    side = "large" if came[i, t] > expected[i, t] else "small"
    return (
        "entry (i, t) must be the squared length of what sentence t has more than picture i, dimension by dimension; "
        f"yours for picture {i} and sentence {t} is {came[i, t]:.4g}, too {side}."
    )


EXERCISE = Exercise(
    name="order_violation",
    lesson="04",
    difficulty=1,
    minutes=10,
    prompt="""Write `order_violation(images, texts)`: by how much does each sentence claim more than each picture
shows?

`images` `i d` and `texts` `t d` are float tensors without negative numbers. A sentence stands above a picture in the
order if none of its d numbers is larger than the picture's. The penalty of a pair is the squared length of what the
sentence has more, $\\sum_k \\max(0, y_k - x_k)^2$ with $x$ the picture and $y$ the sentence. Return all of them, a
tensor of shape `i t` and of the same dtype.""",
    hints=(
        "Only the dimensions in which the sentence is larger count. What is left of a difference if its negative "
        "numbers become 0?",
        "All pairs at once: give each tensor an axis of length 1, `images[:, None]` is `i 1 d` and `texts[None]` is "
        "`1 t d`. Their difference is `i t d`.",
        "Clamp the difference at 0, square it, sum over the last axis. A square root does not belong here.",
    ),
    solution='''
def order_violation(images, texts):
    excess = (texts[None] - images[:, None]).clamp(min=0)  # i t d
    return (excess**2).sum(dim=-1)
''',
    fact="With embeddings of length 1 the penalties of both directions add up to 2 - 2 cos. The order then only says "
    "how that distance is shared out, and two different embeddings never keep it exactly.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the wrong way round? It is the sentence that must not have more than the picture.",
         lambda images, texts: (np.maximum(0, -_difference(images, texts)) ** 2).sum(axis=-1)),
        ("not clamped at 0? That is the squared distance, the same in both directions.",
         lambda images, texts: (_difference(images, texts) ** 2).sum(axis=-1)),
        ("the length itself? The square root is too much.",
         lambda images, texts: np.sqrt((_excess(images, texts) ** 2).sum(axis=-1))),
        ("not squared? That is the sum of what is too much.",
         lambda images, texts: _excess(images, texts).sum(axis=-1)),
        ("the mean over the dimensions instead of their sum?",
         lambda images, texts: (_excess(images, texts) ** 2).mean(axis=-1)),
        ("the largest dimension alone? All of them count.",
         lambda images, texts: (_excess(images, texts) ** 2).max(axis=-1)),
        ("clamped after the sum? Then one dimension makes up for another.",
         lambda images, texts: np.maximum(0, _difference(images, texts).sum(axis=-1)) ** 2),
        ("transposed? A picture is a row.", lambda images, texts: _expected(images, texts).T),
        ("the wrong sign? A similarity would be minus the penalty.", lambda images, texts: -_expected(images, texts)),
    ),
    tell=_tell,
    shape="i t",
)
