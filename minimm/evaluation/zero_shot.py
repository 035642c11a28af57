"""Zero-shot classification: the names of the classes, put into sentences, are the classifier (Radford et al. 2021,
section 3.1)."""

import torch
import torch.nn.functional as F

from .._errors import expect


@torch.no_grad()
def classifier(encode_text, tokenize, names, templates=("{}",)):
    """One row a class: the mean of the normalised features of its prompts, normalised again: `c e`.

    encode_text: ids `b l` -> features `b e`; tokenize: list of texts -> ids; names: of the classes, `c`;
    templates: prompts with {} for the name; several make an ensemble (section 3.1.4).
    Raises ValueError for no name, no template or a template without {}.
    """
    expect(len(names) > 0, "names", "none", "at least one class")
    expect(len(templates) > 0, "templates", "none", "at least one prompt")
    for template in templates:
        expect("{}" in template, "templates", repr(template), "a prompt with {} where the name goes")
    rows = []
    for name in names:
        features = encode_text(tokenize([template.format(name) for template in templates]))
        # Normalised first: else a prompt with a long feature would outvote the others.
        rows.append(F.normalize(F.normalize(features, dim=-1).mean(0), dim=-1))
    return torch.stack(rows)


def predict(features, weights):
    """The most similar class for every picture: features `b e`, weights `c e` -> `b` of int64."""
    return (F.normalize(features, dim=-1) @ weights.T).argmax(1)
