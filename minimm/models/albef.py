"""ALBEF: Li et al. 2021, "Align before Fuse: Vision and Language Representation Learning with Momentum Distillation".

A vision transformer and the lower half of a BERT encode picture and sentence apart; a contrastive loss aligns them; the
upper half of the BERT, with cross-attention to the picture, fuses them. It learns to tell matched from mismatched pairs
and to fill in masked words. A slow copy of the model gives keys for a queue and softer targets for what web text gets wrong.

Letters: b pairs, n places of a picture, l tokens, d width, e width of the common space, k length of the queue.
Where paper and authors' code differ, this follows the code, which produced the released weights. Hard negatives come from
the batch (section 3.2), as the queue keeps projected vectors, which cannot be fused. Different on purpose: one process,
so nothing is gathered from others; weight decay is the loop's, which spares the temperature (the authors' not).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .._errors import expect
from ..layers import MaskedLanguageHead, PostNormBlock, TextEmbedding, VisionTransformer, causal_mask, init_normal, key_mask
from ..objectives.contrastive import distilled_targets, key_similarity, shared_targets, soft_cross_entropy
from ..objectives.masking import mask_tokens, masked_cross_entropy
from ..objectives.matching import draw_negatives, hard_negative_weights, matching_loss
from ..objectives.momentum import Distilling, Queue, random_keys


@dataclass(frozen=True)
class ALBEFConfig:
    """Sizes and settings of an ALBEF. The defaults are the course's; `ALBEFConfig.paper()` is the published model."""

    embed_dim: int = 128
    image: int = 64  # pixels; pictures are square
    patch: int = 8  # pixels
    vision_width: int = 128
    vision_layers: int = 2
    vision_heads: int = 4
    vision_hidden: int = 512  # of the MLPs
    context: int = 48  # tokens at most
    vocab: int = 256
    text_width: int = 128
    text_layers: int = 2  # without the picture
    fusion_layers: int = 2  # with the picture
    text_heads: int = 4
    text_hidden: int = 512
    dropout: float = 0.0
    pad_id: int = 0
    cls_id: int = 1
    mask_id: int = 3
    stem: bool = True  # convolutions in place of the linear patch projection: not in the paper
    temperature: float = 0.07  # at the start
    queue: int = 1024  # well below the number of pictures, else each meets its own caption as a negative
    momentum: float = 0.995  # the copy remembers about 1 / (1 - momentum) steps, 200: lower it for a short run
    alpha: float = 0.4  # what the momentum model's word counts
    alpha_steps: int = 200  # over which alpha grows: at the start the momentum model knows nothing
    mask_probability: float = 0.15
    never_masked: tuple = ()  # ids of words that say nothing of a picture (Bitton et al. 2021); not in the paper
    index_targets: bool = False  # fine-tuning for retrieval: captions of one picture share it, no masked language

    @classmethod
    def paper(cls, image=256, **changes):
        """ViT-B/16 and BERT-base (section 3.1); 256 pixels in pre-training, 384 in fine-tuning. alpha_steps is one epoch
        of 4 M pairs in batches of 512."""
        return replace(cls(embed_dim=256, image=image, patch=16, vision_width=768, vision_layers=12, vision_heads=12,
                           vision_hidden=3072, context=512, vocab=30522, text_width=768, text_layers=6, fusion_layers=6,
                           text_heads=12, text_hidden=3072, dropout=0.1, cls_id=101, mask_id=103, stem=False, queue=65536,
                           alpha_steps=7812), **changes)

    def __post_init__(self):
        expect(self.fusion_layers > 0, "fusion_layers", self.fusion_layers, "at least 1")
        expect(self.temperature > 0, "temperature", self.temperature, "a number above 0")


class TextTransformer(nn.Module):
    """BERT in two halves (section 3.1): `layers` read the text alone, `fusion` adds cross-attention to a context."""

    def __init__(self, config, layers, fusion, context_width):
        super().__init__()
        c = config
        self.embed = TextEmbedding(c.vocab, c.text_width, c.context, dropout=c.dropout)
        block = (c.text_width, c.text_heads, c.text_hidden)
        self.layers = nn.ModuleList(PostNormBlock(*block, dropout=c.dropout) for _ in range(layers))
        self.fusion = nn.ModuleList(PostNormBlock(*block, context_width, dropout=c.dropout) for _ in range(fusion))

    def read(self, ids, mask):
        """ids `b l`, mask `b l` of bool, True for real tokens: `b l d`."""
        x = self.embed(ids)
        for block in self.layers:
            x = block(x, key_mask(mask, "ids"))
        return x

    def fuse(self, states, mask, context, context_mask=None, causal=False):
        """Text states `b l d` go on where `read` ended (positions are not added again), with cross-attention to a
        context `b k c`, the states of the picture: `b l d`. causal: no word looks at those behind it (ALBEF's decoder)."""
        expect(len(states) == len(context), "ids", f"{len(states)} texts for {len(context)} pictures", "one for each")
        look = key_mask(mask, "ids")
        if causal:
            look = look & causal_mask(states.shape[1], states.device)
        for block in self.fusion:
            states = block(states, look, context, key_mask(context_mask))
        return states


class Body(nn.Module):
    """The three transformers of figure 1: picture, text, and the fusion of both."""

    def __init__(self, config):
        super().__init__()
        c = self.config = config
        sizes = (c.vision_width, c.vision_layers, c.vision_heads, c.vision_hidden)
        self.vision = VisionTransformer(c.image, c.patch, *sizes, c.stem)
        self.text = TextTransformer(c, c.text_layers, c.fusion_layers, c.vision_width)
        self.apply(init_normal(c.text_width))

    def fused(self, ids, mask, image_states):
        """Text `b l` read with the states of a picture `b 1+n d`: `b l d`."""
        return self.text.fuse(self.text.read(ids, mask), mask, image_states)


class Encoders(Body):
    """All of which the momentum model keeps a copy in pre-training; the matching head is not among it."""

    def __init__(self, config):
        super().__init__(config)
        c = config
        self.image_proj = nn.Linear(c.vision_width, c.embed_dim)  # g_v of the paper
        self.text_proj = nn.Linear(c.text_width, c.embed_dim)  # g_w
        self.mlm = None if c.index_targets else MaskedLanguageHead(c.vocab, c.text_width)
        for head in filter(None, (self.image_proj, self.text_proj, self.mlm)):
            head.apply(init_normal(c.text_width))

    def image(self, images):
        """`b 3 h w -> (b 1+n d, b e)`: states, and the class token in the common space, of length 1."""
        states = self.vision(images)
        return states, F.normalize(self.image_proj(states[:, 0]), dim=-1)

    def sentence(self, ids, mask):
        """`b l -> (b l d, b e)`: states of the text alone, and [CLS] in the common space, of length 1."""
        states = self.text.read(ids, mask)
        return states, F.normalize(self.text_proj(states[:, 0]), dim=-1)

    def language(self, ids, mask, image_states):
        """`b l -> b l v`: logits of every word, read with the picture. The output matrix is the word embedding."""
        return self.mlm(self.fused(ids, mask, image_states), self.text.embed.tok.weight)


class ALBEFOutput(NamedTuple):
    """image_features, text_features `b e`, of length 1; fused `b l d`; matching_logits `b 2`, class 1: they match."""
    image_features: torch.Tensor
    text_features: torch.Tensor
    fused: torch.Tensor
    matching_logits: torch.Tensor


class ALBEFStep(NamedTuple):
    """All that one training step computes. Features `b e`; momentum_*: of the slow copy; image_weights (which picture
    for a text) and text_weights `b b`: how likely a negative is taken; fused_cls `3b d`, matching_logits `3b 2`: matched
    pairs, texts with a wrong picture, pictures with a wrong text; logits `b l v` of masked language."""
    losses: dict
    targets: torch.Tensor
    image_features: torch.Tensor
    text_features: torch.Tensor
    momentum_image_features: torch.Tensor
    momentum_text_features: torch.Tensor
    image_weights: torch.Tensor
    text_weights: torch.Tensor
    fused_cls: torch.Tensor
    matching_logits: torch.Tensor
    language_logits: torch.Tensor | None
    teacher_logits: torch.Tensor | None


class ALBEF(Distilling):
    """Figure 1 of the paper."""

    def __init__(self, config=ALBEFConfig()):
        super().__init__(Encoders(config), config.momentum, config.alpha, config.alpha_steps)
        c = self.config = config
        self.itm = nn.Linear(c.text_width, 2)
        self.itm.apply(init_normal())
        self.temperature = nn.Parameter(torch.tensor(c.temperature))  # learnt itself, not its logarithm as in CLIP
        self.image_queue, self.text_queue = Queue(random_keys(c.embed_dim, c.queue)), Queue(random_keys(c.embed_dim, c.queue))
        if c.index_targets:
            self.index_queue = Queue(torch.full((1, c.queue), -100))  # -100: no picture

    def text_mask(self, ids):
        """Where there is text: `b l` of bool."""
        return ids != self.config.pad_id

    def encode_image(self, images):
        """images `b 3 h w`, normalised: `b e` of length 1. Raises what `layers.check_images` raises."""
        return self.online.image(images)[1]

    def encode_text(self, ids):
        """ids `b l`: `b e` of length 1. Raises what `layers.check_ids` raises, and ValueError for a text of pads."""
        return self.online.sentence(ids, self.text_mask(ids))[1]

    def forward(self, images, ids):
        """Pairs, images `b 3 h w` and ids `b l`: ALBEFOutput."""
        mask = self.text_mask(ids)
        (image_states, image_features), (states, text_features) = self.online.image(images), self.online.sentence(ids, mask)
        fused = self.online.text.fuse(states, mask, image_states)
        return ALBEFOutput(image_features, text_features, fused, self.itm(fused[:, 0]))

    def step(self, images, ids, index=None, masked=None, negatives=None):
        """One training step on pairs: ALBEFStep.

        index `b`: numbers of the pictures (with config.index_targets); masked (`masking.Masked`) and negatives (picture
        for every text `b`, text for every picture `b`): what is drawn by lot unless it is given.
        In training mode the momentum model and the queues move. Raises ValueError for a batch of one (or of one picture),
        which has no negatives, and for one whose size does not divide the queue.
        """
        c, mask, b, alpha = self.config, self.text_mask(ids), len(ids), self.alpha()
        expect(len(images) == b, "batch", f"{len(images)} pictures, {b} texts", "as many pictures as texts")
        expect((index is not None) == c.index_targets, "index", type(index).__name__, "one just if config.index_targets")
        expect(index is None or torch.is_tensor(index) and index.shape == (b,), "index", index, f"{b} in a tensor")
        if not c.index_targets:
            self.temperature.data.clamp_(0.001, 0.5)  # in pre-training only
        image_states, image_features = self.online.image(images)
        states, text_features = self.online.sentence(ids, mask)

        # Momentum (section 3.2): first the update, then the features; the queues are those of earlier steps, and this
        # batch joins them only after the loss, else every positive would be there twice. The copy's dropout is on.
        with torch.no_grad():
            self.update_momentum()
            image_states_m, image_features_m = self.momentum.image(images)
            _, text_features_m = self.momentum.sentence(ids, mask)
            image_keys = torch.cat([image_features_m.T, self.image_queue()], dim=1)  # e b+k
            text_keys = torch.cat([text_features_m.T, self.text_queue()], dim=1)

        # Image-text contrastive learning, equations 1 and 2; with soft targets equation 6. The keys are the momentum
        # model's even within the batch.
        i2t = key_similarity(image_features, text_keys, self.temperature)  # b b+k
        t2i = key_similarity(text_features, image_keys, self.temperature)
        own = index if c.index_targets else torch.arange(b, device=ids.device)
        queued = self.index_queue()[0] if c.index_targets else own.new_full((c.queue,), -100)
        hard = shared_targets(own, torch.cat([own, queued]), i2t.dtype)
        contrastive = sum(
            soft_cross_entropy(s, distilled_targets(hard, key_similarity(m, keys, self.temperature), alpha))
            for s, m, keys in ((i2t, image_features_m, text_keys), (t2i, text_features_m, image_keys))) / 2
        if self.training:
            self.image_queue.enqueue(image_features_m)
            self.text_queue.enqueue(text_features_m)
            if c.index_targets:
                self.index_queue.enqueue(index[:, None])

        # Image-text matching, equation 4: hard negatives are sampled from the batch; a gradient flows into what is
        # drawn, not through its weight. In pre-training doubles of a pair can be drawn and are called wrong. A negative
        # text brings its mask. One of three pairs matches: whoever always says 1/3 has a loss of 0.6365.
        image_weights, text_weights = hard_negative_weights(t2i[:, :b], own), hard_negative_weights(i2t[:, :b], own)
        image_of, text_of = negatives or (draw_negatives(image_weights), draw_negatives(text_weights))
        fused_cls = torch.cat([
            self.online.text.fuse(states, mask, image_states)[:, 0],
            self.online.text.fuse(torch.cat([states, states[text_of]]), torch.cat([mask, mask[text_of]]),
                                  torch.cat([image_states[image_of], image_states]))[:, 0]])
        matching_logits = self.itm(fused_cls)
        matched = torch.arange(3 * b, device=ids.device) < b
        losses = {"contrastive": contrastive, "matching": matching_loss(matching_logits, matched)}

        # Masked language modelling, equations 3 and 7: a pass of its own, on matched pairs. [SEP] can be masked as well.
        logits = teacher = None
        if not c.index_targets:
            words = mask & ~torch.isin(ids, ids.new_tensor([c.cls_id, *c.never_masked]))
            masked = masked or mask_tokens(ids, words, c.mask_id, c.vocab, c.mask_probability)
            logits = self.online.language(masked.ids, mask, image_states)
            with torch.no_grad():
                teacher = self.momentum.language(masked.ids, mask, image_states_m)
            losses["masked language"] = masked_cross_entropy(logits, masked.labels, teacher, alpha)
        return ALBEFStep(losses, hard, image_features, text_features, image_features_m, text_features_m, image_weights,
                         text_weights, fused_cls, matching_logits, logits, teacher)

    def loss(self, batch):
        """{"contrastive", "matching", "masked language"}, equal weights (equation 5). batch: a mapping with images, ids
        and, with config.index_targets, index. With alpha > 0 the least possible loss is not 0."""
        return self.step(batch["images"], batch["ids"], batch["index"] if self.config.index_targets else None).losses

    @torch.no_grad()
    def rerank(self, images, ids, k):
        """Retrieval in two stages (section 5): the k best by cosine are scored by the matching head.

        images `i 3 h w`, ids `t l`: (cosines `i t`, scores of the texts for every picture `i t`, scores of the pictures
        for every text `t i`). A score is the logit of "they match", neither its softmax nor plus the cosine;
        what is not among the k best has -100. Raises ValueError unless k is 1 to the number of candidates.
        """
        mask = self.text_mask(ids)
        (image_states, f_v), (states, f_t) = self.online.image(images), self.online.sentence(ids, mask)
        expect(1 <= k <= min(len(f_v), len(f_t)), "k", k, f"1 to {min(len(f_v), len(f_t))}, the number of candidates")
        cosines = f_v @ f_t.T

        def matched(texts, pictures):  # numbers of both, `m`: `m`
            fused = self.online.text.fuse(states[texts], mask[texts], image_states[pictures])
            return self.itm(fused[:, 0])[:, 1]

        of_text, of_image = torch.full_like(cosines, -100), torch.full_like(cosines.T, -100)
        for i, best in enumerate(cosines.topk(k, dim=1).indices):
            of_text[i, best] = matched(best, torch.full_like(best, i))
        for t, best in enumerate(cosines.T.topk(k, dim=1).indices):
            of_image[t, best] = matched(torch.full_like(best, t), best)
        return cosines, of_text, of_image
