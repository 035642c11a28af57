"""Lesson 07: ViLT's patches: cut, flatten, one linear map; the same as a convolution."""

import numpy as np

from ._exercise import Case, Exercise


def _inputs(seed, b, c, h, w, p, d):
    rng = np.random.default_rng(seed)
    return {"images": rng.normal(size=(b, c, h, w)), "weight": rng.normal(size=(d, c, p, p)) / np.sqrt(c * p * p),
            "bias": rng.normal(size=d)}


def _cases():
    return [
        Case(_inputs(0, 2, 3, 8, 4, 2, 5)),
        Case(_inputs(1, 4, 3, 6, 9, 3, 2)),
        Case(_inputs(2, 3, 1, 4, 10, 2, 6), "one channel"),
        Case(_inputs(3, 1, 3, 4, 4, 4, 7), "a single patch"),
        Case(_inputs(4, 2, 3, 5, 3, 1, 4), "patches of one pixel"),
        Case({**_inputs(5, 2, 3, 4, 6, 2, 5), "bias": np.zeros(5)}, "no bias"),
    ]


def _patches(images, p):
    """`b c h w -> b n c p p`, row by row."""
    h, w = images.shape[2:]
    return np.stack([images[:, :, y : y + p, x : x + p] for y in range(0, h, p) for x in range(0, w, p)], axis=1)


def _expected(images, weight, bias):
    p = weight.shape[2]
    found = [[(weight * patch).sum(axis=(1, 2, 3)) + bias for patch in of_image] for of_image in _patches(images, p)]
    return np.array(found)


def _transposed(x):
    return x.swapaxes(-1, -2)


def _by_columns(images, weight, bias):
    patches = _patches(_transposed(images), weight.shape[2])  # those of a column come one after the other
    return np.einsum("d c y x, b n c y x -> b n d", weight, _transposed(patches)) + bias


def _plain_reshape(images, weight, bias):
    """The picture's numbers in their order, cut into pieces as long as a patch."""
    flat = weight.reshape(len(weight), -1)
    return images.reshape(len(images), -1, flat.shape[1]) @ flat.T + bias


def _flat(images, weight, order):
    """Patches as rows, `b n k`, with the pixels of each in the given order of the axes `c p p`."""
    patches = _patches(images, weight.shape[2]).transpose(0, 1, *(2 + axis for axis in order))
    return patches.reshape(*patches.shape[:2], -1)


EXERCISE = Exercise(
    name="project_patches",
    lesson="07",
    difficulty=2,
    minutes=15,
    prompt="""Write `project_patches(images, weight, bias)`: turn pictures into sequences of vectors, as ViLT does.

`images` is a float tensor of shape `b c h w`. `weight` has the shape `d c p p`, `bias` the shape `d`; h and w are
multiples of p. Cut every picture into patches of p x p pixels that do not overlap, in reading order: the first row of
patches from left to right, then the second. Each patch becomes one vector: its entry k is the sum of all products of
the patch (`c p p`) with `weight[k]`, plus `bias[k]`. Return a tensor of shape `b n d` with n = (h / p) (w / p).""",
    hints=(
        "A linear map that is applied to every patch of a grid is a convolution whose stride is the size of its"
        " kernel.",
        "Without a convolution: `reshape` cannot cut patches out, as the pixels of one are not next to each other in"
        " memory. Split h and w into (grid, p) each, bring the two axes of the grid to the front with `permute`, and"
        " flatten then.",
        "`torch.nn.functional.conv2d(images, weight, bias, stride=...)` gives `b d rows columns`. The places are its"
        " last two axes: flatten them, then let d be the last one.",
    ),
    solution='''
def project_patches(images, weight, bias):
    grid = torch.nn.functional.conv2d(images, weight, bias, stride=weight.shape[-1])  # b d rows columns
    return grid.flatten(2).transpose(1, 2)
''',
    fact="This is all that ViLT does to a picture before words and patches meet. In a model with a detector the part "
    "in front of the transformer takes most of the time.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the bias left out?", lambda images, weight, bias: _expected(images, weight, 0 * bias)),
        ("the patches in columns? They come in reading order, row by row.", _by_columns),
        ("is that a bare reshape of the picture? A patch's pixels are not next to each other: its rows are.",
         _plain_reshape),
        ("rows and columns swapped within each patch?",
         lambda images, weight, bias: _expected(images, _transposed(weight), bias)),
        ("the kernel turned around? What deep learning calls a convolution does not flip it.",
         lambda images, weight, bias: _expected(images, weight[..., ::-1, ::-1], bias)),
        ("the patches flattened with the channels last? In `weight` they come first.",
         lambda images, weight, bias: _flat(images, weight, (1, 2, 0)) @ weight.reshape(len(weight), -1).T + bias),
        ("the weight reshaped where it should be transposed? It has one row for each of the d entries.",
         lambda images, weight, bias: _flat(images, weight, (0, 1, 2)) @ weight.reshape(-1, len(weight)) + bias),
        ("the mean of the products instead of their sum?",
         lambda images, weight, bias: _expected(images, weight / weight[0].size, bias)),
        ("the bias added once for every pixel?",
         lambda images, weight, bias: _expected(images, weight, weight[0].size * bias)),
        ("`b d n` instead of `b n d`?", lambda images, weight, bias: _transposed(_expected(images, weight, bias))),
    ),
    tell=lambda came, expected: "each patch must become the sum of its products with the weights, plus the bias, and "
    "patches come in reading order; "
    f"{np.mean(~np.isclose(came, expected, atol=1e-4)):.0%} of the entries are something else.",
    shape="b n d",
)
