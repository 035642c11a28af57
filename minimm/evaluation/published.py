"""Published figures beside which the course puts its own: those that the lecture shows, and a few more (data/lecture.json)."""

import json
from functools import lru_cache

from .._errors import expect
from .._paths import data_dir


@lru_cache(maxsize=2)
def systems(shown=True):
    """What the lecture shows, or what was published beside it (shown=False).

    System -> {"source": who published it, "quadrant": if the lecture places it, "results": data -> task -> figures}.
    Retrieval has three figures, R@1, R@5 and R@10; all are in percent, but for "time" and "pre-training".
    """
    return json.loads((data_dir() / "lecture.json").read_text(encoding="utf-8"))["systems" if shown else "beside"]


def published(task, data=None, shown=True):
    """{system: its figure or figures} for a task, such as "VQA" or "text retrieval", where the lecture has one; on `data`
    alone, if it is named; shown as for `systems`. Raises ValueError for a task or data without a figure."""
    rows = [(name, on, of) for name, told in systems(shown).items() for on, of in told["results"].items()]
    tasks = sorted({task for _, _, of in rows for task in of})
    expect(task in tasks, "task", repr(task), f"one of {', '.join(tasks)}")
    there = sorted({on for _, on, of in rows if task in of})
    expect(data is None or data in there, "data", repr(data), f"one of {', '.join(there)}")
    expect(data is not None or len(there) == 1, "data", "none", f"one of {', '.join(there)}, which do not compare")
    return {name: of[task] for name, on, of in rows if task in of and on == (data or on)}
