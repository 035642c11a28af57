"""Scenes as pictures, with the box and the mask of every thing."""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .world import BACKGROUNDS, COLOURS, ICONS, SIDE, SIZES

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
# Glyphs are drawn this many times too large, made black and white, and averaged down: what is left of the differences
# between versions of the font renderer is then far below one grey level.
_OVERSAMPLING = 8


@cache
def coverage(icon, size):
    """How much of each pixel the icon covers, `h w` in [0, 1]."""
    side = SIZES[size] * _OVERSAMPLING
    glyph = chr(ICONS[icon])

    def font(points):
        return ImageFont.truetype(str(FONT), points, layout_engine=ImageFont.Layout.BASIC)

    left, top, right, bottom = font(side).getbbox(glyph)
    best = font(int(side * side / max(right - left, bottom - top)))
    left, top, right, bottom = best.getbbox(glyph)
    picture = Image.new("L", (side, side))
    corner = ((side - right + left) // 2 - left, (side - bottom + top) // 2 - top)
    ImageDraw.Draw(picture).text(corner, glyph, font=best, fill=255)
    on = np.asarray(picture) > 127
    on = on.reshape(SIZES[size], _OVERSAMPLING, SIZES[size], _OVERSAMPLING).mean((1, 3))
    # Thin strokes (the cup, the snowman) would fade to grey: strengthen what is half covered.
    return np.minimum(1, 1.5 * on)


@cache
def _patch(icon, size, colour, background):
    ink, ground = np.array(COLOURS[colour], float), np.array(BACKGROUNDS[background], float)
    cover = coverage(icon, size)[..., None]
    return np.rint(cover * ink + (1 - cover) * ground).astype(np.uint8)


@cache
def _stencil(icon, size):
    # mask of the icon in its own square, and the mask's box (left, top, right, bottom), right and bottom exclusive
    mask = coverage(icon, size) >= 0.5
    ys, xs = np.nonzero(mask)
    return mask, (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)


@cache
def _ground(background):
    return np.full((SIDE, SIDE, 3), BACKGROUNDS[background], np.uint8)


def draw_into(picture, scene):
    """Draw `scene` into the array `picture`, `h w c` of uint8."""
    picture[:] = _ground(scene.background)
    for thing in scene.things:
        side = SIZES[thing.size]
        picture[thing.y:thing.y + side, thing.x:thing.x + side] = _patch(
            thing.icon, thing.size, thing.colour, scene.background)


def draw(scene):
    """The picture of a scene: array `h w c`, uint8, 64 by 64 pixels, red green blue."""
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    draw_into(picture, scene)
    return picture


def draw_all(scenes):
    """The pictures of many scenes: array `b h w c`, uint8."""
    pictures = np.empty((len(scenes), SIDE, SIDE, 3), np.uint8)
    for picture, scene in zip(pictures, scenes):
        draw_into(picture, scene)
    return pictures


def boxes(scene):
    """The smallest box around every thing: array `t 4` of x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""
    result = np.empty((len(scene.things), 4), np.int64)
    for row, thing in zip(result, scene.things):
        x0, y0, x1, y1 = _stencil(thing.icon, thing.size)[1]
        row[:] = thing.x + x0, thing.y + y0, thing.x + x1, thing.y + y1
    return result


def masks(scene):
    """The pixels of every thing: array `t h w` of bool. Masks never overlap."""
    result = np.zeros((len(scene.things), SIDE, SIDE), bool)
    for mask, thing in zip(result, scene.things):
        side = SIZES[thing.size]
        mask[thing.y:thing.y + side, thing.x:thing.x + side] = _stencil(thing.icon, thing.size)[0]
    return result
