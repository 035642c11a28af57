"""BERT's way into a text and out of it: embeddings and the head that names masked words (Devlin et al. 2019)."""

import torch
import torch.nn.functional as F
from torch import nn

from .embeddings import sines
from .inputs import check_ids


class TextEmbedding(nn.Module):
    """Word + position + token type (always 0), then LayerNorm: `b l -> b l d`.

    Released weights come with two token types, and with a position table that is cut, never stretched.
    """

    def __init__(self, vocab, width, context, types=2, eps=1e-12, dropout=0.0):
        super().__init__()
        self.tok = nn.Embedding(vocab, width)
        self.pos = nn.Embedding(context, width)
        self.token_type = nn.Embedding(types, width)
        self.ln = nn.LayerNorm(width, eps=eps)
        self.drop = nn.Dropout(dropout)

    def forward(self, ids, extra=None):
        """ids `b l`; extra `b d`: one more state, without a position, behind the first (ViLBERT's task token).

        Raises TypeError unless ids are of int64, ValueError for another shape, a text that is longer than the position
        table or an id outside the vocabulary.
        """
        check_ids(ids, self.tok.num_embeddings, self.pos.num_embeddings)
        # The token type looks idle, since it is the same for all tokens; but released weights expect to have it added.
        x = self.tok(ids) + self.pos.weight[:ids.shape[1]] + self.token_type.weight[0]
        if extra is not None:
            x = torch.cat([x[:, :1], extra[:, None], x[:, 1:]], dim=1)
        return self.drop(self.ln(x))


class MaskedLanguageHead(nn.Module):
    """A linear map, GELU, LayerNorm and one logit a word of the vocabulary: `b l d -> b l v`.

    The last matrix is the word embedding (tied, as in BERT: pass its weight to `forward`) unless `vocab_matrix` is True,
    as in ViLT, which learns a matrix of its own.
    """

    def __init__(self, vocab, width, vocab_matrix=False, eps=1e-12):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.ln = nn.LayerNorm(width, eps=eps)
        self.decoder = nn.Linear(width, vocab, bias=False) if vocab_matrix else None
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(self, x, word_embedding=None):
        """x `b l d`, word_embedding `v d` where the head is tied."""
        matrix = word_embedding if self.decoder is None else self.decoder.weight
        return F.linear(self.ln(F.gelu(self.dense(x))), matrix, self.bias)


def init_normal(width=768):
    """BERT's start, a function for `nn.Module.apply`: matrices and tables N(0, 0.02), biases 0, LayerNorms the identity.

    width: of the model. 0.02 fits BERT's 768: there a matrix makes of unit inputs outputs of 0.55. A narrower model gets
    the standard deviation that does the same, 0.02 sqrt(768 / width); with 0.02 itself the states of a width of 128
    hardly depend on the words, and nothing is learnt for hundreds of steps. Positions of texts start as `sines` of the
    same standard deviation.
    """
    std = 0.02 * (768 / width) ** 0.5

    def start(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=std)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, TextEmbedding):  # behind its tables: `apply` comes to the parts first
            with torch.no_grad():
                module.pos.weight.copy_(2**0.5 * std * sines(*module.pos.weight.shape))

    return start
