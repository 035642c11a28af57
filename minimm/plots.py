"""Figures of the notebooks: one look, readable in light and dark, with a text for those who do not see them."""

import base64
import html
import io
import time

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

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


def png(fig, levels=256):
    """The bytes of a figure, or of a Pillow picture, as PNG. levels: of red, green and blue each; pictures over pictures take half
    the bytes with 32 of them, which the eye does not tell from all."""
    buffer = io.BytesIO()
    if levels < 256:
        picture = Image.open(io.BytesIO(png(fig))).convert("RGB")
        picture = picture.point(lambda value: round(round(value * (levels - 1) / 255) * 255 / (levels - 1)))
        picture.save(buffer, format="png", optimize=True)
    elif isinstance(fig, Figure):
        with matplotlib.rc_context(STYLE):
            fig.savefig(buffer, format="png", metadata={"Software": None})
    else:
        fig.save(buffer, format="png", compress_level=3)  # the default of 6 takes twice the time for a tenth less
    return buffer.getvalue()


def image(fig, alt, width=None, levels=256):
    """An HTML image of a figure or a Pillow picture, with its alternative text.

    width: in pixels of the page, if it is not the picture's own; a picture twice as wide is sharp on every screen.
    levels: see `png`.
    """
    data = base64.b64encode(png(fig, levels)).decode()
    size = f' width="{width}"' if width else ""
    return (f'<img alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{data}"{size} '
            f'style="max-width:100%">')


def show(fig, alt, width=None, levels=256):
    """Display a figure or a Pillow picture in a notebook; alt: what somebody who cannot see it should know. levels: see `png`."""
    from IPython.display import HTML, display

    display(HTML(image(fig, alt, width, levels)))


class Moving:
    """A figure that answers controls: built once, and at every move only a few artists are drawn anew.

        view = Moving(fig, [curve, dot], update)
        view.show(scale=14)                  # stands still, for those who read without a kernel
        view.follow(scale=slider)            # a widget that shows the figure for what the slider says

    fig: laid out and drawn on the first use, for good (a whole drawing takes a tenth of a second, a move a few
    milliseconds). artists: what changes, in the order in which it is drawn, on top of all else: lines, images, texts.
    update(**values): changes the data of the artists and returns the alternative text.
    """

    def __init__(self, fig, artists, update):
        self.fig, self.artists, self.update, self.ground = fig, list(artists), update, None

    def draw(self, **values):
        """(picture, alternative text) for these values; the picture is Pillow's."""
        alt = self.update(**values)
        with matplotlib.rc_context(STYLE):
            if self.ground is None:
                self.canvas = FigureCanvasAgg(self.fig)
                self.canvas.draw()  # once with all artists, so that the layout leaves room for them
                self.fig.set_layout_engine("none")
                for artist in self.artists:
                    artist.set_animated(True)  # no part of the whole any more
                self.canvas.draw()
                self.ground = self.canvas.copy_from_bbox(self.fig.bbox)
            self.canvas.restore_region(self.ground)
            for artist in self.artists:
                self.fig.draw_artist(artist)
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3]), alt

    def show(self, **values):
        """Display the figure for these values."""
        show(*self.draw(**values))

    def follow(self, **controls):
        """An Output widget with the figure for the values of these widgets; prints and errors of `update` show there."""
        from ipywidgets import interactive_output

        return interactive_output(self.show, controls)


class LiveCurve:
    """The losses of a run as a curve that grows while it trains: `fit(..., show=LiveCurve())`.

    every: seconds between two drawings; drawing takes time from training, so not less than a second or two.
    chance: where the loss of a model that guesses lies; called: other words for that line; unit: of the loss, if any.
    """

    def __init__(self, every=2.0, chance=None, called="chance", unit="nats"):
        self.every, self.chance, self.handle, self.last = every, chance, None, -np.inf
        self.called, self.label = called, f"loss ({unit})" if unit else "loss"

    def __call__(self, run):
        from IPython.display import HTML, display

        if time.monotonic() - self.last < self.every and run.steps < run.planned:
            return
        fig, ax = figure(width=7, height=2.6)
        for name, values in run.losses.items():
            ax.plot(range(1, len(values) + 1), values, label=name)
        if self.chance is not None:
            ax.axhline(self.chance, color="0.4", linestyle="--", label=self.called)
        ax.set(xlabel="step", ylabel=self.label, xlim=(1, max(2, run.planned)), ylim=(0, None))
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
