"""A gallery of scenes."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .. import plots
from .._errors import expect
from .drawing import FONT, draw
from .drawing import boxes as boxes_of
from .drawing import masks as masks_of
from .world import SIDE, Scene

# All lengths in pixels of a sheet that is drawn twice as large as it is shown, to be sharp on every screen.
_ZOOM = 5  # pixels of the sheet for one of a scene
_CELL = SIDE * _ZOOM + 48
_LINE = 29  # of text
_OUTLINE = (0, 255, 255)  # no thing has this colour


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
    wrapped = [textwrap.wrap(text, 27) for text in texts]
    tops, y = [], 0  # of the pictures, a row of the sheet each; below them as many lines as the longest caption has
    for start in range(0, len(scenes), columns):
        tops.append(y := y + (2 * _LINE if titles else _LINE // 2))
        y += SIDE * _ZOOM + _LINE + _LINE * max(map(len, wrapped[start:start + columns]))
    sheet = Image.new("RGB", (columns * _CELL, y), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(str(FONT), 23)
    for k, (scene, lines) in enumerate(zip(scenes, wrapped)):
        x, y = k % columns * _CELL + 24, tops[k // columns]
        sheet.paste(enlarged(scene, boxes, masks), (x, y))
        middle = x + SIDE * _ZOOM / 2
        if titles:
            pen.text((middle, y - 10), titles[k], "black", font, anchor="md")
        for number, line in enumerate(lines):
            pen.text((middle, y + SIDE * _ZOOM + 10 + number * _LINE), line, "black", font, anchor="ma")
    alt = "; ".join(f"{title}: {text or describe(scene)}".removeprefix(": ")
                    for scene, title, text in zip(scenes, titles or [""] * len(scenes), texts))
    plots.show(sheet, f"{len(scenes)} scene{'s' * (len(scenes) > 1)}: {alt}", width=sheet.width // 2)


def enlarged(scene, boxes=False, masks=False):
    """A scene as a Pillow picture whose pixels can be seen, with boxes and outlines on request."""
    picture = Image.fromarray(draw(scene)).resize((SIDE * _ZOOM, SIDE * _ZOOM), Image.Resampling.NEAREST)
    if boxes:
        for x0, y0, x1, y1 in boxes_of(scene) * _ZOOM:
            ImageDraw.Draw(picture).rectangle((x0, y0, x1 - 1, y1 - 1), outline=_OUTLINE, width=3)
    if masks:
        for mask in masks_of(scene):
            inside = Image.fromarray(mask.repeat(_ZOOM, 0).repeat(_ZOOM, 1).astype(np.uint8) * 255)
            picture.paste(_OUTLINE, mask=Image.fromarray(np.asarray(inside.filter(ImageFilter.MaxFilter(7))) - inside))
    return picture


def describe(scene):
    """All that is in a scene, as a sentence for those who do not see it."""
    things = ", ".join(f"{t.size} {t.colour} {t.icon} at the {t.place}" for t in scene.things)
    return f"{things}; background {scene.background}"
