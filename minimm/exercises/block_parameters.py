"""Lesson 02: parameters of a transformer block with cross-attention."""

import numpy as np

from ._exercise import Case, Exercise


def _case(seed, states, context, hidden, about=""):
    rng = np.random.default_rng(seed)
    return Case({"states": rng.normal(size=states), "context": rng.normal(size=context), "hidden": hidden}, about)


def _cases():
    return [
        _case(0, (2, 7, 6), (2, 5, 9), 10),
        _case(1, (3, 4, 8), (3, 11, 5), 32),
        _case(2, (4, 9, 12), (4, 3, 7), 20),
        _case(3, (2, 7, 6), (2, 30, 9), 10, "case 1 with a longer context"),
        _case(4, (2, 6, 5), (2, 4, 5), 11, "a context of the block's own width"),
        _case(5, (5, 3, 16), (5, 2, 4), 9),
        _case(6, (1, 8, 3), (1, 6, 40), 8),
    ]


def _linear(before, after):
    return sum(1 for _ in range(before * after)) + after


def _expected(states, context, hidden):
    """Layer by layer."""
    d, c = states.shape[-1], context.shape[-1]
    own = [(d, d)] * 4
    cross = [(d, d), (c, d), (c, d), (d, d)]
    maps = sum(_linear(*shape) for shape in [*own, *cross, (d, hidden), (hidden, d)])
    return np.array(float(maps + 3 * (d + d)))


def _count(states, context, hidden, own=4, cross=(2, 2), mlp=2, norms=3, norm=2, bias=1, mlp_bias=lambda d, h: d + h,
           change=lambda d, c, h: (d, c, h)):
    d, c, h = change(states.shape[-1], context.shape[-1], hidden)
    q, k = cross
    attention = (own + q) * (d * d + bias * d) + k * (c * d + bias * d)
    return np.array(float(attention + mlp * d * h + bias * mlp_bias(d, h) + norms * norm * d))


def _slip(**changes):
    return lambda **inputs: _count(**inputs, **changes)


def _tell(came, expected):
    side = "many" if came > expected else "few"
    return (f"the result is the number of parameters of two attention layers, two linear maps and three LayerNorms; "
            f"{came:.6g} are too {side}.")


EXERCISE = Exercise(
    name="block_parameters",
    lesson="02",
    difficulty=2,
    minutes=10,
    prompt="""Write `block_parameters(states, context, hidden)`: the parameters of a fusion block of ALBEF.

The block has a self-attention of the words' `states` (`b l d`) and a cross-attention from them to the picture's states,
`context` (`b n c`), each with four linear maps (queries, keys, values, output); a perceptron of two linear maps, from d
to `hidden` numbers and back; and three LayerNorms. Queries, keys, values and outputs are d wide. Every linear map has a
bias; a LayerNorm has a gain and a bias for each of d numbers. Return how many numbers the block learns.""",
    hints=(
        "A linear map from x to y numbers holds a matrix of x times y and a bias of y. Which of b, l, n, d and c does"
        " it depend on here?",
        "How many heads there are does not matter: they share the d numbers. Of the cross-attention's maps only those"
        " of keys and values start from c numbers.",
        "Eight maps of attention, six of them d to d and two c to d; two of the perceptron, whose biases differ in"
        " length; three times 2 d for the LayerNorms.",
    ),
    solution='''
def block_parameters(states, context, hidden):
    d, c = states.shape[-1], context.shape[-1]
    def linear(before, after):
        return before * after + after
    attention = 6 * linear(d, d) + 2 * linear(c, d)
    perceptron = linear(d, hidden) + linear(hidden, d)
    return attention + perceptron + 3 * (2 * d)
''',
    fact="The number of tokens is not in it: parameters do not depend on lengths, operations do. With the usual hidden "
    "width of 4 d the perceptron holds 8 d² numbers and an attention layer 4 d².",
    cases=_cases,
    expected=_expected,
    slips=(
        ("the biases of the linear maps left out?", _slip(bias=0)),
        ("the LayerNorms left out?", _slip(norms=0)),
        ("two LayerNorms? The cross-attention has one of its own.", _slip(norms=2)),
        ("the biases of the LayerNorms left out?", _slip(norm=1)),
        ("the cross-attention left out?", _slip(cross=(0, 0))),
        ("the self-attention left out?", _slip(own=0)),
        ("keys and values of the cross-attention made from d numbers? They come from the context.",
         _slip(change=lambda d, c, h: (d, d, h))),
        ("queries of the cross-attention made from the context? They come from the block's own states.",
         _slip(cross=(1, 3))),
        ("all four maps of the cross-attention made from the context?", _slip(cross=(0, 4))),
        ("the output maps of attention left out?", _slip(own=3, cross=(1, 2))),
        ("one map of the perceptron instead of two?", _slip(mlp=1)),
        ("the perceptron left out?", _slip(mlp=0, mlp_bias=lambda d, h: 0)),
        ("the biases of the perceptron left out?", _slip(mlp_bias=lambda d, h: 0)),
        ("both biases of the perceptron d long? One is as long as `hidden` says.", _slip(mlp_bias=lambda d, h: 2 * d)),
        ("both biases of the perceptron as long as `hidden` says? One is d long.", _slip(mlp_bias=lambda d, h: 2 * h)),
        ("a hidden width of 4 d? It is given here.", _slip(change=lambda d, c, h: (d, c, 4 * d))),
        ("lengths for widths? The states are `b l d`: d comes last.",
         lambda states, context, hidden: _count(states.swapaxes(1, 2), context.swapaxes(1, 2), hidden)),
    ),
    tell=_tell,
    plain_number=True,
)
