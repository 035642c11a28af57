"""Lesson 06: two streams, each reading the other one."""

import numpy as np

from ._exercise import Case, Exercise, furthest_row
from ._formulas import softmax


def _inputs(seed, l, r, c, real=None):
    """Queries, keys and values of l tokens and of r regions; the tokens from number `real` on are padding."""
    rng = np.random.default_rng(seed)
    sizes = {"text": l, "region": r}
    parts = {f"{stream}_{part}": rng.normal(size=(n, c)) for stream, n in sizes.items() for part in "qkv"}
    return {**parts, "text_mask": np.arange(l) < (real or l)}


def _cases():
    masked = "A softmax of nothing but -infinity is NaN: the mask is for what is read, the keys, not for who reads."
    return [
        Case(_inputs(1, 7, 4, 3, real=5), not_finite=masked),
        Case(_inputs(2, 5, 6, 8, real=3), not_finite=masked),
        Case(_inputs(3, 6, 3, 4), "no padding"),
        Case(_inputs(4, 5, 5, 7, real=4), "as many regions as tokens", masked),
        Case(_inputs(5, 4, 1, 6, real=2), "a single region", masked),
        Case(_inputs(6, 8, 3, 5, real=1), "a single real token", masked),
    ]


def _read(queries, keys, values, mask, scale):
    rows = []
    for query in queries:
        scores = np.array([np.dot(query, key) * scale for key in keys])
        weights = np.exp(scores[mask] - scores[mask].max())
        rows.append(weights @ values[mask] / weights.sum())
    return np.array(rows)


def _expected(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
    scale, every = text_q.shape[1] ** -0.5, np.ones(len(region_k), bool)
    return np.concatenate([_read(text_q, region_k, region_v, every, scale),
                           _read(region_q, text_k, text_v, text_mask, scale)])


def _scores(queries, keys, mask=None):
    scores = queries @ keys.T / np.sqrt(queries.shape[1])
    return scores if mask is None else np.where(mask, scores, -np.inf)


def _slip(read):
    """A slip in how a stream reads: a function of queries, keys, values, and of the mask of keys."""

    def slip(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
        return np.concatenate([read(text_q, region_k, region_v, np.ones(len(region_k), bool)),
                               read(region_q, text_k, text_v, text_mask)])

    return slip


def _self_attention(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
    text = softmax(_scores(text_q, text_k, text_mask)) @ text_v
    return np.concatenate([text, softmax(_scores(region_q, region_k)) @ region_v])


def _one_stream(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
    both = ((text_q, region_q), (text_k, region_k), (text_v, region_v))
    queries, keys, values = map(np.concatenate, both)
    mask = np.concatenate([text_mask, np.ones(len(region_k), bool)])
    return softmax(_scores(queries, keys, mask)) @ values


def _keys_for_queries(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
    return _expected(text_k, text_q, text_v, region_k, region_q, region_v, text_mask)


def _no_softmax(queries, keys, values, mask):
    return np.where(mask, queries @ keys.T / np.sqrt(queries.shape[1]), 0) @ values


def _scaled(power):
    def read(queries, keys, values, mask):
        width = queries.shape[1]
        return softmax(np.where(mask, queries @ keys.T * width**power, -np.inf)) @ values

    return _slip(read)


def _columns(queries, keys, values, mask):
    return np.where(mask, softmax(_scores(queries, keys), axis=0), 0) @ values


def _zeroed(queries, keys, values, mask):
    return np.where(mask, softmax(_scores(queries, keys)), 0) @ values


def _inverted(queries, keys, values, mask):
    return softmax(_scores(queries, keys, mask if mask.all() else ~mask)) @ values


def _uniform(queries, keys, values, mask):
    return np.repeat(values[mask].mean(0, keepdims=True), len(queries), axis=0)


def _score_of_zero(queries, keys, values, mask):
    return softmax(np.where(mask, _scores(queries, keys), 0)) @ values


def _regions_first(text_q, **rest):
    right = _expected(text_q, **rest)
    return np.concatenate([right[len(text_q):], right[: len(text_q)]])


def _pads_to_zero(text_mask, **rest):
    right = _expected(text_mask=text_mask, **rest)
    return np.where(np.concatenate([text_mask, np.ones(len(right) - len(text_mask), bool)])[:, None], right, 0)


def _added_to_queries(text_q, region_q, **rest):
    return np.concatenate([text_q, region_q]) + _expected(text_q=text_q, region_q=region_q, **rest)


def _transposed_scores(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
    """One table of scores for both ways of reading."""
    scores = _scores(text_q, region_k)
    return np.concatenate([softmax(scores) @ region_v, softmax(np.where(text_mask, scores.T, -np.inf)) @ text_v])


def _transposed_weights(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
    weights = softmax(_scores(text_q, region_k))
    return np.concatenate([weights @ region_v, weights.T @ text_v])


def _mask_of_readers(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
    """The mask on the queries in place of the keys: a row that is masked altogether reads everything alike."""
    to_regions = softmax(np.where(text_mask[:, None], _scores(text_q, region_k), 0))
    return np.concatenate([to_regions @ region_v, softmax(_scores(region_q, text_k)) @ text_v])


def _mask_of_both(text_q, region_v, text_mask, **rest):
    right = _expected(text_q=text_q, region_v=region_v, text_mask=text_mask, **rest)
    pads = np.concatenate([~text_mask, np.zeros(len(region_v), bool)])
    return np.where(pads[:, None], region_v.mean(axis=0), right)


def _one_after_the_other(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
    text = softmax(_scores(text_q, region_k)) @ region_v
    return np.concatenate([text, softmax(_scores(region_q, text, text_mask)) @ text])


def _keys_for_values(text_v, region_v, **rest):
    return _expected(text_v=rest["text_k"], region_v=rest["region_k"], **rest)


def _by_number_of_keys(queries, keys, values, mask):
    return softmax(np.where(mask, queries @ keys.T / np.sqrt(len(keys)), -np.inf)) @ values


def _tell(came, expected):
    row = furthest_row(came, expected)
    return (
        f"each row must be a mean of the other stream's values, weighted by how well its query fits the other stream's "
        f"keys; row {row} is the furthest off."
    )


EXERCISE = Exercise(
    name="co_attention",
    lesson="06",
    difficulty=2,
    minutes=15,
    prompt="""Write `co_attention(text_q, text_k, text_v, region_q, region_k, region_v, text_mask)`: one step in which
the words read the regions and the regions read the words, with one head.

For one pair: `text_q`, `text_k`, `text_v` are float tensors of shape `l c`: queries, keys and values made from l
tokens; `region_q`, `region_k`, `region_v`, of shape `r c`, from r regions. `text_mask` is a mask of shape `l`, True
for real tokens, False for padding, which nobody may read (at least one is real). Scores are divided by the root of c.
Return what the tokens have read (padding reads too: nobody will ask it), and below it what the regions have read: a
tensor of shape `(l + r) c`.""",
    hints=(
        "Attention is always the same: softmax of queries times keys, times values. Here each stream brings its own "
        "queries, and keys and values come from the other one.",
        "`text_q @ region_k.T` is `l r`: for each token a score for each region. The softmax runs over the regions, "
        "which are the last axis.",
        "The mask is for the regions' reading, where the tokens are the keys: `masked_fill(~text_mask, -torch.inf)` "
        "before the softmax. `torch.cat` puts both results together.",
    ),
    solution='''
def co_attention(text_q, text_k, text_v, region_q, region_k, region_v, text_mask):
    scale = text_q.shape[1] ** -0.5
    to_regions = (text_q @ region_k.T * scale).softmax(dim=-1)  # l r
    to_text = (region_q @ text_k.T * scale).masked_fill(~text_mask, -torch.inf).softmax(dim=-1)  # r l
    return torch.cat([to_regions @ region_v, to_text @ text_v])
''',
    fact="A co-attention and a self-attention in each stream score (l + r)^2 pairs together: as many as one "
    "self-attention over words and regions in a single stream. What differs is who competes with whom: here a word "
    "never takes weight from a region.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("each stream reading itself? Keys and values come from the other one.", _self_attention),
        ("one softmax over words and regions together? That is a single stream; here each stream reads only the other "
         "one.",
         _one_stream),
        ("queries and keys exchanged?", _keys_for_queries),
        ("the mask left out? Padding is read.", _slip(lambda q, k, v, mask: softmax(_scores(q, k)) @ v)),
        ("the mask the wrong way round?", _slip(_inverted)),
        ("weights of padding set to 0 after the softmax? The others then no longer add up to 1.", _slip(_zeroed)),
        ("scores of padding set to 0? A score of 0 still gets weight.", _slip(_score_of_zero)),
        ("the softmax along the queries? The weights of one query add up to 1.", _slip(_columns)),
        ("no softmax?", _slip(_no_softmax)),
        ("scores not divided by the root of c?", _scaled(0.0)),
        ("scores divided by c instead of its root?", _scaled(-1.0)),
        ("scores multiplied by the root of c?", _scaled(0.5)),
        ("scores divided by the root of the number of keys? The width c is meant.", _slip(_by_number_of_keys)),
        ("the weights divided by the root of c, behind the softmax? The scores are.",
         _slip(lambda q, k, v, mask: softmax(_scores(q * np.sqrt(q.shape[1]), k, mask)) @ v / np.sqrt(q.shape[1]))),
        ("the words' scores, transposed, for the regions too? Each stream brings queries of its own.", _transposed_scores),
        ("the words' weights, transposed, for the regions too? Each stream brings queries of its own.", _transposed_weights),
        ("the mask on the words that read? It is for the words that are read.", _mask_of_readers),
        ("padding kept from reading as well? It may read: nobody will ask it.", _mask_of_both),
        ("the regions reading what the words have just read? Both read what was there before.", _one_after_the_other),
        ("keys taken for values?", _keys_for_values),
        ("the regions first? The tokens come first.", _regions_first),
        ("what padding has read set to 0? Nobody asks for it; leave it.", _pads_to_zero),
        ("the plain mean of the values?", _slip(_uniform)),
        ("the queries added? The residual connection comes later.", _added_to_queries),
    ),
    tell=_tell,
    shape="(l + r) c",
    without=("scaled_dot_product_attention", "multi_head_attention_forward"),
)
