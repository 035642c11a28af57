"""Markdown in a notebook, plain text anywhere else."""

import sys
import textwrap

WIDTH = 100  # of text: a notebook would break longer lines within words


def in_notebook():
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def show(markdown, plain=None):
    if in_notebook():
        from IPython.display import Markdown, display

        display(Markdown(markdown))
    else:
        print(plain or markdown)


def wrapped(text):
    lines = (textwrap.wrap(line, WIDTH, replace_whitespace=False, break_long_words=False) for line in text.splitlines())
    return "\n".join("\n".join(line) for line in lines)
