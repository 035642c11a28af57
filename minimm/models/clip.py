"""CLIP: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision".

Two towers that never see each other, and one number per pair: the cosine of their features, scaled.
A picture goes through a vision transformer, a sentence through a causal text transformer; both features are mapped to a
common space. The loss asks, in both directions, which of the batch's partners is the right one.

Letters: b pictures or sentences, n places of a picture, l tokens, d width of a tower, e width of the common space.
Where the paper and the authors' code differ, this file follows the code, which produced the released weights. Different
on purpose: one process. With several each one gathers the features of all, and the gradient has to flow back through
the gathering; else every process would learn from its own share of the batch alone.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from .._errors import expect
from ..layers import Attention, ConvStem, PatchEmbedding, PreNormBlock, QuickGELU, causal_mask, check_ids, check_images
from ..objectives.contrastive import similarity, symmetric_cross_entropy


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of a CLIP. The defaults are the course's; `CLIPConfig.paper()` is the published ViT-B/32."""

    embed_dim: int = 128
    image: int = 64  # pixels; pictures are square
    patch: int = 8  # pixels
    vision_width: int = 128
    vision_layers: int = 1  # behind the stem, a second one takes more time than it brings
    vision_heads: int = 4
    context: int = 48  # tokens at most
    vocab: int = 256
    text_width: int = 128
    text_layers: int = 2
    text_heads: int = 4
    eot_id: int = 2  # of the end-of-text token, here [SEP]
    stem: bool = True  # convolutions in place of the linear patch projection: not in the paper
    resnet: tuple = ()  # blocks of the four stages: a ResNet in place of the vision transformer, with one place a patch

    @classmethod
    def paper(cls, name="ViT-B/32"):
        """"ViT-B/32" or "RN50" with the text transformer of section 2.4. Heads are 64 wide throughout."""
        expect(name in ("ViT-B/32", "RN50"), "name", repr(name), "ViT-B/32 or RN50")
        vision = {"embed_dim": 512, "vision_width": 768, "vision_layers": 12, "vision_heads": 12} if name == "ViT-B/32" else \
            {"embed_dim": 1024, "vision_width": 64, "vision_layers": 0, "vision_heads": 32, "resnet": (3, 4, 6, 3)}
        return cls(**vision, image=224, patch=32, context=77, vocab=49408, text_width=512, text_layers=12, text_heads=8,
                   eot_id=49407, stem=False)

    def __post_init__(self):
        expect(self.image % self.patch == 0, "image", self.image, f"a multiple of the patch {self.patch}")
        expect(not self.resnet or len(self.resnet) == 4 and self.patch == 32, "resnet", self.resnet,
               "four stages, and a patch of 32: what their strides come to")
        expect(0 <= self.eot_id < self.vocab, "eot_id", self.eot_id, f"an id below the vocabulary's {self.vocab}")


class CLIPOutput(NamedTuple):
    """image_features, text_features `b e`, not normalised; logits_per_image `i t`, a row a picture."""

    image_features: torch.Tensor
    text_features: torch.Tensor
    logits_per_image: torch.Tensor


class VisionTower(nn.Module):
    """ViT (section 2.4): patches, class token, positions, one more LayerNorm in front, pre-norm blocks."""

    def __init__(self, config):
        super().__init__()
        c, d = config, config.vision_width
        self.config = config
        self.patch = ConvStem(d, c.patch) if c.stem else PatchEmbedding(d, c.patch, bias=False)
        # The authors leave the blocks of this tower at PyTorch's defaults; only these three are set.
        self.cls = nn.Parameter(d**-0.5 * torch.randn(d))
        self.pos = nn.Parameter(d**-0.5 * torch.randn(1 + (c.image // c.patch) ** 2, d))
        self.ln_pre = nn.LayerNorm(d)
        self.blocks = nn.ModuleList(
            PreNormBlock(d, c.vision_heads, activation=QuickGELU) for _ in range(c.vision_layers))
        self.ln_final = nn.LayerNorm(d)
        self.proj = nn.Linear(d, c.embed_dim, bias=False)
        nn.init.normal_(self.proj.weight, std=d**-0.5)
        for block in self.blocks:
            default_attention_init(block.attn)

    def tokens(self, images):
        """`b 3 h w -> b 1+n d`: the states behind the last block, the class token first, not normalised: unlike in the
        text tower the last LayerNorm is for the class token alone."""
        x = self.patch(images)  # b n d
        x = torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1) + self.pos
        x = self.ln_pre(x)
        for block in self.blocks:
            x = block(x)
        return x

    def features(self, images):
        """`b 3 h w -> b d`: the normalised state of the class token alone, in front of the projection; the paper's
        linear probes start here."""
        return self.ln_final(self.tokens(images)[:, 0])

    def forward(self, images):
        return self.proj(self.features(images))


class Bottleneck(nn.Module):
    """A block of the ResNet whose strides are average pools in front of 1x1 convolutions (section 2.4, "antialiased")."""

    def __init__(self, before, width, stride):
        super().__init__()
        def conv(before, after, side):
            return nn.Sequential(nn.Conv2d(before, after, side, padding=side // 2, bias=False), nn.BatchNorm2d(after))
        self.conv1, self.conv2, self.conv3 = conv(before, width, 1), conv(width, width, 3), conv(width, 4 * width, 1)
        self.pool = nn.AvgPool2d(stride)
        self.shortcut = None if before == 4 * width and stride == 1 else conv(before, 4 * width, 1)

    def forward(self, x):
        y = self.pool(self.conv2(self.conv1(x).relu()).relu())
        return (self.conv3(y) + (x if self.shortcut is None else self.shortcut(self.pool(x)))).relu()


class AttentionPool(nn.Module):
    """The mean of all places asks all places, itself among them, in one attention layer (section 2.4):
    `b d h w -> b e`."""

    def __init__(self, places, width, heads, out):
        super().__init__()
        self.pos = nn.Parameter(width**-0.5 * torch.randn(1 + places, width))
        self.attn = Attention(width, heads, out=out)

    def forward(self, x):
        x = x.flatten(2).mT  # b n d
        x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + self.pos
        return self.attn(x[:, :1], x)[:, 0]


class ResNetTower(nn.Module):
    """ResNet-D (section 2.4): a stem of three convolutions, four stages, attention pooling."""

    def __init__(self, config):
        super().__init__()
        c, w, layers = config, config.vision_width, []
        for before, after, stride in ((3, w // 2, 2), (w // 2, w // 2, 1), (w // 2, w, 1)):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.stem = nn.Sequential(*layers, nn.AvgPool2d(2))
        before, blocks = w, []
        for stage, number in enumerate(c.resnet):
            width = w * 2**stage
            for i in range(number):
                blocks.append(Bottleneck(before, width, 2 if stage > 0 and i == 0 else 1))
                before = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.pool = AttentionPool((c.image // 32) ** 2, before, c.vision_heads, c.embed_dim)
        for block in self.blocks:  # as the authors do: a block adds nothing at the start
            nn.init.zeros_(block.conv3[1].weight)
        for linear in (self.pool.attn.q, self.pool.attn.k, self.pool.attn.v, self.pool.attn.o):
            nn.init.normal_(linear.weight, std=before**-0.5)

    def features(self, images):
        """`b 3 h w -> b d`: the mean over all places; linear probes start here."""
        return self.blocks(self.stem(images)).mean((2, 3))

    def forward(self, images):
        return self.pool(self.blocks(self.stem(images)))


class TextTower(nn.Module):
    """The text transformer (section 2.4): causal attention, read out at the end-of-text token.

    There is no mask for padding: pads stand behind the end of the text, where causal attention never looks.
    """

    def __init__(self, config):
        super().__init__()
        c, d = config, config.text_width
        self.config = config
        self.tok = nn.Embedding(c.vocab, d)
        self.pos = nn.Parameter(0.01 * torch.randn(c.context, d))
        self.blocks = nn.ModuleList(PreNormBlock(d, c.text_heads, activation=QuickGELU) for _ in range(c.text_layers))
        self.ln_final = nn.LayerNorm(d)
        self.proj = nn.Linear(d, c.embed_dim, bias=False)
        self.register_buffer("mask", causal_mask(c.context), persistent=False)
        nn.init.normal_(self.tok.weight, std=0.02)
        nn.init.normal_(self.proj.weight, std=d**-0.5)
        for block in self.blocks:
            default_attention_init(block.attn)  # biases; the weights follow
            for linear in (block.attn.q, block.attn.k, block.attn.v):
                nn.init.normal_(linear.weight, std=d**-0.5)
            # Residual branches add up over the depth: their last maps start smaller, as in GPT-2.
            for linear in (block.attn.o, block.mlp.fc2):
                nn.init.normal_(linear.weight, std=d**-0.5 * (2 * c.text_layers) ** -0.5)
            nn.init.normal_(block.mlp.fc1.weight, std=(2 * d) ** -0.5)

    def tokens(self, ids):
        """`b l -> b l d`: the normalised states behind the last block."""
        length = ids.shape[1]
        x = self.tok(ids) + self.pos[:length]
        for block in self.blocks:
            x = block(x, self.mask[:length, :length])
        return self.ln_final(x)

    def forward(self, ids):
        # The authors look for the highest id, since end-of-text has the highest of their vocabulary. That rule breaks
        # with any other vocabulary; the first place that holds `eot_id` is the same and always right.
        end = (ids == self.config.eot_id).int().argmax(1)
        x = self.tokens(ids)
        return self.proj(x[torch.arange(len(x), device=x.device), end])


class CLIP(nn.Module):
    """Figure 3 of the paper: two towers, a common space, a learnt temperature."""

    def __init__(self, config=CLIPConfig()):
        super().__init__()
        self.config = config
        self.vision = ResNetTower(config) if config.resnet else VisionTower(config)
        self.text = TextTower(config)
        # The logarithm of the scale 1 / tau is learnt, so that a step changes the scale by a factor (section 2.3).
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, images):
        """images `b 3 h w`, floating point, normalised (about -3 to 3) `-> b e`, not yet of length 1.

        Raises TypeError for another dtype, ValueError for another shape, an empty batch, values out of range or NaN.
        """
        check_images(images, self.config.image, self.config.image)
        return self.vision(images)

    def encode_text(self, ids):
        """ids `b l` of int64, every row with an end-of-text token `-> b e`, not yet of length 1.

        Raises TypeError for another dtype, ValueError for a wrong shape, an empty batch, a text that is too long, an
        id outside the vocabulary or a text without its end.
        """
        c = self.config
        check_ids(ids, c.vocab, c.context)
        expect(bool((ids == c.eot_id).any(1).all()), "ids", "a text without its end",
               f"the end-of-text id {c.eot_id} in every row (was the text cut off?)")
        return self.text(ids)

    def forward(self, images, ids):
        """images `i 3 h w`, ids `t l`: CLIPOutput."""
        image_features, text_features = self.encode_image(images), self.encode_text(ids)
        return CLIPOutput(image_features, text_features, similarity(image_features, text_features, self.log_scale))

    def loss(self, batch):
        """The symmetric cross-entropy of a batch of pairs: {"contrastive": 0-d}. Chance is ln b. What is in the batch twice
        counts as wrong for its double.

        batch: a mapping with `images` and `ids`, row i of both a pair. Raises ValueError for fewer than two pairs.
        """
        expect(len(batch["images"]) == len(batch["ids"]), "batch",
               f"{len(batch['images'])} pictures, {len(batch['ids'])} texts", "as many pictures as texts")
        return {"contrastive": symmetric_cross_entropy(self(batch["images"], batch["ids"]).logits_per_image)}

    @torch.no_grad()
    def after_step(self):
        """The scale is kept from growing past 100 (section 2.5). The parameter is clamped, after the step: logits
        clamped in the forward pass would have no gradient."""
        self.log_scale.clamp_(max=math.log(100))


def default_attention_init(attention):
    """What torch.nn.MultiheadAttention starts from, and so the authors: one Xavier matrix for q, k and v, no bias."""
    width = attention.q.weight.shape[1]
    for linear in (attention.q, attention.k, attention.v):
        nn.init.uniform_(linear.weight, -(bound := (6 / (4 * width)) ** 0.5), bound)
        nn.init.zeros_(linear.bias)
    nn.init.zeros_(attention.o.bias)
