"""One way to say what was wrong with an input."""


def expect(ok, argument, came, expected, error=ValueError):
    """Raise `error` unless `ok`, naming the argument, what came and what was expected."""
    if not ok:
        raise error(f"{argument}: expected {expected}, but got {came}")
