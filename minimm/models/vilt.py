"""ViLT: Kim et al. 2021, "ViLT: Vision-and-Language Transformer Without Convolution or Region Supervision".

One transformer reads words and patches in one sequence. Nothing but one linear map stands between the pixels and that
transformer, so that nearly all computation goes into the interaction of the two. It learns to tell matched from
mismatched pairs, to align words with patches, and to fill in masked words.

Letters: b pairs, l tokens, n places of a picture, d width, c captions of a picture. Pictures may differ in size; those
of a batch stand in the upper left corner of a canvas that is large enough for all.
Where the paper and the authors' code differ, this file follows the code, which produced the released weights. Different
on purpose: sizes are given, where the authors take pixels of exactly 0 for padding, which grey ones can be; places keep
their order on the canvas, where the authors shuffle them; dropout stands behind the MLPs, not within as well; false
pictures come from the batch unless it brings others. Masked patch prediction, an ablation without gain (table 5), is
left out.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from .._errors import expect
from ..layers import (MaskedLanguageHead, PatchEmbedding, PreNormBlock, TextEmbedding, check_ids, check_images,
                      check_sizes, init_normal, key_mask, take_weights)
from ..objectives.masking import mask_tokens, masked_cross_entropy, whole_word_mask
from ..objectives.matching import matching_loss, ranking_loss
from ..objectives.transport import Transport, alignment_loss, between_ends, transport


@dataclass(frozen=True)
class ViLTConfig:
    """Sizes and settings of a ViLT. The defaults are the course's; `ViLTConfig.paper()` is the published ViLT-B/32."""

    image: int = 64  # pixels; of the square picture that the table of positions is made for
    patch: int = 8  # pixels
    width: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int = 512  # of the MLPs
    context: int = 48  # tokens at most
    vocab: int = 256
    dropout: float = 0.0
    pad_id: int = 0
    cls_id: int = 1
    sep_id: int = 2
    mask_id: int = 3
    modalities: int = 2  # text and picture; 3 for a task with two pictures
    max_patches: int | None = None  # that training keeps of a picture, drawn at random
    mask_probability: float = 0.15
    never_masked: tuple = ()  # ids of words that say nothing of a picture (Bitton et al. 2021); not in the paper
    count_pads: bool = False  # whether padding uses up what may be hidden, see masking.whole_word_mask

    @classmethod
    def paper(cls, **changes):
        """ViLT-B/32 (section 4.2). The authors' masking counts padding as words: of their captions, all padded to 40
        tokens, some have nothing hidden."""
        return replace(cls(image=384, patch=32, width=768, layers=12, heads=12, hidden=3072, context=40, vocab=30522,
                           dropout=0.1, cls_id=101, sep_id=102, mask_id=103, max_patches=200, count_pads=True),
                       **changes)

    def __post_init__(self):
        expect(self.image % self.patch == 0, "image", self.image, f"a multiple of the patch {self.patch}")
        expect(self.modalities in (2, 3), "modalities", self.modalities, "2, or 3 for two pictures")
        expect(self.max_patches is None or self.max_patches > 0, "max_patches", self.max_patches, "at least 1, or None")


class ViLTStates(NamedTuple):
    """Behind the last block: text `b l d`, image `b 1+n d` (class token first); pooled `b d`; image_mask `b 1+n` of
    bool, True where a picture is; places `b n`: their numbers on the canvas, row by row."""

    text: torch.Tensor
    image: torch.Tensor
    pooled: torch.Tensor
    image_mask: torch.Tensor
    places: torch.Tensor


class ViLTEncoder(nn.Module):
    """Figure 3 without its heads: equations 1 to 6."""

    def __init__(self, config):
        super().__init__()
        c, d = config, config.width
        self.config = config
        # The text has two different type embeddings: BERT's token type in here, in front of the LayerNorm, and the
        # modality behind it. The LayerNorm in here has BERT's eps of 1e-12, those of the blocks have ViT's 1e-6.
        self.text = TextEmbedding(c.vocab, d, c.context, dropout=c.dropout)
        self.patch = PatchEmbedding(d, c.patch)
        self.cls = nn.Parameter(0.02 * torch.randn(d))
        self.pos = nn.Parameter(0.02 * torch.randn(1 + (c.image // c.patch) ** 2, d))
        self.drop = nn.Dropout(c.dropout)
        self.modality = nn.Embedding(c.modalities, d)
        self.blocks = nn.ModuleList(
            PreNormBlock(d, c.heads, c.hidden, eps=1e-6, dropout=c.dropout) for _ in range(c.layers))
        self.ln_final = nn.LayerNorm(d, eps=1e-6)
        self.pooler = nn.Linear(d, d)
        self.apply(init_normal(d))
        with torch.no_grad():
            self.modality.weight[2:] = self.modality.weight[1]  # a second picture starts as if it were the first

    def positions(self, sizes, rows, columns):
        """Position embeddings of a canvas of rows x columns places: `b (rows columns) d`, 0 beside the picture.

        sizes `b 2`, in places. The table is resized for every picture to its own size, not to the canvas, and corners
        stay corners (align_corners): a picture of the table's size gets it unchanged.
        """
        table = rearrange(self.pos[1:], "(r c) d -> 1 d r c", r=self.config.image // self.config.patch)
        distinct, which = sizes.unique(dim=0, return_inverse=True)
        resized = [F.pad(F.interpolate(table, (r, c), mode="bilinear", align_corners=True),
                         (0, columns - c, 0, rows - r)) for r, c in distinct.tolist()]
        return rearrange(torch.cat(resized), "s d r c -> s (r c) d")[which]

    def embed_images(self, images, sizes, modality):
        """`b 3 h w -> (b 1+n d, b 1+n, b n)`: class token and places, their mask, the places' numbers."""
        check_images(images)
        sizes = check_sizes(sizes, images, self.config.patch) // self.config.patch
        rows, columns = (side // self.config.patch for side in images.shape[2:])
        x = self.patch(images) + self.positions(sizes, rows, columns)
        place = torch.arange(rows * columns, device=x.device)
        real = (place // columns < sizes[:, :1]) & (place % columns < sizes[:, 1:])  # b (rows columns)
        places = keep_places(real, self.config.max_patches if self.training else None)
        # The picture has a class token of its own, which nothing reads but the other tokens.
        x = torch.cat([(self.cls + self.pos[0]).expand(len(x), 1, -1), x.take_along_dim(places[..., None], 1)], dim=1)
        mask = F.pad(real.take_along_dim(places, 1), (1, 0), value=True)
        return self.drop(x) + self.modality.weight[modality], mask, places

    def forward(self, images, ids, sizes=None, modality=1):
        """Pairs: ViLTStates.

        images `b 3 h w`, normalised, filled up beyond the pictures' sizes `b 2` (height and width in pixels; default:
        the whole canvas); ids `b l`; modality: 2 for the second picture of a task with two.
        Raises TypeError for another dtype, ValueError for another shape, an empty batch, values out of range or NaN, a
        canvas or sizes that are no multiples of the patch, sizes beyond the canvas, a text that is too long, ids out of
        the vocabulary, a text that does not begin with a real token (all padding, say).
        """
        expect(len(images) == len(ids), "ids", f"{len(ids)} texts for {len(images)} pictures", "one for each")
        expect(1 <= modality < self.config.modalities, "modality", modality, f"1 to {self.config.modalities - 1}")
        text, text_mask = self.text(ids) + self.modality.weight[0], ids != self.config.pad_id
        expect(bool(text_mask[:, 0].all()), "ids", "a text that begins with padding, or is nothing else",
               "texts that begin with a real token, where the pair is read out")
        image, image_mask, places = self.embed_images(images, sizes, modality)
        # Text, the picture's class token, patches: in this order. Nobody looks at padding, in any block; padding itself
        # has states all the same, which mean nothing.
        x, mask = torch.cat([text, image], dim=1), key_mask(torch.cat([text_mask, image_mask], dim=1))
        for block in self.blocks:
            x = block(x, mask)
        text, image = self.ln_final(x).split([text.shape[1], image.shape[1]], dim=1)
        # Equation 6: read out at the first token of the TEXT, not at the picture's class token.
        return ViLTStates(text, image, torch.tanh(self.pooler(text[:, 0])), image_mask, places)


def keep_places(real, most=None):
    """Which places of the canvas enter the sequence: `b p -> b n`, their numbers; n is that of the largest picture.

    real `b p` of bool. Real ones come first, in order; smaller pictures are filled up with padding. With `most`: no
    more than so many, drawn at random and in random order (section 4.2: 200).
    """
    n = int(real.sum(1).max())
    if most is None or n <= most:
        return torch.argsort((~real).int(), dim=1, stable=True)[:, :n]
    return torch.argsort(torch.rand(real.shape, device=real.device).masked_fill(~real, 2), dim=1)[:, :most]


class ViLTOutput(NamedTuple):
    """states: ViLTStates; matching_logits `b 2`, class 1: they match."""

    states: ViLTStates
    matching_logits: torch.Tensor


class ViLTStep(NamedTuple):
    """One training step: losses; matching_logits `b 2`; alignment of words and patches; language_logits `b l v`."""

    losses: dict
    matching_logits: torch.Tensor
    alignment: Transport
    language_logits: torch.Tensor


class ViLT(nn.Module):
    """Pre-training (section 3.2).

    continues `v` of bool: the tokens that continue a word ("##la"), for whole-word masking (section 3.3). Without it
    each token is hidden on its own: the default of the authors' configuration, but not what made the released weights.
    """

    def __init__(self, config=ViLTConfig(), continues=None):
        super().__init__()
        c = self.config = config
        expect(continues is None or torch.is_tensor(continues) and continues.dtype == torch.bool
               and continues.ndim == 1 and len(continues) <= c.vocab, "continues",
               getattr(continues, "shape", type(continues).__name__), f"a tensor of bool for at most {c.vocab} tokens")
        self.register_buffer("continues", continues, persistent=False)
        self.encoder = ViLTEncoder(c)
        self.itm = nn.Linear(c.width, 2)
        self.mlm = MaskedLanguageHead(c.vocab, c.width, vocab_matrix=True)  # not tied to the word embedding
        self.itm.apply(init_normal())
        self.mlm.apply(init_normal(c.width))

    def forward(self, images, ids, sizes=None):
        """Pairs: ViLTOutput. Arguments and errors as for `ViLTEncoder.forward`."""
        states = self.encoder(images, ids, sizes)
        return ViLTOutput(states, self.itm(states.pooled))

    def align(self, states, ids):
        """Word-patch alignment: Transport. [CLS], the last token ([SEP]), the picture's class token and padding take no
        part. The distance of a text without words is 0."""
        patches = F.pad(states.image_mask[:, 1:], (1, 0), value=False)
        return transport(states.text, states.image, between_ends(ids != self.config.pad_id), patches)

    def hide(self, ids):
        """Words hidden at random, never [CLS], [SEP] or padding: masking.Masked."""
        c, special = self.config, [self.config.cls_id, self.config.sep_id, *self.config.never_masked]
        check_ids(ids, c.vocab if self.continues is None else len(self.continues), c.context)
        if self.continues is None:
            words = ~torch.isin(ids, torch.tensor([c.pad_id, *special], device=ids.device))
            return mask_tokens(ids, words, c.mask_id, c.vocab, c.mask_probability)
        return whole_word_mask(ids, self.continues, special, c.pad_id, c.mask_id, c.mask_probability, c.count_pads)

    def step(self, images, ids, sizes=None, false_images=None, false_sizes=None, matched=None, masked=None):
        """One training step on pairs: ViLTStep. false_images, false_sizes: a picture for each text in case it loses its
        own; matched `b` of bool: who keeps it; masked: masking.Masked. What is not given is drawn by lot.
        Raises ValueError for a batch of one, which cannot hold a matched and a mismatched pair."""
        b = len(ids)
        expect(len(images) == b > 1, "batch", f"{len(images)} pictures, {b} texts", "at least two pairs")
        # Masked language is a pass of its own, always with the true picture. If nothing is hidden its loss is 0; the
        # authors' would be 0 / 0.
        masked = masked or self.hide(ids)
        language_logits = self.mlm(self.encoder(images, masked.ids, sizes).text)

        sizes = check_sizes(sizes, images, self.config.patch)
        if false_images is None:  # uniformly, and so it can be the own one: so the authors, from all their pictures
            other = torch.randint(b, (b,), device=images.device)
            false_images, false_sizes = images[other], sizes[other]
        expect(false_images.shape == images.shape, "false_images", f"shape {tuple(false_images.shape)}",
               f"that of images, {tuple(images.shape)}")
        false_sizes = check_sizes(false_sizes, false_images, self.config.patch)
        if matched is None:  # exactly half, rounded down: who always says the same is right half of the time
            matched = (torch.arange(b, device=images.device) < b // 2)[torch.randperm(b, device=images.device)]
        expect(matched.shape == (b,) and matched.dtype == torch.bool, "matched", matched, f"{b} of bool")

        # Image-text matching and word-patch alignment share the other pass.
        states, matching_logits = self(torch.where(matched[:, None, None, None], images, false_images), ids,
                                       torch.where(matched[:, None], sizes, false_sizes))
        alignment = self.align(states, ids)
        losses = {"matching": matching_loss(matching_logits, matched),
                  "alignment": alignment_loss(alignment.distance, matched),
                  "masked language": masked_cross_entropy(language_logits, masked.labels)}
        return ViLTStep(losses, matching_logits, alignment, language_logits)

    def loss(self, batch):
        """{"matching", "alignment", "masked language"}: equal weights, the alignment's 0.1 is in it. Chance is ln 2 for
        the first, the second can fall below 0. batch: images, ids, perhaps sizes, false_images and false_sizes."""
        more = (batch.get(name) for name in ("sizes", "false_images", "false_sizes"))
        return self.step(batch["images"], batch["ids"], *more).losses


class ViLTRetrieval(nn.Module):
    """Fine-tuning for retrieval (section 4.4): every pair goes through the whole network, which gives it a score.

    pretrained: a ViLT of the same config to start from; the score starts as its logit of "they match".
    """

    def __init__(self, config=ViLTConfig(), pretrained=None, false_texts=15):
        super().__init__()
        self.config, self.false_texts = config, false_texts
        self.encoder = ViLTEncoder(config)
        self.rank = nn.Linear(config.width, 1)
        self.rank.apply(init_normal())
        if pretrained is not None:
            take_weights(self.encoder, pretrained.encoder.state_dict(), "pretrained")
            take_weights(self.rank, {name: p[1:] for name, p in pretrained.itm.state_dict().items()}, "pretrained")

    def forward(self, images, ids, sizes=None):
        """images `b 3 h w`, ids `b c l`, captions to choose from for each: scores `b c`."""
        expect(ids.ndim == 3, "ids", f"shape {tuple(ids.shape)}", "`b c l`: captions for each picture")
        c = ids.shape[1]
        sizes = None if sizes is None else sizes.repeat_interleave(c, 0)
        return self.rank(self.encoder(images.repeat_interleave(c, 0), ids.flatten(0, 1), sizes).pooled).view(-1, c)

    def loss(self, batch):
        """{"ranking": which caption is the true one, among `false_texts` others}: chance is ln(1 + false_texts). Others
        come from the batch, never the own one; the authors, who draw from all captions, hardly meet it.
        Raises ValueError for a batch of one."""
        ids, b = batch["ids"], len(batch["ids"])
        expect(len(batch["images"]) == b > 1, "batch", f"{len(batch['images'])} pictures, {b} texts",
               "at least two pairs, as each needs a wrong caption")
        other = F.pad(torch.randint(1, b, (b, self.false_texts), device=ids.device), (1, 0))  # b c, the first one 0
        chosen = (torch.arange(b, device=ids.device)[:, None] + other) % b
        return {"ranking": ranking_loss(self(batch["images"], ids[chosen], batch.get("sizes")))}

    @torch.no_grad()
    def scores(self, images, ids, sizes=None):
        """Of every picture with every caption, a picture at a time: images `i 3 h w`, ids `t l -> i t`."""
        check_images(images)
        return torch.cat([self(images[i:i + 1], ids[None], None if sizes is None else sizes[i:i + 1])
                          for i in range(len(images))])
