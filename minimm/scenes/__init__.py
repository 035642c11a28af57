"""The small world: scenes that know everything about themselves, their pictures and their language."""

from .captions import Caption, Mention, fits
from .data import Batches, Scenes, load, normalise
from .drawing import boxes, draw, draw_all, masks
from .gallery import show
from .tokenizer import Tokenizer, tokenizer
from .world import BACKGROUNDS, COLOURS, ICONS, NOVEL_PAIRS, PLACES, SIDE, SIZES, SPLITS, Scene, Thing, make

__all__ = ["BACKGROUNDS", "Batches", "COLOURS", "Caption", "ICONS", "Mention", "NOVEL_PAIRS", "PLACES", "SIDE", "SIZES",
           "SPLITS", "Scene", "Scenes", "Thing", "Tokenizer", "boxes", "draw", "draw_all", "fits", "load",
           "make", "masks", "normalise", "show", "tokenizer"]
