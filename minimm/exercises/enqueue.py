"""Lesson 08: a queue that wraps around its end."""

import numpy as np

from ._exercise import Case, Exercise


def _case(seed, d, k, b, pointer, about=""):
    rng = np.random.default_rng(seed)
    return Case({"queue": rng.normal(size=(d, k)), "keys": rng.normal(size=(b, d)), "pointer": pointer}, about)


def _cases():
    return [
        _case(0, 3, 11, 4, 2),
        _case(1, 4, 10, 6, 7, "the keys reach beyond the end"),
        _case(2, 5, 9, 3, 6, "the keys end where the queue ends"),
        _case(3, 6, 8, 5, 0),
        _case(4, 2, 7, 7, 4, "as many keys as places"),
        _case(5, 7, 5, 2, 4, "only one place left in front of the end"),
    ]


def _expected(queue, keys, pointer):
    result, place = queue.copy(), pointer
    for key in keys:
        result[:, place] = key
        place = 0 if place == queue.shape[1] - 1 else place + 1
    return result


def _put(queue, columns, keys):
    result = queue.copy()
    for column, key in zip(columns, keys):
        if 0 <= column < queue.shape[1]:
            result[:, column] = key
    return result


def _at(start):
    """The slip of starting at another place."""
    return lambda queue, keys, pointer: _expected(queue, keys, start(pointer, len(keys)) % queue.shape[1])


def _cut(queue, keys, pointer):
    return _put(queue, range(pointer, pointer + len(keys)), keys)


def _last_at_end(queue, keys, pointer):
    first = min(pointer, queue.shape[1] - len(keys))
    return _put(queue, range(first, first + len(keys)), keys)


def _again_from_the_first(queue, keys, pointer):
    """Beyond the end the first keys stand once more."""
    rest = max(0, pointer + len(keys) - queue.shape[1])
    return _put(_cut(queue, keys, pointer), range(rest), keys)


def _shift(queue, keys, pointer):
    return np.concatenate([queue[:, len(keys):], keys.T], axis=1)


def _tell(came, expected):
    wrong = np.flatnonzero(~np.isclose(came, expected, atol=1e-4).all(axis=0))
    places = ", ".join(map(str, wrong[:6]))
    return (f"the keys stand in the columns from the pointer on, behind the last column it goes on with column 0, and "
            f"all others stay; {len(wrong)} of {came.shape[1]} columns are something else (counted from 0: {places}"
            f"{', ...' if len(wrong) > 6 else ''}).")


EXERCISE = Exercise(
    name="enqueue",
    lesson="08",
    difficulty=1,
    minutes=10,
    prompt="""Write `enqueue(queue, keys, pointer)`: the newest keys overwrite the oldest.

`queue` is `d k`, a key a column; `keys` is `b d`, a key a row, with b at most k; `pointer` is the number of the column
(from 0) where the oldest key stands. The first key goes there, the next one into the column behind it, and so on;
behind the last column it goes on with column 0. Return the new queue, `d k`, and leave the old one as it is.""",
    hints=(
        "Which columns get a new key? The numbers from `pointer` on, as many as there are keys. What does 11 become if"
        " there are 11 columns, 0 to 10?",
        "The remainder of a division goes around: `(pointer + torch.arange(b)) % k`.",
        "A tensor of numbers is an index: `result[:, columns] = keys.T`. Make `result` by `queue.clone()`, so that the"
        " old one stays.",
    ),
    solution='''
def enqueue(queue, keys, pointer):
    columns = (pointer + torch.arange(len(keys))) % queue.shape[1]
    result = queue.clone()
    result[:, columns] = keys.T
    return result
''',
    fact="The authors of MoCo and ALBEF do not wrap: they ask for a queue whose length is a multiple of the batch, and "
    "stop with an assertion otherwise. The last, smaller batch of an epoch must be dropped for that reason.",
    cases=_cases,
    expected=_expected,
    slips=(
        ("what reaches beyond the end dropped? It goes on with column 0.", _cut),
        ("moved back so that all keys fit in front of the end?", _last_at_end),
        ("beyond the end the first keys once more, instead of those that are left?", _again_from_the_first),
        ("always from column 0 on? The oldest key stands at the pointer.", _at(lambda pointer, b: 0)),
        ("from the column behind the pointer on? The pointer itself is the first one.",
         _at(lambda pointer, b: pointer + 1)),
        ("so that the keys end at the pointer? They start there.", _at(lambda pointer, b: pointer - b)),
        ("so that the keys end at the pointer? They start there.", _at(lambda pointer, b: pointer - b + 1)),
        ("counted by the width of the keys instead of the length of the queue?",
         lambda queue, keys, pointer: _put(queue, (pointer + np.arange(len(keys))) % len(queue), keys)),
        ("the queue shifted, with the new keys at its end? A ring only moves its pointer.", _shift),
        ("the queue shifted, with the new keys in front?",
         lambda queue, keys, pointer: np.concatenate([keys.T, queue[:, : queue.shape[1] - len(keys)]], axis=1)),
        ("in reverse order?", lambda queue, keys, pointer: _expected(queue, keys[::-1], pointer)),
        ("backwards from the pointer?",
         lambda queue, keys, pointer: _put(queue, (pointer - np.arange(len(keys))) % queue.shape[1], keys)),
        ("keys reshaped to `d b`? That mixes them: transpose.",
         lambda queue, keys, pointer: _expected(queue, keys.reshape(len(queue), -1).T, pointer)),
        ("added to what stands there? A key overwrites.",
         lambda queue, keys, pointer: queue + _expected(0 * queue, keys, pointer)),
    ),
    tell=_tell,
    shape="d k",
)
