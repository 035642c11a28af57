"""Lesson 05: what a classifier made of words gets right, class by class."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words
from ._formulas import unit


def _case(seed, pictures, d, sizes, about=""):
    """Pictures near their classes' directions; classes of different sizes, some of them empty, in lengths that differ."""
    rng = np.random.default_rng(seed)
    classes = rng.normal(size=(len(sizes), d))
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    images = classes[labels] + 1.1 * rng.normal(size=(pictures, d))
    return Case({"image_features": images * rng.uniform(0.5, 4, size=(pictures, 1)),
                 "class_features": classes * np.exp(rng.normal(size=(len(sizes), 1))), "labels": labels}, about)


def _cases():
    return [
        _case(1, 29, 5, [14, 8, 4, 3]),
        _case(2, 23, 7, [2, 12, 9], "three classes"),
        _case(3, 31, 6, [17, 5, 0, 6, 3], "a class without a picture"),
        _case(4, 19, 4, [1, 0, 9, 3, 4, 2], "a class without a picture, one with a single picture"),
        _case(5, 13, 3, [7, 6]),
        _case(6, 37, 8, [20, 4, 5, 1, 7]),
    ]


def _predicted(image_features, class_features):
    return np.argmax(image_features @ unit(class_features).T, axis=1)


def _expected(image_features, class_features, labels):
    hits, seen = {}, {}
    for picture, label in zip(image_features, labels):
        cosines = [np.dot(picture, row) / np.sqrt(np.dot(row, row)) for row in class_features]
        seen[label] = seen.get(label, 0) + 1
        hits[label] = hits.get(label, 0) + (cosines.index(max(cosines)) == label)
    return np.array(100 * np.mean([hits[label] / seen[label] for label in seen]))


def _by_class(predicted, labels, of=None):
    """Percent of each class that is there; of: what decides to which class a picture counts, the labels if None."""
    of = labels if of is None else of
    return np.array([100 * np.mean(predicted[of == c] == labels[of == c]) for c in np.unique(of)])


def _of_classes(combine):
    """A slip in what is made of the classes' percentages."""
    return lambda image_features, class_features, labels: combine(
        _by_class(_predicted(image_features, class_features), labels), class_features, labels)


def _with(predict):
    """A slip in what is predicted."""
    return lambda image_features, class_features, labels: _by_class(predict(image_features, class_features), labels).mean()


def _of_all(image_features, class_features, labels):
    return 100 * np.mean(_predicted(image_features, class_features) == labels)


_tell = number_in_words(
    "the result must be the mean, over the classes that have a picture, of the percentage of the class's pictures whose most "
    "similar class is the right one", ("low", "high"), (0, 100, "the result is a percentage and lies between 0 and 100"))


EXERCISE = Exercise(
    name="zero_shot_accuracy",
    lesson="05",
    difficulty=2,
    minutes=15,
    prompt="""Write `zero_shot_accuracy(image_features, class_features, labels)`: how good is a classifier that was made of words?

`image_features` (`i d`) and `class_features` (`c d`, a row a class) are float tensors, neither of them normalised; `labels`
(`i`) holds the number of each picture's class. A picture is given the class with the highest cosine. For each class take the
share of its pictures that are given the right one, then the mean over the classes that have a picture at all: a class of a
thousand pictures counts no more than one of ten. Return it in percent, as a float or a 0-d tensor.""",
    hints=(
        "Which lengths matter? A picture's own length multiplies its whole row of inner products; that of a class one column.",
        "`predicted = (image_features @ weights.T).argmax(dim=1)`, with class rows of length 1; `predicted == labels` is `i`.",
        "`labels.unique()` holds the classes that are there. For one of them, `right[labels == c].double().mean()` is its share.",
    ),
    solution='''
def zero_shot_accuracy(image_features, class_features, labels):
    weights = class_features / class_features.norm(dim=1, keepdim=True)
    right = (image_features @ weights.T).argmax(dim=1) == labels  # i
    shares = [right[labels == c].double().mean() for c in labels.unique()]
    return 100 * sum(shares) / len(shares)
''',
    fact="You could leave the pictures' lengths alone: they cannot change which class is the most similar. CLIP's authors score "
    "data sets whose classes differ in size, such as Caltech-101, in this way: always guessing the largest class then gets 1/c.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the share of all pictures? Large classes then count more than small ones.", _of_all),
        ("the classes' features not normalised? A long one then wins too often.",
         _with(lambda images, classes: np.argmax(images @ classes.T, axis=1))),
        ("the classes' features normalised over the wrong axis?",
         _with(lambda images, classes: np.argmax(images @ unit(classes, 0).T, axis=1))),
        ("divided by the length twice?",
         _with(lambda images, classes: np.argmax(images @ (classes / (classes**2).sum(1, keepdims=True)).T, axis=1))),
        ("the least similar class instead of the most similar?",
         _with(lambda images, classes: np.argmin(images @ unit(classes).T, axis=1))),
        ("a fraction; was it to be percent?", _of_classes(lambda shares, classes, labels: shares.mean() / 100)),
        ("classes without a picture counted as 0?", _of_classes(lambda shares, classes, labels: shares.sum() / len(classes))),
        ("the sum over the classes instead of the mean?", _of_classes(lambda shares, classes, labels: shares.sum())),
        ("the misses counted instead of the hits?", _of_classes(lambda shares, classes, labels: 100 - shares.mean())),
        ("the median over the classes instead of the mean?", _of_classes(lambda shares, classes, labels: np.median(shares))),
        ("the share of what is *given* a class, not of what belongs to it? That is a precision.",
         lambda image_features, class_features, labels: _by_class(
             p := _predicted(image_features, class_features), labels, p).mean()),
        ("a count of pictures; was it to be percent?",
         lambda image_features, class_features, labels: np.sum(_predicted(image_features, class_features) == labels)),
    ),
    tell=_tell,
    plain_number=True,
)
