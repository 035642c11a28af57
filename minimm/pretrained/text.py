"""Text as the released models want it, by the `tokenizers` library, from the authors' vocabulary files."""

import gzip
import html
import json
import re
from pathlib import Path

import torch

from .._errors import expect
from . import _sources
from ._reader import read_vocabulary


def tokenizer(kind, path=None, words=30):
    """The tokenizer of "clip", "albef", "vilt", "vilbert" or "vse": `Tokenizer`.

    path: the vocabulary. clip: merges.txt or bpe_simple_vocab_16e6.txt.gz; albef, vilt and vilbert: BERT's vocab.txt;
    vse: coco_vocab.pkl or f30k_vocab.pkl; or a folder with one of these. By default it is downloaded (vse: coco's).
    words: how many words of a text ALBEF reads (30 of a caption, the authors' code takes 50 of a question).

    Raises ImportError without the package `tokenizers` (extra "pretrained"), FileNotFoundError and ValueError for files
    that are not there or are none of these, OSError without a network, saying which file to put where.
    """
    expect(kind in _KINDS, "kind", repr(kind), ", ".join(_KINDS))
    names, make = _KINDS[kind]
    path = _sources.vocabulary(kind) if path is None else Path(path)
    if path.is_dir():
        path = next((path / name for name in names if (path / name).exists()), path / names[0])
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; the vocabulary of {kind} is {' or '.join(names)}")
    return make(kind, path, words)


class Tokenizer:
    """Texts to numbers and back. `pad_id` fills up; `first` and `last` are the ids around every text; `length`: the
    most ids that the published model takes, or None."""

    def __init__(self, pieces, text, size, first, last, length, pad_id=0):
        self.pieces, self._text, self._size = pieces, text, size
        self.first, self.last, self.length, self.pad_id = first, last, length, pad_id

    def __len__(self):
        return self._size

    def encode(self, text, length=None, truncate=False, last=None):
        """The ids of a text with those around it: a list.

        length: the longest that is allowed (default: what the model takes); truncate: cut what is longer, in front of
        the last id, instead of ValueError; last: other ids behind the text (ALBEF's answers end with [SEP], id 102).
        """
        expect(isinstance(text, str), "text", type(text).__name__, "a text", TypeError)
        last = self.last if last is None else last
        ids, limit = [*self.first, *self.pieces(text)], (length or self.length)
        if limit is not None and len(ids) + len(last) > limit:
            expect(truncate, "text", f"{len(ids) + len(last)} tokens: {text[:60]!r}",
                   f"at most {limit} tokens (truncate=True cuts it)")
            ids = ids[:limit - len(last)]
        return [*ids, *last]

    def __call__(self, texts, length=None, truncate=False, last=None):
        """A text or a list of texts as ids, tensor `b l` of int64, as long as the longest. Arguments: see `encode`."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        expect(texts, "texts", "none", "at least one")
        rows = [self.encode(text, length, truncate, last) for text in texts]
        longest = max(map(len, rows))
        return torch.tensor([row + [self.pad_id] * (longest - len(row)) for row in rows])

    def decode(self, ids):
        """The text of a row of ids, without the special ones."""
        special = {self.pad_id, *self.first, *self.last}
        return self._text([int(i) for i in ids if int(i) not in special])


def _library():
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError("the text of released models needs the package tokenizers: "
                          'pip install -e ".[pretrained]"') from error
    return tokenizers


# CLIP: byte pairs (section 2.4).


def _clip(kind, path, words):
    t = _library()
    start, end = "<|startoftext|>", "<|endoftext|>"
    merges = _merges(path)
    beside = path.with_name("vocab.json")
    if beside.exists():
        vocabulary = json.loads(beside.read_text(encoding="utf-8"))
    else:  # the bytes, the bytes at the end of a word, what is merged, in that order
        letters = sorted(t.pre_tokenizers.ByteLevel.alphabet())
        tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), start, end]
        vocabulary = {token: i for i, token in enumerate(tokens)}
    expect(start in vocabulary and end in vocabulary, str(path), "a vocabulary without them", f"{start} and {end}")
    bpe = t.Tokenizer(t.models.BPE(vocabulary, merges, unk_token=end, end_of_word_suffix="</w>"))
    bpe.normalizer = t.normalizers.Sequence(
        [t.normalizers.NFC(), t.normalizers.Replace(t.Regex(r"\s+"), " "), t.normalizers.Lowercase()])
    bpe.pre_tokenizer = t.pre_tokenizers.Sequence([
        t.pre_tokenizers.Split(t.Regex(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"), "removed",
                               invert=True),
        t.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = t.decoders.ByteLevel()
    bpe.add_special_tokens([start, end])

    def pieces(text):
        # The authors also repair broken encodings (the package ftfy) first.
        return bpe.encode(html.unescape(html.unescape(text)).strip()).ids

    def text(ids):
        return bpe.decode(ids).replace("</w>", " ").strip()

    # The original pads with 0, Hugging Face with the end token: no difference, as causal attention never looks there.
    return Tokenizer(pieces, text, len(vocabulary), [vocabulary[start]], [vocabulary[end]], 77)


def _merges(path):
    """Pairs, one a line; the first line is a title. The published file holds more than CLIP uses."""
    try:
        opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
        with opened as file:
            lines = file.read().split("\n")[1:49152 - 256 - 2 + 1]
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged ({error})") from error
    pairs = [tuple(line.split()) for line in lines if line.strip()]
    expect(pairs and all(len(pair) == 2 for pair in pairs), str(path), "other lines",
           "pairs of pieces to merge, one a line")
    return pairs


# BERT's WordPiece (Wu et al. 2016): ALBEF, ViLT, ViLBERT.


def _bert(kind, path, words):
    t = _library()
    lines = path.read_text(encoding="utf-8").splitlines()
    vocabulary = {token: i for i, token in enumerate(lines)}
    special = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if token in vocabulary]
    expect(len(special) == 5, str(path), f"a vocabulary of {len(vocabulary)} with {special}",
           "BERT's vocab.txt, one token a line, with [PAD] [UNK] [CLS] [SEP] [MASK]")
    wordpiece = t.Tokenizer(t.models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    wordpiece.normalizer = t.normalizers.BertNormalizer(lowercase=True)
    wordpiece.pre_tokenizer = t.pre_tokenizers.BertPreTokenizer()
    wordpiece.decoder = t.decoders.WordPiece()
    wordpiece.add_special_tokens(special)  # [MASK] in a text is that token
    clean = (lambda text: clean_caption(text, words)) if kind == "albef" else str
    # ALBEF's authors cut the [SEP] off behind a single sentence; the stock tokenizer would add it.
    last = [] if kind == "albef" else [vocabulary["[SEP]"]]
    return Tokenizer(lambda text: wordpiece.encode(clean(text), add_special_tokens=False).ids, wordpiece.decode,
                     len(lines), [vocabulary["[CLS]"]], last, {"vilt": 40}.get(kind, 512), vocabulary["[PAD]"])


def clean_caption(text, words=30):
    """ALBEF's cleaning: lower case, without , . ' ! ? " ( ) * # : ; ~, blanks for - and /, the first `words` words."""
    text = re.sub(r"[-/]", " ", re.sub(r"""[,.'!?"()*#:;~]""", "", text.lower()))
    return " ".join(text.replace("<person>", "person").split()[:words])


# VSE++: whole words.


def _vse(kind, path, words):
    vocabulary = read_vocabulary(path)
    for token in ("<pad>", "<start>", "<end>", "<unk>"):
        expect(token in vocabulary, str(path), f"{len(vocabulary)} words without it", token)
    word_of = {i: word for word, i in vocabulary.items()}
    return Tokenizer(lambda text: [vocabulary.get(word, vocabulary["<unk>"]) for word in treebank_words(text.lower())],
                     lambda ids: " ".join(word_of[i] for i in ids), len(vocabulary), [vocabulary["<start>"]],
                     [vocabulary["<end>"]], None, vocabulary["<pad>"])


def treebank_words(text):
    """The words of a caption by the rules of the Penn Treebank, as the authors' tokenizer (nltk) cuts them: punctuation
    apart, "don't" as do n't, "dog's" as dog 's, hyphens left in words."""
    text = re.sub(r'(^|[ (\[{<])"', r"\1 `` ", text)  # a quotation mark that opens; the others close
    text = text.replace('"', " '' ").replace("...", " ... ").replace("--", " -- ")
    text = re.sub(r"[;@#$%&?!()\[\]{}<>]", r" \g<0> ", text)
    text = re.sub(r"[:,](?!\d)", r" \g<0> ", text)
    text = re.sub(r"(?<=[^.\s])(?<!\.\w)\.(?=\s)|(?<=[^.\s])\.(?=\s*$)", " .", text)  # not those of 4.5 and a.m.
    text = re.sub(r"(?<=\w)(n't|'s|'m|'d|'ll|'re|'ve|')(?=\s|$)", r" \1", text)
    text = re.sub(r"\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b", lambda m: " ".join(filter(None, m.groups())), text)
    return text.split()


_KINDS = {
    "clip": (("merges.txt", "bpe_simple_vocab_16e6.txt.gz"), _clip),
    "albef": (("vocab.txt",), _bert),
    "vilt": (("vocab.txt",), _bert),
    "vilbert": (("vocab.txt",), _bert),
    "vse": (("coco_vocab.pkl", "f30k_vocab.pkl"), _vse),
}
