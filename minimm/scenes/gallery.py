"""A gallery of scenes."""

import textwrap

import numpy as np

from .. import plots
from .._errors import expect
from .drawing import boxes as boxes_of
from .drawing import draw
from .drawing import masks as masks_of
from .world import Scene


def show(scenes, captions=None, columns=5, boxes=False, masks=False, titles=None):
    """Draw scenes side by side, each with its caption below.

    scenes: one or several `Scene`, or data from `load`; captions: a text or `Caption` a scene (default: the first of the data's
    own; None for plain scenes); boxes, masks: also draw the box around, or the outline of, every thing; titles: a line above each.
    Raises ValueError for no scene or as many captions as there are not scenes.
    """
    if isinstance(scenes, Scene):
        scenes = [scenes]
    if captions is None and hasattr(scenes, "captions"):
        captions = [c[0] for c in scenes.captions]
    scenes = list(getattr(scenes, "scenes", scenes))
    expect(len(scenes) > 0, "scenes", "none", "at least one")
    texts = [getattr(c, "text", c) for c in captions] if captions is not None else [""] * len(scenes)
    for name, given in (("captions", texts), ("titles", titles or texts)):
        expect(len(given) == len(scenes), name, f"{len(given)} for {len(scenes)} scenes", "one for each")
    columns = min(columns, len(scenes))
    rows = -(-len(scenes) // columns)
    fig, axes = plots.figure(rows, columns, 1.9 * columns, (2.3 if any(texts) else 1.9) * rows, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for k, (ax, scene, text) in enumerate(zip(axes.flat, scenes, texts)):
        side = len(draw(scene))
        ax.imshow(draw(scene), extent=(0, side, side, 0))
        if boxes:
            for x0, y0, x1, y1 in boxes_of(scene):
                ax.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="white", linewidth=1.5)
        if masks:
            for mask in masks_of(scene):
                ax.contour(np.arange(side) + 0.5, np.arange(side) + 0.5, mask, [0.5], colors="white", linewidths=1)
        if titles:
            ax.set_title(titles[k], fontsize=9)
        ax.text(side / 2, side + 2, "\n".join(textwrap.wrap(text, 30)), ha="center", va="top", fontsize=8)
    alt = "; ".join(text or describe(scene) for scene, text in zip(scenes, texts))
    plots.show(fig, f"{len(scenes)} scenes: {alt}")


def describe(scene):
    """All that is in a scene, as a sentence for those who do not see it."""
    things = ", ".join(f"{t.size} {t.colour} {t.icon} at the {t.place}" for t in scene.things)
    return f"{things}; background {scene.background}"
