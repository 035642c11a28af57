"""Lesson 05: an ensemble of prompts as a classifier."""

import numpy as np

from ._exercise import Case, Exercise, furthest_row, lengths_in_words


def _prompts(seed, c, p, d):
    """Prompt features (`c p d`) whose lengths differ widely from prompt to prompt."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(c, 1, d)) + 0.8 * rng.normal(size=(c, p, d))
    return {"prompt_features": features * rng.uniform(0.5, 8, size=(c, p, 1))}


def _cases():
    first = _prompts(0, 4, 3, 6)
    stretched = first["prompt_features"].copy()
    stretched[:, 0] *= 30
    return [
        Case(first),
        Case(_prompts(1, 3, 5, 7)),
        Case(_prompts(2, 6, 2, 4)),
        Case(_prompts(3, 5, 1, 8), "one prompt a class"),
        Case(_prompts(4, 1, 4, 5), "a single class"),
        Case({"prompt_features": stretched}, "case 1 with a much longer first prompt; only directions count"),
    ]


def _unit(features, axis=-1):
    return features / np.sqrt((features**2).sum(axis=axis, keepdims=True))


def _expected(prompt_features):
    classes = []
    for prompts in prompt_features:
        mean = sum(prompt / np.sqrt(np.dot(prompt, prompt)) for prompt in prompts) / len(prompts)
        classes.append(mean / np.sqrt(np.dot(mean, mean)))
    return np.array(classes)


def _tell(came, expected):
    lengths = lengths_in_words(came)
    if lengths:
        return f"each class's row must have length 1; yours have {lengths}."
    row = furthest_row(came, expected)
    return (
        "rows have length 1, as they must, but they must point along the mean of the class's prompts, each of which counts "
        f"the same whatever its length; class {row} points elsewhere."
    )


EXERCISE = Exercise(
    name="zero_shot_classifier",
    lesson="05",
    difficulty=2,
    minutes=10,
    prompt="""Write `zero_shot_classifier(prompt_features)`: turn the text features of several prompts a class ("a picture of
a cup", "there is a cup", ...) into one row of weights a class, as CLIP's ensemble does.

`prompt_features` is a float tensor of shape `c p d`: c classes, p prompts each, d dimensions; not normalised. Scale every
prompt's feature to length 1, take the mean over the prompts of a class, and scale that mean to length 1 again. Return a
tensor of shape `c d` and of the same dtype. No feature and no mean is zero.""",
    hints=(
        "Three steps: normalise, average, normalise. Which axis of `c p d` does each one work on?",
        "A feature is a vector along the last axis (d): lengths are taken there. The prompts stand along the middle axis (p):"
        " the mean is taken there, and it removes that axis.",
        "A mean of vectors of length 1 is shorter than 1 unless they are all the same. That is why the last step is needed,"
        " over the last axis of `c d`.",
    ),
    solution='''
def zero_shot_classifier(prompt_features):
    unit = prompt_features / prompt_features.norm(dim=-1, keepdim=True)  # c p d
    mean = unit.mean(dim=1)  # c d
    return mean / mean.norm(dim=-1, keepdim=True)
''',
    fact="CLIP's authors used 80 prompts a class on ImageNet and gained about 3.5 points over a single one. To classify a "
    "picture costs no more than before: the prompts are averaged once, and one row a class is left.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the prompts not normalised before the mean? A long one then outweighs the others.",
         lambda prompt_features: _unit(prompt_features.mean(axis=1))),
        ("the mean not normalised again?", lambda prompt_features: _unit(prompt_features).mean(axis=1)),
        ("nothing normalised? Neither the prompts nor their mean has length 1.",
         lambda prompt_features: prompt_features.mean(axis=1)),
        ("the sum over the prompts, not normalised again?", lambda prompt_features: _unit(prompt_features).sum(axis=1)),
        ("the mean over the classes instead of over the prompts?",
         lambda prompt_features: _unit(_unit(prompt_features).mean(axis=0))),
        ("the prompts normalised over the wrong axis (p instead of d)?",
         lambda prompt_features: _unit(_unit(prompt_features, 1).mean(axis=1))),
        ("the prompts normalised over the wrong axis (c instead of d)?",
         lambda prompt_features: _unit(_unit(prompt_features, 0).mean(axis=1))),
        ("the mean normalised over the wrong axis (c instead of d)?",
         lambda prompt_features: _unit(_unit(prompt_features).mean(axis=1), 0)),
        ("both normalised over the wrong axis?",
         lambda prompt_features: _unit(_unit(prompt_features, 0).mean(axis=1), 0)),
        ("only the first prompt of each class used?", lambda prompt_features: _unit(prompt_features)[:, 0]),
        ("only the last prompt of each class used?", lambda prompt_features: _unit(prompt_features)[:, -1]),
        ("transposed? A class is a row here.", lambda prompt_features: _expected(prompt_features).T),
        ("normalised, but not averaged over the prompts?", lambda prompt_features: _unit(prompt_features)),
    ),
    tell=_tell,
    shape="c d",
)
