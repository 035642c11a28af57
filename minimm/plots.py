"""Figures of the notebooks: one look, readable in light and dark, with a text for those who do not see them."""

import base64
import html
import io
import time

import matplotlib
import numpy as np
from matplotlib.figure import Figure

#: Colours that stay apart for colour-blind eyes and in grey (Okabe and Ito 2008).
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLE = {"figure.facecolor": "white", "axes.prop_cycle": matplotlib.cycler(color=PALETTE), "axes.spines.top": False,
         "axes.spines.right": False, "font.size": 10, "image.cmap": "viridis", "image.interpolation": "nearest",
         "figure.dpi": 96}


def figure(rows=1, columns=1, width=8.0, height=3.0, **options):
    """(figure, axes) in the course's look; sizes in inches. The figure is not shown until `show` is called."""
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(width, height), layout="constrained")
        return fig, fig.subplots(rows, columns, **options)


def png(fig):
    """The bytes of a figure as PNG."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        fig.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def image(fig, alt):
    """An HTML image of a figure, with its alternative text."""
    data = base64.b64encode(png(fig)).decode()
    return f'<img alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{data}" style="max-width:100%">'


def show(fig, alt):
    """Display a figure in a notebook; alt: what somebody who cannot see it should know."""
    from IPython.display import HTML, display

    display(HTML(image(fig, alt)))


class LiveCurve:
    """The losses of a run as a curve that grows while it trains: `fit(..., show=LiveCurve())`.

    every: seconds between two drawings; drawing takes time from training, so not less than a second or two.
    chance: where the loss of a model that guesses lies.
    """

    def __init__(self, every=2.0, chance=None):
        self.every, self.chance, self.handle, self.last = every, chance, None, -np.inf

    def __call__(self, run):
        from IPython.display import HTML, display

        if time.monotonic() - self.last < self.every and run.steps < run.planned:
            return
        fig, ax = figure(width=7, height=2.6)
        for name, values in run.losses.items():
            ax.plot(range(1, len(values) + 1), values, label=name)
        if self.chance is not None:
            ax.axhline(self.chance, color="0.4", linestyle="--", label="chance")
        ax.set(xlabel="step", ylabel="loss (nats)", xlim=(1, max(2, run.planned)), ylim=(0, None))
        if ax.lines:
            ax.legend(frameon=False)
        latest = ", ".join(f"{name} {values[-1]:.2f}" for name, values in run.losses.items())
        alt = f"Loss against step, {run.steps} of {run.planned} steps; now {latest or 'nothing yet'}."
        content = HTML(image(fig, alt))
        if self.handle is None:
            self.handle = display(content, display_id=True)
        else:
            self.handle.update(content)
        self.last = time.monotonic()
