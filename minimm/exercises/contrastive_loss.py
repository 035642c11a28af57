"""Lesson 05: CLIP's symmetric cross-entropy."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words
from ._formulas import both_ways, log_softmax, one_way, softmax, unit


def _pairs(seed, b, d, log_scale, agreement=0.7):
    """Features of b pairs that agree a little, in lengths that differ from row to row."""
    rng = np.random.default_rng(seed)
    shared = agreement * rng.normal(size=(b, d))
    image = (shared + rng.normal(size=(b, d))) * rng.uniform(0.5, 4, size=(b, 1))
    text = (shared + rng.normal(size=(b, d))) * rng.uniform(0.5, 4, size=(b, 1))
    return {"image_features": image, "text_features": text, "log_scale": np.array(log_scale)}


def _cases():
    first = _pairs(303, 5, 8, 1.2)  # seeds with which the known slips give numbers well apart
    image, text = first["image_features"], first["text_features"]
    order = [3, 0, 4, 2, 1]
    same = np.tile(_pairs(4, 1, 9, 0.0)["image_features"], (6, 1))
    return [
        Case(first),
        Case(_pairs(21, 3, 7, np.log(1 / 0.07)), "CLIP's first temperature, 0.07"),
        Case(_pairs(66, 7, 4, 0.0)),
        Case(_pairs(209, 4, 9, -0.7), "a scale below 1"),
        Case({**first, "image_features": image[order], "text_features": text[order]}, "the pairs of case 1 in another order"),
        Case({**first, "image_features": text, "text_features": image}, "the pairs of case 1 with the modalities swapped"),
        Case({**first, "image_features": 10 * image}, "case 1 with longer image features; only directions count"),
        Case({"image_features": same, "text_features": same, "log_scale": np.array(2.0)},
             "all features identical, so that every match is a guess among the batch"),
        Case(_pairs(10, 6, 5, np.log(100), agreement=3), "a scale of 100, as high as CLIP lets it grow",
             "Has exp left the range of float32? cross_entropy and log_softmax subtract the largest logit first."),
    ]


def _logits(image_features, text_features, log_scale):
    return np.exp(log_scale) * unit(image_features) @ unit(text_features).T


def _expected(image_features, text_features, log_scale):
    """-log of the probability of each match, among the texts and among the images, written out."""
    lengths = np.outer((image_features**2).sum(axis=1), (text_features**2).sum(axis=1)) ** 0.5
    likelihood = np.exp(np.exp(log_scale) * (image_features @ text_features.T) / lengths)
    match = np.diag(likelihood)
    return -np.mean([np.log(match / likelihood.sum(axis=1)), np.log(match / likelihood.sum(axis=0))])


def _from_logits(loss):
    """A slip in what is done with the right logits."""
    return lambda image_features, text_features, log_scale: loss(_logits(image_features, text_features, log_scale))


def _from_features(logits):
    """A slip in how the logits come about."""
    return lambda image_features, text_features, log_scale: both_ways(logits(image_features, text_features, log_scale))


def _first_column(logits):
    return -(log_softmax(logits)[:, 0].mean() + log_softmax(logits.T)[:, 0].mean()) / 2


_tell = number_in_words(
    "the loss must be the mean of two cross-entropies, image to text and text to image, where row n's target is n")


_NOT_UNIT = "{} not normalised to length 1?"
_ONE_WAY = "only one direction, {}? (Or the same one twice: the other direction needs the transposed logits.)"

EXERCISE = Exercise(
    name="contrastive_loss",
    lesson="05",
    difficulty=2,
    minutes=15,
    prompt="""Write `contrastive_loss(image_features, text_features, log_scale)`: the loss that CLIP is trained with.

`image_features` and `text_features` are float tensors of shape `b d`; row n of the one belongs to row n of the other.
They are not normalised. `log_scale` is a 0-d tensor, the logarithm of the factor that the cosines are multiplied by.
The logits (`b b`) are $\\exp(\\text{log\\_scale})$ times the cosine of every image with every text. Take the
cross-entropy that finds the right text for every image, the one that finds the right image for every text (each the mean
over the batch), and return the mean of the two as a 0-d tensor. Gradients must flow back to all three inputs.""",
    hints=(
        "Cosines are dot products of rows of length 1: normalise both, then one matrix product gives all `b b` of them.",
        "Row n of the logits is a classification of image n over the b texts. Its right answer is n, so the targets are"
        " `torch.arange(b)`. For the texts the same holds for the columns.",
        "`torch.nn.functional.cross_entropy(logits, targets)` takes logits (no softmax before it) and averages over the"
        " rows. The second direction is the same call on `logits.T`.",
    ),
    solution='''
def contrastive_loss(image_features, text_features, log_scale):
    image = image_features / image_features.norm(dim=1, keepdim=True)
    text = text_features / text_features.norm(dim=1, keepdim=True)
    logits = log_scale.exp() * image @ text.T  # b b: images down, texts across
    targets = torch.arange(len(logits))
    image_to_text = torch.nn.functional.cross_entropy(logits, targets)
    text_to_image = torch.nn.functional.cross_entropy(logits.T, targets)
    return (image_to_text + text_to_image) / 2
''',
    fact="A model that knows nothing has a loss of ln(batch size): 4.85 for a batch of 128, 10.4 for CLIP's 32,768. So loss "
    "curves of different batch sizes cannot be compared, and a curve stuck at ln(batch) has learnt nothing.",
    cases=_cases,
    expected=_expected,
    slips=(
        (_NOT_UNIT.format("features"), _from_features(lambda image, text, s: np.exp(s) * image @ text.T)),
        (_NOT_UNIT.format("image features"), _from_features(lambda image, text, s: np.exp(s) * image @ unit(text).T)),
        (_NOT_UNIT.format("text features"), _from_features(lambda image, text, s: np.exp(s) * unit(image) @ text.T)),
        ("features normalised over the wrong axis (over the batch instead of each row)?",
         _from_features(lambda image, text, s: np.exp(s) * unit(image, 0) @ unit(text, 0).T)),
        (_ONE_WAY.format("image to text"), _from_logits(one_way)),
        (_ONE_WAY.format("text to image"), _from_logits(lambda logits: one_way(logits.T))),
        ("the two directions added instead of averaged?", _from_logits(lambda logits: 2 * both_ways(logits))),
        ("parentheses missing? a + b / 2 halves only b.",
         _from_logits(lambda logits: one_way(logits) + one_way(logits.T) / 2)),
        ("parentheses missing? a / 2 + b halves only a.",
         _from_logits(lambda logits: one_way(logits) / 2 + one_way(logits.T))),
        ("every image compared with the images instead of the texts?",
         _from_features(lambda image, text, s: _logits(image, image, s))),
        ("every text compared with the texts instead of the images?",
         _from_features(lambda image, text, s: _logits(text, text, s))),
        ("log_scale used as it is, without exp?", _from_features(lambda image, text, s: s * unit(image) @ unit(text).T)),
        ("divided by the scale instead of multiplied, as if it were a temperature?",
         _from_features(lambda image, text, s: np.exp(-s) * unit(image) @ unit(text).T)),
        ("log_scale left out?", _from_features(lambda image, text, s: unit(image) @ unit(text).T)),
        ("summed over the batch instead of averaged?", _from_logits(lambda logits: len(logits) * both_ways(logits))),
        ("summed over the batch and over both directions instead of averaged?",
         _from_logits(lambda logits: 2 * len(logits) * both_ways(logits))),
        ("wrong sign? The cross-entropy is minus the log-probability.", _from_logits(lambda logits: -both_ways(logits))),
        ("every row compared with column 0? Row n's target is n.", _from_logits(_first_column)),
        ("averaged over all pairs? Only the diagonal holds the matches.",
         _from_logits(lambda logits: -(log_softmax(logits).mean() + log_softmax(logits.T).mean()) / 2)),
        ("softmax before cross_entropy? It takes logits and applies the softmax itself.",
         _from_logits(lambda logits: (one_way(softmax(logits)) + one_way(softmax(logits.T))) / 2)),
        ("probability instead of its logarithm?",
         _from_logits(lambda logits: -(np.diag(softmax(logits)).mean() + np.diag(softmax(logits.T)).mean()) / 2)),
    ),
    tell=_tell,
    gradient_to=("image_features", "text_features", "log_scale"),
)
