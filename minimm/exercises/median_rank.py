"""Lesson 01: the median rank of text retrieval, with several captions an image."""

import numpy as np

from ._exercise import Case, Exercise, number_in_words


def _case(seed, per_image, about="", shift=0.0):
    """Similarities without ties (`i t`), own captions a little higher; per_image: how many captions each image has."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.repeat(np.arange(len(per_image)), per_image))
    own = owner == np.arange(len(per_image))[:, None]
    return Case({"similarity": np.tanh(0.5 * rng.normal(size=own.shape) + 0.3 * own) + shift, "image_of_text": owner}, about)


def _cases():
    return [
        _case(35, [2, 1, 3, 1, 2, 1, 2, 2]),
        _case(11, [1, 2, 1, 4, 1, 1, 3]),
        _case(12, [1] * 10, "one caption an image, in another order"),
        _case(355, [3, 1, 1, 2, 1, 2, 1, 1, 1, 2]),
        _case(14, [5, 5, 5, 5, 5, 5], "five captions an image, as in MS-COCO"),
        _case(15, [4, 7], "two images"),
        _case(16, [1, 3, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1]),
        _case(17, [1, 1, 2, 1, 6, 1, 1, 1, 1]),
        _case(18, [2, 1, 1, 3, 1, 2, 1], "all similarities negative", shift=-2.0),
    ]


def _before(similarity, image_of_text, pick=max):
    """How many captions of other images stand before an image's own ones, of which `pick` chooses one."""
    ranks = []
    for n, row in enumerate(similarity):
        own = pick([row[k] for k in range(len(row)) if image_of_text[k] == n])
        ranks.append(sum(1 for k in range(len(row)) if row[k] > own and image_of_text[k] != n))
    return np.array(ranks)


def _expected(similarity, image_of_text):
    return np.floor(np.median(_before(similarity, image_of_text))) + 1


def _of_texts(similarity, image_of_text):
    return (similarity > similarity[image_of_text, np.arange(len(image_of_text))]).sum(axis=0)


def _among_own(similarity, image_of_text, pick):
    # as `_before`, with the image's further captions counted
    own = [pick(row[image_of_text == n]) for n, row in enumerate(similarity)]
    return (similarity > np.array(own)[:, None]).sum(axis=1)


def _diagonal(similarity, image_of_text):
    return (similarity > np.diag(similarity)[:, None]).sum(axis=1)


def _median(ranks):
    return np.floor(np.median(ranks)) + 1


_tell = number_in_words(
    "the result must be the median of the images' ranks, rounded down", ("low", "high"),
    (1, np.inf, "ranks count from 1, and so does their median"))


EXERCISE = Exercise(
    name="median_rank",
    lesson="01",
    difficulty=2,
    minutes=15,
    prompt="""Write `median_rank(similarity, image_of_text)`: at which place does the typical image find a caption of its own?

`similarity` is a float tensor of shape `i t`: row n says how similar image n is to each of the t captions. `image_of_text`
(`t`, whole numbers) says which image each caption belongs to; every image has at least one, some have several, in any
order. The rank of an image is the place of the best of its own captions among all captions, counted from 1. Return the
median of the ranks, as a number or a 0-d tensor; of an even number of images it is half the sum of the two in the middle,
rounded down. No two similarities are equal.""",
    hints=(
        "An image looks along its row. Which entries of the row belong to its own captions?",
        "`own = image_of_text == torch.arange(i)[:, None]` is `i t`. With all others set to minus infinity the largest entry"
        " of a row is that of the best own caption; how many entries of the row are larger?",
        "`torch.median` takes the lower of the two in the middle; `torch.quantile(ranks.double(), 0.5)` takes half their sum."
        " Round that down.",
    ),
    solution='''
def median_rank(similarity, image_of_text):
    own = image_of_text == torch.arange(len(similarity))[:, None]  # i t
    best = similarity.masked_fill(~own, float("-inf")).amax(dim=1, keepdim=True)
    ranks = 1 + (similarity > best).sum(dim=1)
    return ranks.double().quantile(0.5).floor()
''',
    fact="The authors of VSE++ round the median down, so that half of 1 and 2 is printed as 1. And a median rank of 1 may still "
    "leave nearly half of the images with a wrong caption in the first place.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("torch.median? Of an even number it takes the lower of the two in the middle.",
         lambda similarity, image_of_text: np.sort(_before(similarity, image_of_text))[(len(similarity) - 1) // 2] + 1),
        ("counted from 0? The first place is 1.", lambda similarity, image_of_text: _expected(similarity, image_of_text) - 1),
        ("the mean of the ranks instead of their median?",
         lambda similarity, image_of_text: _before(similarity, image_of_text).mean() + 1),
        ("the mean of the ranks, rounded down, instead of their median?",
         lambda similarity, image_of_text: np.floor(_before(similarity, image_of_text).mean()) + 1),
        ("not rounded down?", lambda similarity, image_of_text: np.median(_before(similarity, image_of_text)) + 1),
        ("rounded up?", lambda similarity, image_of_text: np.ceil(np.median(_before(similarity, image_of_text))) + 1),
        ("the upper of the two in the middle?",
         lambda similarity, image_of_text: np.sort(_before(similarity, image_of_text))[len(similarity) // 2] + 1),
        ("wrong direction? Every image looks along its row; these are the captions, which look for their image.",
         lambda similarity, image_of_text: _median(_of_texts(similarity, image_of_text))),
        ("image_of_text left out? Caption n need not belong to image n.",
         lambda similarity, image_of_text: _median(_diagonal(similarity, image_of_text))),
        ("the worst of an image's own captions instead of the best?",
         lambda similarity, image_of_text: _median(_among_own(similarity, image_of_text, np.min))),
        ("the first of an image's own captions instead of the best?",
         lambda similarity, image_of_text: _median(_among_own(similarity, image_of_text, lambda own: own[0]))),
        ("the last of an image's own captions instead of the best?",
         lambda similarity, image_of_text: _median(_among_own(similarity, image_of_text, lambda own: own[-1]))),
        ("ranked from the least similar caption on?",
         lambda similarity, image_of_text: _median(_before(-similarity, image_of_text))),
        ("the smallest rank instead of the median?",
         lambda similarity, image_of_text: _before(similarity, image_of_text).min() + 1),
        ("the largest rank instead of the median?",
         lambda similarity, image_of_text: _before(similarity, image_of_text).max() + 1),
    ),
    tell=_tell,
    plain_number=True,
)
