"""A picture encoder that learns from labels, before it meets language.

The authors of VSE++, ViLT and ALBEF start from networks trained on ImageNet's labels (ResNet-152, ViT-B/32, DeiT-B).
Here the same start is made on the scenes: a vision transformer says what stands in each quarter of the picture. That
every place has a label of its own, read off its own tokens, follows token labelling (Jiang et al. 2021).
"""

from dataclasses import dataclass

import torch.nn.functional as F
from einops import reduce
from torch import nn

from ..layers import VisionTransformer, init_normal


@dataclass(frozen=True)
class LabelledConfig:
    """Sizes; the defaults are those of ALBEF's picture encoder in the course."""

    image: int = 64  # pixels; pictures are square
    patch: int = 8  # pixels
    width: int = 128
    layers: int = 2
    heads: int = 4
    hidden: int = 512  # of the MLPs
    stem: bool = True  # convolutions in place of the linear patch projection
    icons: int = 25  # classes, an empty place among them
    colours: int = 7
    sizes: int = 2
    backgrounds: int = 4


class Labelled(nn.Module):
    """A vision transformer with linear heads: on the mean of each quarter's tokens, and on the class token."""

    def __init__(self, config=LabelledConfig()):
        super().__init__()
        c = self.config = config
        self.vision = VisionTransformer(c.image, c.patch, c.width, c.layers, c.heads, c.hidden, c.stem)
        self.heads = nn.ModuleDict({"icon": nn.Linear(c.width, c.icons), "colour": nn.Linear(c.width, c.colours),
                                    "size": nn.Linear(c.width, c.sizes)})
        self.background = nn.Linear(c.width, c.backgrounds)
        self.apply(init_normal(c.width))

    def forward(self, images):
        """images `b 3 h w`, normalised: {"icon", "colour", "size": `b 4 c`, quarters in reading order, "background":
        `b c`} of logits. Raises what `check_images` raises."""
        x = self.vision(images)
        half = self.config.image // self.config.patch // 2
        quarters = reduce(x[:, 1:], "b (r h c w) d -> b (r c) d", "mean", r=2, c=2, h=half, w=half)
        return {**{name: head(quarters) for name, head in self.heads.items()}, "background": self.background(x[:, 0])}

    def loss(self, batch):
        """{"icon", "colour", "size", "background"}: cross-entropies. batch: images, places `b 4 3` (icon, colour, size;
        -100 for none), background `b`."""
        logits = self(batch["images"])
        losses = {name: F.cross_entropy(logits[name].flatten(0, 1), batch["places"][..., i].flatten())
                  for i, name in enumerate(self.heads)}
        return {**losses, "background": F.cross_entropy(logits["background"], batch["background"])}
