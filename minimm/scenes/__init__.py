"""The small world: scenes that know everything about themselves, their pictures and their language."""

from .captions import Caption, Mention, fits
from .data import Batches, Scenes, load, normalise
from .drawing import boxes, draw, draw_all, masks
from .gallery import show
from .noise import NOISE, Noisy, noisy
from .questions import ANSWERS, Question
from .reasoning import Referring, Why
from .statements import Hypothesis, Statement, premise
from .tokenizer import Tokenizer, tokenizer
from .world import BACKGROUNDS, COLOURS, ICONS, NOVEL_PAIRS, PLACES, SIDE, SIZES, SPLITS, Scene, Thing, make

__all__ = ["ANSWERS", "BACKGROUNDS", "Batches", "COLOURS", "Caption", "Hypothesis", "ICONS", "Mention", "NOISE",
           "NOVEL_PAIRS", "Noisy", "PLACES", "Question", "Referring", "SIDE", "SIZES", "SPLITS", "Scene", "Scenes",
           "Statement", "Thing", "Tokenizer", "Why", "boxes", "draw", "draw_all", "fits", "load", "make", "masks",
           "noisy", "normalise", "premise", "show", "tokenizer"]
