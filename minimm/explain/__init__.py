"""Where a model looks: attention recorded, turned into maps, scored."""

from . import methods, scores
from .architectures import word_at
from .explorer import Explorer
from .figures import figure, figure_of_heads
from .html import save_html
from .looking import METHODS, Look, Maps, maps
from .recording import Recording, attention_layers, changed, record
from .words import find_word, meant, scene_words, words_of

__all__ = ["Explorer", "Look", "METHODS", "Maps", "Recording", "attention_layers", "changed", "figure", "figure_of_heads",
           "find_word", "maps", "meant", "methods", "record", "save_html", "scene_words", "scores", "word_at",
           "words_of"]
