"""A small WordPiece-style tokenizer for the language of the scenes.

Most words are one token. Many names of icons are two or three pieces (um ##brella), as rare words are in a published
vocabulary: whole-word masking then has something to do. Pieces that continue a word begin with ##.
"""

import re
from difflib import get_close_matches

import torch

from .._errors import expect

SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
#: The pieces of the icons' names that are not one token.
_PIECES = ("um ##brel ##la", "tele ##phone", "snow ##man", "snow ##men", "snow ##flake", "dia ##mond", "wheel ##chair",
           "air ##plane", "en ##vel ##ope", "pen ##cil", "##s", "##es")
_WORDS = """
sun cloud star cup skull moon queen knight flask heart note flag anchor gear cross
red orange yellow green blue pink white small large night forest stone desert top bottom left right
a an the , . ? : one two three four no yes 0 1 2 3 4 and or of at in on with to is are there this that it
picture pictures we see here look above below
what which how many more larger than do does have show shows same colour background thing things because
both exactly not all five six seven eight old heavy cheap expensive famous lucky borrowed lost
us people children gives brings helps stay dry build may grant wish when falls talk far away holds hot tea warns poison
goes around earth strongest game chess jumps need mix lab stands for love wear ring read play music who cannot walk
country keeps ship where turns inside machine carries through put letter into write from sky winter marks wrong answer
light by day rain
buy now free shipping photo anna ben click best price sale my holiday follow me reserved image available posted
yesterday vintage style last chance full story share friends made care download page untitled
"""


#: Words that say nothing of a picture: who has to guess them learns language alone.
FUNCTION_WORDS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "a", "an", "the", ",", "?", ":", ".", "of", "at", "in", "on", "with",
                  "to", "is", "are", "there", "this", "that", "it", "and", "or", "picture", "we", "see", "here", "look")


class Tokenizer:
    """Words to numbers and back.

    vocabulary: the tokens in the order of their ids; the first four are [PAD] [CLS] [SEP] [MASK].
    """

    def __init__(self, vocabulary):
        self.vocabulary = tuple(vocabulary)
        expect(self.vocabulary[:4] == SPECIAL, "vocabulary", self.vocabulary[:4], f"one that begins with {SPECIAL}")
        self.ids = {token: i for i, token in enumerate(self.vocabulary)}
        expect(len(self.ids) == len(self.vocabulary), "vocabulary", "a token twice", "every token once")
        self.pad_id, self.cls_id, self.sep_id, self.mask_id = range(4)
        self._known = {token: (token,) for token in SPECIAL}  # word -> pieces, filled as words come

    def __len__(self):
        return len(self.vocabulary)

    def pieces(self, word):
        """The tokens of one word: greedy, the longest known piece first, as WordPiece does; None if there are none."""
        if word not in self._known:
            found, start = [], 0
            while start < len(word):
                for end in range(len(word), start, -1):
                    piece = word[start:end] if start == 0 else "##" + word[start:end]
                    if piece in self.ids:
                        break
                else:
                    return None
                found.append(piece)
                start = end
            self._known[word] = tuple(found)
        return self._known[word]

    def tokenize(self, text):
        """The tokens of a text, without [CLS] and [SEP]. Case does not count.

        Raises ValueError for a word that no pieces make up; it names the word, the words around it and similar ones.
        """
        words = re.findall(r"\[[A-Z]+\]|\w+|[^\w\s]", text if "[" in text else text.lower())
        tokens = []
        for i, word in enumerate(words):
            pieces = self.pieces(word) or self.pieces(word.lower())
            if pieces is None:
                around = " ".join(words[max(0, i - 2):i + 3])
                similar = get_close_matches(word.lower(), self.words(), 3, 0.5)
                raise ValueError(f"text: unknown word {word!r} in \"... {around} ...\"; "
                                 + (f"similar words that are known: {', '.join(similar)}" if similar
                                    else "no similar word is known"))
            tokens += pieces
        return tokens

    def words(self):
        """All whole words that the course's language uses."""
        whole = [t for t in self.vocabulary[4:] if not t.startswith("##")]
        return sorted({*whole, *(p.replace(" ##", "") for p in _PIECES if not p.startswith("##"))})

    def encode(self, text, context=None):
        """The ids of a text with [CLS] in front and [SEP] behind: a list.

        context: the longest list that is allowed; ValueError if the text needs more.
        """
        ids = [self.cls_id, *(self.ids[t] for t in self.tokenize(text)), self.sep_id]
        if context is not None and len(ids) > context:
            raise ValueError(f"text: expected at most {context} tokens, but got {len(ids)}: {text!r}")
        return ids

    def decode(self, ids):
        """The text of ids; special tokens but [MASK] are left out, pieces are joined."""
        tokens = [self.vocabulary[int(i)] for i in ids]
        tokens = [t for t in tokens if t not in SPECIAL[:3]]
        return " ".join(tokens).replace(" ##", "").replace(" ,", ",")

    def pad(self, rows):
        """Lists of ids of different lengths as one tensor `b l` of int64, filled up with [PAD] on the right."""
        expect(len(rows) > 0, "rows", "an empty list", "at least one text")
        length = max(map(len, rows))
        return torch.tensor([row + [self.pad_id] * (length - len(row)) for row in rows])

    def __call__(self, texts, context=None):
        """A text or a list of texts as ids, tensor `b l` of int64, [CLS] in front, [SEP] behind, [PAD] to fill."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        return self.pad([self.encode(text, context) for text in texts])


def _vocabulary():
    pieces = dict.fromkeys(p for line in _PIECES for p in line.split())
    return *SPECIAL, *dict.fromkeys(_WORDS.split()), *pieces


#: The tokenizer of the scenes' language.
tokenizer = Tokenizer(_vocabulary())
