"""The small world: scenes that know everything about themselves, their pictures and their language."""

from .captions import Caption, Mention, fits
from .data import Batches, Scenes, load, normalise
from .drawing import boxes, draw, draw_all, masks
from .gallery import show
from .noise import NOISE, Noisy, noisy
from .questions import ANSWERS, Question
from .reasoning import Referring, Why
from .statements import LABELS, Hypothesis, Statement, premise
from .tasks import ANSWER_IDS, TASKS, Example, TaskBatches, as_words, batch_of, examples
from .tokenizer import Tokenizer, tokenizer
from .world import BACKGROUNDS, COLOURS, ICONS, NOVEL_PAIRS, PLACES, SIDE, SIZES, SPLITS, Scene, Thing, make

__all__ = ["ANSWERS", "ANSWER_IDS", "BACKGROUNDS", "Batches", "COLOURS", "Caption", "Example", "Hypothesis", "ICONS",
           "LABELS", "Mention", "NOISE", "NOVEL_PAIRS", "Noisy", "PLACES", "Question", "Referring", "SIDE", "SIZES",
           "SPLITS", "Scene", "Scenes", "Statement", "TASKS", "TaskBatches", "Thing", "Tokenizer", "Why", "as_words",
           "batch_of", "boxes", "draw", "draw_all", "examples", "fits", "load", "make", "masks", "noisy",
           "normalise", "premise", "show", "tokenizer"]
