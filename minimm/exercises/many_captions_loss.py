"""Lesson 03: the contrastive loss where several captions belong to a picture."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words
from ._formulas import log_softmax, softmax


def _logits(seed, i, image_of_text, scale=3.0):
    rng = np.random.default_rng(seed)
    own = np.arange(i)[:, None] == np.array(image_of_text)
    return {"logits": scale * (np.tanh(0.6 * rng.normal(size=own.shape)) + 0.4 * own), "image_of_text": np.array(image_of_text)}


def _cases():
    return [
        Case(_logits(0, 3, [0, 2, 0, 1, 2, 0, 1])),
        Case(_logits(1, 4, [3, 3, 0, 1, 2, 0]), "some pictures with one caption, some with two"),
        Case(_logits(2, 2, [1, 0, 1, 1, 1]), "one picture with a single caption"),
        Case(_logits(3, 5, [4, 3, 2, 1, 0]), "one caption a picture, in another order"),
        Case(_logits(4, 3, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1], 60.0), "large logits",
             "Has exp left the range of float32? log_softmax subtracts the largest logit first."),
        Case({"logits": np.zeros((3, 6)), "image_of_text": np.array([0, 0, 1, 1, 2, 2])}, "all logits equal: chance"),
    ]


def _own(logits, image_of_text):
    return (np.arange(len(logits))[:, None] == image_of_text).astype(float)


def _expected(logits, image_of_text):
    """Caption by caption and picture by picture."""
    pictures = []
    for i, row in enumerate(logits):
        right = [t for t, picture in enumerate(image_of_text) if picture == i]
        total = row.max() + np.log(np.exp(row - row.max()).sum())
        pictures.append(np.mean([total - row[t] for t in right]))
    captions = []
    for t, column in enumerate(logits.T):
        captions.append(column.max() + np.log(np.exp(column - column.max()).sum()) - column[image_of_text[t]])
    return (np.mean(pictures) + np.mean(captions)) / 2


def _pictures(logits, image_of_text):
    own = _own(logits, image_of_text)
    return -(own / own.sum(axis=1, keepdims=True) * log_softmax(logits)).sum(axis=1).mean()


def _captions(logits, image_of_text):
    return -(_own(logits, image_of_text) * log_softmax(logits, 0)).sum(axis=0).mean()


def _with(pictures):
    """The other direction as it must be."""
    return lambda logits, image_of_text: (pictures(logits, image_of_text) + _captions(logits, image_of_text)) / 2


def _likelihood_of_any(logits, image_of_text):
    return -np.log((_own(logits, image_of_text) * softmax(logits)).sum(axis=1)).mean()


def _first_caption(logits, image_of_text):
    return -np.mean([log_softmax(logits)[i, list(image_of_text).index(i)] for i in range(len(logits))])


def _one_against_wrong(logits, image_of_text):
    """Every right caption against the wrong ones alone: its siblings are no candidates."""
    own, terms = _own(logits, image_of_text), []
    for i, row in enumerate(logits):
        terms.append(np.mean([-log_softmax(np.append(row[own[i] == 0], row[t])[None])[0, -1] for t in np.flatnonzero(own[i])]))
    return np.mean(terms)


def _last_caption(logits, image_of_text):
    return _first_caption(logits[:, ::-1], image_of_text[::-1])


def _softmax_of_the_table(logits, image_of_text):
    return -(softmax(_own(logits, image_of_text)) * log_softmax(logits)).sum(axis=1).mean()


def _yes_or_no(logits, image_of_text):
    return np.mean(np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0) - _own(logits, image_of_text) * logits)


_tell = number_in_words(
    "the loss must be the mean of two directions: for pictures with their captions as equally likely answers, and for "
    "captions with one picture each")


EXERCISE = Exercise(
    name="many_captions_loss",
    lesson="03",
    difficulty=2,
    minutes=15,
    prompt="""Write `many_captions_loss(logits, image_of_text)`: the contrastive loss of a batch in which a picture has
several captions.

`logits` is a float tensor of shape `i t`, a row a picture, a column a caption; `image_of_text` (`t`, int64) says which
picture each caption belongs to. Every picture has at least one. Picture to text: the target of a row is a distribution, 1 / n
on each of the picture's n captions and 0 elsewhere; take the cross-entropy with it and the mean over the pictures. Text to
image: every caption has one right picture; the mean over the captions. Return the mean of the two directions as a 0-d
tensor. Gradients must flow back to `logits`.""",
    hints=(
        "Which entries belong together? Compare `torch.arange(i)[:, None]` with `image_of_text`: `i t` of True and False.",
        "The rows' targets are that table as numbers, each row divided by its sum. The cross-entropy of a row is minus the sum"
        " of target times log_softmax.",
        "For the captions it is an ordinary cross-entropy: `logits.T` has a row a caption, and its right class is"
        " `image_of_text`.",
    ),
    solution='''
def many_captions_loss(logits, image_of_text):
    own = torch.arange(len(logits))[:, None] == image_of_text  # i t
    targets = own / own.sum(dim=1, keepdim=True)
    image_to_text = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    text_to_image = torch.nn.functional.cross_entropy(logits.T, image_of_text)
    return (image_to_text + text_to_image) / 2
''',
    fact="With n right answers a row the loss cannot reach 0: its least value is ln n in that direction, the entropy of the "
    "target. A curve that ends at ln 5 with five captions a picture is a perfect one.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("only the direction image to text?", _pictures),
        ("only the direction text to image?", _captions),
        ("the two directions added instead of averaged?", lambda logits, image_of_text: (
            _pictures(logits, image_of_text) + _captions(logits, image_of_text))),
        ("the captions of a picture summed instead of averaged? Each row of the targets must sum to 1.", _with(
            lambda logits, image_of_text: -(_own(logits, image_of_text) * log_softmax(logits)).sum(axis=1).mean())),
        ("averaged over all captions, so that pictures with many of them count more? Each picture counts once.", _with(
            lambda logits, image_of_text: -(_own(logits, image_of_text) * log_softmax(logits)).sum() / logits.shape[1])),
        ("the log of the summed probabilities instead of the mean of the logs? That asks for any one of the captions.",
         _with(_likelihood_of_any)),
        ("only the first caption of each picture?", _with(_first_caption)),
        ("only the last caption of each picture?", _with(_last_caption)),
        ("a softmax of the table of 0 and 1 as the targets? Wrong captions would get a share.", _with(_softmax_of_the_table)),
        ("the targets' own entropy taken off? That is the divergence; here it stays in.", _with(
            lambda logits, image_of_text: _pictures(logits, image_of_text) - np.log(_own(logits, image_of_text).sum(axis=1)).mean())),
        ("summed over the pictures and over the captions instead of averaged?", lambda logits, image_of_text: (
            len(logits) * _pictures(logits, image_of_text) + logits.shape[1] * _captions(logits, image_of_text)) / 2),
        ("pictures and captions in one mean? Each direction has a mean of its own.", lambda logits, image_of_text: (
            len(logits) * _pictures(logits, image_of_text) + logits.shape[1] * _captions(logits, image_of_text))
            / sum(logits.shape)),
        ("parentheses: only the captions' part halved?",
         lambda logits, image_of_text: _pictures(logits, image_of_text) + _captions(logits, image_of_text) / 2),
        ("parentheses: only the pictures' part halved?",
         lambda logits, image_of_text: _pictures(logits, image_of_text) / 2 + _captions(logits, image_of_text)),
        ("softmax over the wrong axis, text to image?", lambda logits, image_of_text: (
            _pictures(logits, image_of_text) - (_own(logits, image_of_text) * log_softmax(logits)).sum(axis=0).mean()) / 2),
        ("every entry a yes or no of its own (a binary cross-entropy)? Here the candidates of a row compete.", _yes_or_no),
        ("a picture's other captions taken out of the candidates? Here they are right answers, not absent ones.",
         _with(_one_against_wrong)),
        ("softmax over the wrong axis, picture to text?", _with(
            lambda logits, image_of_text: -(_own(logits, image_of_text) / _own(logits, image_of_text).sum(axis=1, keepdims=True)
                                            * log_softmax(logits, 0)).sum(axis=1).mean())),
        ("the mean over the whole table instead of a sum along each row?", _with(
            lambda logits, image_of_text: _pictures(logits, image_of_text) / logits.shape[1])),
        ("softmax before the logarithm of the softmax? Logits go in.", lambda logits, image_of_text: (
            _pictures(softmax(logits), image_of_text) + _captions(softmax(logits, 0), image_of_text)) / 2),
        ("wrong sign?", lambda logits, image_of_text: -(
            _pictures(logits, image_of_text) + _captions(logits, image_of_text)) / 2),
    ),
    tell=_tell,
    gradient_to=("logits",),
)
