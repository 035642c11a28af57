"""ViLBERT: Lu et al. 2019, "ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations".

Two streams, one for the words of a sentence and one for the regions that a detector finds in a picture, each a stack of
transformer blocks. Co-attention layers between them let the words look at the regions and the regions at the words. It
learns from masked words, from masked regions, and from telling whether a sentence belongs to a picture.

Letters: b pairs, l tokens, r regions, f width of a region's features, d width of the text stream, v of the vision
stream, e width of the co-attention, c classes of the detector.
Where paper and code differ, this file follows the authors' code (of their multi-task repository), which produced the
released weights: regions that overlap a masked one stay in the input (`hide_overlaps` takes them out).
Different on purpose: padding does not count in the mean that stands for the whole picture; no masked region gives a
region loss of 0, not 0 / 0; random captions come from the batch; two linear maps of each co-attention layer, which the
authors store and never use, are not built.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from .._errors import expect
from ..layers import (MLP, Attention, MaskedLanguageHead, PostNormBlock, TextEmbedding, check_ids, check_numbers,
                      init_normal, key_mask)
from ..objectives.masking import IGNORE, chosen, mask_tokens, masked_cross_entropy
from ..objectives.matching import draw_negatives, hard_negative_weights
from ..objectives.regions import (check_classes, check_regions, draw_region_negatives, global_feature,
                                  location, mask_regions, region_contrast, region_divergence, region_error)


@dataclass(frozen=True)
class ViLBERTConfig:
    """Sizes and settings of a ViLBERT. The defaults are the course's; `ViLBERTConfig.paper()` is the published one."""

    context: int = 48  # tokens at most
    vocab: int = 256
    text_width: int = 128
    text_layers: int = 4
    text_heads: int = 4
    text_hidden: int = 512  # of the MLPs
    region_features: int = 128
    region_classes: int = 25  # of the detector, "nothing" among them
    image: int = 64  # pixels, the side of the pictures in which boxes lie, unless a batch says their sizes
    vision_width: int = 128
    vision_layers: int = 2
    vision_heads: int = 4
    vision_hidden: int = 128
    co_width: int = 128  # of the queries, keys and values of the co-attention, and of the pooled states
    co_heads: int = 4
    text_co: tuple = (2, 3)  # co-attention layer i stands before this text block ...
    vision_co: tuple = (0, 1)  # ... and before this vision block
    fusion: str = "product"  # or "sum"
    dropout: float = 0.0
    pad_id: int = 0
    cls_id: int = 1
    sep_id: int = 2
    mask_id: int = 3
    mask_probability: float = 0.15  # of words and of regions
    never_masked: tuple = ()  # ids of words that say nothing of a picture (Bitton et al. 2021); not in the paper
    region_target: str = "classes"  # what is asked of a masked region; or "features", "contrast" (which one is it?)
    matched_only: bool = True  # ask for words and regions only where sentence and picture match
    hide_overlaps: bool = False
    retrieval: bool = False  # fine-tuning: one right pair against three wrong ones
    tasks: int = 0  # the multi-task model puts a token for the task behind [CLS]

    @classmethod
    def paper(cls, **changes):
        """BERT-base and six blocks of width 1024, for a detector of 1601 classes and 2048 features (section 3.1)."""
        return replace(cls(
            context=512, vocab=30522, text_width=768, text_layers=12, text_heads=12, text_hidden=3072,
            region_features=2048, region_classes=1601, vision_width=1024, vision_layers=6, vision_heads=8,
            vision_hidden=1024, co_width=1024, co_heads=8, text_co=(6, 7, 8, 9, 10, 11), vision_co=(0, 1, 2, 3, 4, 5),
            dropout=0.1, cls_id=101, sep_id=102, mask_id=103), **changes)

    def __post_init__(self):
        expect(len(self.text_co) == len(self.vision_co), "text_co", self.text_co, f"as many as in {self.vision_co}")
        for name, last in (("text_co", self.text_layers), ("vision_co", self.vision_layers)):
            at = getattr(self, name)
            expect(list(at) == sorted(at) and all(0 <= i <= last for i in at), name, at, f"0 to {last}, in order")
        for name, allowed in (("fusion", ("product", "sum")), ("region_target", ("classes", "features", "contrast"))):
            expect(getattr(self, name) in allowed, name, repr(getattr(self, name)), f"one of {allowed}")


class RegionEmbedding(nn.Module):
    """LayerNorm(linear(features) + linear(location)): `b r f, b r 5 -> b r v`. No other positions (section 2.2)."""

    def __init__(self, features, width, dropout):
        super().__init__()
        self.feat = nn.Linear(features, width)
        self.loc = nn.Linear(5, width)
        self.ln = nn.LayerNorm(width, eps=1e-12)
        self.drop = nn.Dropout(dropout)

    def forward(self, features, locations):
        return self.drop(self.ln(self.feat(features) + self.loc(locations)))


class CoAttentionStream(nn.Module):
    """One stream of a co-attention layer: a BERT block whose keys and values come from the other stream (figure 2b)."""

    def __init__(self, width, hidden, other_width, c):
        super().__init__()
        self.attn = Attention(width, c.co_heads, other_width, c.co_width, c.dropout)
        self.ln1 = nn.LayerNorm(width, eps=1e-12)
        self.mlp = MLP(width, hidden)
        self.ln2 = nn.LayerNorm(width, eps=1e-12)
        self.drop = nn.Dropout(c.dropout)

    def forward(self, x, other, other_mask):
        x = self.ln1(x + self.drop(self.attn(x, other, other_mask)))
        return self.ln2(x + self.drop(self.mlp(x)))


class CoAttention(nn.Module):
    """Co-attentional transformer layer (section 2.2): text looks at vision, vision looks at text."""

    def __init__(self, c):
        super().__init__()
        self.text = CoAttentionStream(c.text_width, c.text_hidden, c.vision_width, c)
        self.vision = CoAttentionStream(c.vision_width, c.vision_hidden, c.text_width, c)

    def forward(self, text, vision, text_mask, vision_mask):
        # At the same time: each stream looks at what the other one was before this layer.
        return self.text(text, vision, vision_mask), self.vision(vision, text, text_mask)


class ViLBERTOutput(NamedTuple):
    """text `b l d`; vision `b 1+r v`, the whole picture first; pooled_text, pooled_vision `b e`; fused `b e`: the two
    together. Task heads stand on these."""

    text: torch.Tensor
    vision: torch.Tensor
    pooled_text: torch.Tensor
    pooled_vision: torch.Tensor
    fused: torch.Tensor


class ViLBERT(nn.Module):
    """Figure 1 of the paper."""

    def __init__(self, config=ViLBERTConfig()):
        super().__init__()
        c = self.config = config
        self.text_embed = TextEmbedding(c.vocab, c.text_width, c.context, dropout=c.dropout)
        self.task = nn.Embedding(c.tasks, c.text_width) if c.tasks else None
        self.vision_embed = RegionEmbedding(c.region_features, c.vision_width, c.dropout)
        self.text_blocks, self.vision_blocks = (
            nn.ModuleList(PostNormBlock(width, heads, hidden, dropout=c.dropout) for _ in range(layers))
            for layers, width, heads, hidden in ((c.text_layers, c.text_width, c.text_heads, c.text_hidden),
                                                 (c.vision_layers, c.vision_width, c.vision_heads, c.vision_hidden)))
        self.co = nn.ModuleList(CoAttention(c) for _ in c.text_co)
        self.text_pool = nn.Linear(c.text_width, c.co_width)
        self.vision_pool = nn.Linear(c.vision_width, c.co_width)
        self.drop = nn.Dropout(c.dropout)
        self.itm = nn.Linear(c.co_width, 2)
        self.mlm = MaskedLanguageHead(c.vocab, c.text_width)
        asked = c.region_classes if c.region_target == "classes" else c.region_features
        self.mrm = MaskedLanguageHead(asked, c.vision_width, vocab_matrix=True)  # as for words, with its own matrix
        self.rank = nn.Linear(c.co_width, 1) if c.retrieval else None
        self.apply(init_normal(c.text_width))
        # Five numbers from 0 to 1 beside 128 features of a detector: started as these, they would be a hundredth of what
        # the two sum up to, and the course's run ends before the model has found out where things are.
        nn.init.normal_(self.vision_embed.loc.weight)

    def check(self, regions, boxes, region_mask=None, sizes=None):
        """Regions, from what `forward` takes. Raises what `objectives.regions.check_regions` raises."""
        return check_regions(regions, boxes, region_mask, sizes, self.config.region_features, self.config.image)

    def inputs(self, regions, counted):
        """What the vision stream reads: features `b 1+r f`, locations `b 1+r 5`, mask `b 1+r`.

        The first region is the whole picture: the mean of all others, at (0, 0, 1, 1, 1). counted `b r` of bool: by how
        many regions the sum is divided.
        """
        whole = global_feature(regions.features, counted)[:, None]  # b 1 f
        locations = location(regions.boxes, regions.sizes).to(whole.dtype)
        everywhere = locations.new_tensor([0, 0, 1, 1, 1]).expand(len(whole), 1, 5)
        return (torch.cat([whole, regions.features], dim=1), torch.cat([everywhere, locations], dim=1),
                F.pad(regions.mask, (1, 0), value=True))

    def encode(self, features, locations, vision_mask, ids, task=None):
        """Both streams, from what `inputs` returns and ids `b l`: ViLBERTOutput."""
        c, text_mask = self.config, ids != self.config.pad_id
        expect(len(ids) == len(features), "ids", f"{len(ids)} texts for {len(features)} pictures", "one for each")
        expect((task is not None) == (c.tasks > 0), "task", type(task).__name__, "given if and only if config.tasks")
        if task is None:
            text = self.text_embed(ids)
        else:
            check_numbers(task, len(ids), c.tasks, "task")
            text = self.text_embed(ids, self.task(task))
            text_mask = torch.cat([text_mask[:, :1], text_mask], dim=1)
        vision = self.vision_embed(features, locations)
        text_mask, vision_mask = key_mask(text_mask, "ids"), key_mask(vision_mask, "region_mask")

        # The text is read alone for a while: the regions have been through a deep network already (section 2.2).
        t = v = 0
        for co, t_next, v_next in (*zip(self.co, c.text_co, c.vision_co), (None, c.text_layers, c.vision_layers)):
            for block in self.text_blocks[t:t_next]:
                text = block(text, text_mask)
            for block in self.vision_blocks[v:v_next]:
                vision = block(vision, vision_mask)
            if co is not None:
                text, vision = co(text, vision, text_mask, vision_mask)
            t, v = t_next, v_next

        # The poolers end in ReLU, BERT's in tanh: a product is 0 wherever either of the two is, a sum is not.
        pooled_text, pooled_vision = self.text_pool(text[:, 0]).relu(), self.vision_pool(vision[:, 0]).relu()
        fused = pooled_text * pooled_vision if c.fusion == "product" else pooled_text + pooled_vision
        return ViLBERTOutput(text, vision, pooled_text, pooled_vision, self.drop(fused))

    def forward(self, regions, boxes, ids, region_mask=None, sizes=None, task=None):
        """Pairs: ViLBERTOutput.

        regions `b r f`: the detector's features; boxes `b r 4`: x1 y1 x2 y2 in pixels; ids `b l`; region_mask `b r` of
        bool: the real ones (default: all); sizes `b 2`: width and height of the pictures (default: config.image); task
        `b` of int64, with config.tasks: the text then has one state more, behind [CLS].
        Raises what `check` and `layers.check_ids` raise, and ValueError for a text of pads.
        """
        regions = self.check(regions, boxes, region_mask, sizes)
        return self.encode(*self.inputs(regions, regions.mask), ids, task)

    def losses(self, out, labels, selected, targets, matched, region_mask=None):
        """The terms of pre-training (figure 3) from a ViLBERTOutput: labels `b l` of masked words, IGNORE elsewhere;
        selected `b r`: regions asked for; targets `b r c` or `b r f`; matched `b`; region_mask `b r`: for "contrast"."""
        c = self.config
        if c.matched_only:  # what another picture's caption hides cannot be seen in this one
            labels, selected = torch.where(matched[:, None], labels, IGNORE), selected & matched[:, None]
        predicted = self.mrm(out.vision[:, 1:])  # the whole picture is never asked for
        if c.region_target == "classes":
            masked_regions = region_divergence(predicted, targets, selected)
        elif c.region_target == "features":
            masked_regions = region_error(predicted, targets, selected)
        else:
            masked_regions = region_contrast(predicted, targets, selected, draw_region_negatives(region_mask, selected))
        return {"masked language": masked_cross_entropy(self.mlm(out.text, self.text_embed.tok.weight), labels),
                "masked regions": masked_regions,
                # Class 0 is "they belong together", as in BERT's next-sentence prediction; other models say 1.
                "alignment": F.cross_entropy(self.itm(out.fused), (~matched).long())}

    def loss(self, batch):
        """{"masked language", "masked regions", "alignment"}, equal weights; chance of the last is ln 2. With
        config.retrieval instead {"retrieval"}, see `retrieval_loss`.

        batch: a mapping with regions, boxes, ids, perhaps region_mask and sizes, as in `forward`, and region_classes
        `b r c`: what the detector says, if it is asked for. Raises ValueError for fewer than two pairs, where there is
        no other caption.
        """
        c, ids, b = self.config, batch["ids"], len(batch["ids"])
        regions = self.check(*map(batch.get, ("regions", "boxes", "region_mask", "sizes")))
        check_ids(ids, c.vocab, c.context)
        expect(len(regions.mask) == b > 1, "batch", f"{len(regions.mask)} pictures, {b} texts", "two pairs or more")
        if c.retrieval:
            return {"retrieval": self.retrieval_loss(regions, ids, batch.get("hard_ids"), batch.get("index"))}
        targets = regions.features
        if c.region_target == "classes":
            check_classes(targets := batch.get("region_classes"), regions.mask, c.region_classes)

        # Half of the captions are replaced by a random one. By chance it is their own, and still called wrong: one in b
        # here, one in three million for the authors, who draw from all captions.
        replaced = chosen((b,), 0.5, ids.device)
        ids = torch.where(replaced[:, None], ids[torch.randint(b, (b,), device=ids.device)], ids)
        may_hide = ~torch.isin(ids, ids.new_tensor([c.pad_id, c.cls_id, c.sep_id, *c.never_masked]))
        words = mask_tokens(ids, may_hide, c.mask_id, c.vocab, c.mask_probability)
        masked = mask_regions(regions, c.mask_probability, hide_overlaps=c.hide_overlaps)
        # The whole picture is made anew from what is left, else it would tell what is hidden. The sum is divided by the
        # number of regions that no masked one overlaps. In fine-tuning nothing is hidden, and it is the plain mean.
        inputs = self.inputs(regions._replace(features=masked.features), regions.mask & ~masked.overlapping)
        out = self.encode(*inputs, words.ids)
        return self.losses(out, words.labels, masked.selected, targets, ~replaced, regions.mask)

    def score(self, regions, boxes, ids, region_mask=None, sizes=None, task=None):
        """How well pairs match, from what `forward` takes: `b`. With config.retrieval as learnt in fine-tuning, else
        (zero-shot) the log-odds of "they belong together"."""
        fused = self(regions, boxes, ids, region_mask, sizes, task).fused
        return self.rank(fused)[:, 0] if self.config.retrieval else self.itm(fused) @ fused.new_tensor([1, -1])

    def retrieval_loss(self, regions, ids, hard_ids, index=None):
        """Cross-entropy over the scores of four (section 3.2): the pair; its picture with a random caption; its caption
        with a random picture; its picture with a hard negative: 0-d, chance is ln 4.

        regions: Regions; ids `b l`; hard_ids `b l`: for each a caption of a picture that looks alike; index `b`: the
        pictures' numbers, so that a random one is another one. Raises ValueError for a batch of one picture.
        """
        expect(isinstance(hard_ids, torch.Tensor) and hard_ids.shape == ids.shape, "hard_ids",
               tuple(getattr(hard_ids, "shape", ())), f"a tensor of the shape of ids, {tuple(ids.shape)}")
        own = torch.arange(len(ids), device=ids.device)
        alike = hard_negative_weights(torch.zeros(len(ids), len(ids), device=ids.device), index)
        text_of, image_of = draw_negatives(alike), draw_negatives(alike)
        features, boxes, mask, sizes = (t[torch.cat([own, own, image_of, own])] for t in regions)
        scores = self.score(features, boxes, torch.cat([ids, ids[text_of], ids, hard_ids]), mask, sizes)
        return F.cross_entropy(rearrange(scores, "(four b) -> b four", four=4), torch.zeros_like(own))
