"""A picture encoder that learns from labels, before it meets language.

The authors of VSE++, ViLT and ALBEF start from networks trained on ImageNet's labels (ResNet-152, ViT-B/32, DeiT-B).
Here the same start is made on the scenes: a vision transformer says what stands in each quarter of the picture. Labels
for the tokens beside those for the class token follow token labelling (Jiang et al. 2021).
"""

from dataclasses import dataclass

import torch.nn.functional as F
from einops import rearrange, reduce
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
    """A vision transformer with two linear heads for the same labels: one says what stands in a quarter of the picture
    from the mean of that quarter's tokens, the other says it of all quarters from the class token.

    The first learns fast. The second can tell the quarters apart only if the tokens say where they are: with the first
    alone positions stay as small as they start, a hundredth of the states' variance, and what is built on top of the
    encoder finds out neither where a thing is nor what stands left of it.
    """

    def __init__(self, config=LabelledConfig()):
        super().__init__()
        c = self.config = config
        self.vision = VisionTransformer(c.image, c.patch, c.width, c.layers, c.heads, c.hidden, c.stem)
        self.classes = [c.icons, c.colours, c.sizes]
        self.quarter = nn.Linear(c.width, sum(self.classes))
        self.whole = nn.Linear(c.width, 4 * sum(self.classes))
        self.background = nn.Linear(c.width, c.backgrounds)
        for head in (self.quarter, self.whole, self.background):
            head.apply(init_normal())
        self.vision.blocks.apply(init_normal(c.width))

    def forward(self, images):
        """images `b 3 h w`, normalised: {"quarter": `b 4 c`, quarters in reading order, "whole": the same from the class
        token, "background": `b c`} of logits; c: icons, colours, sizes. Raises what `check_images` raises."""
        x = self.vision(images)
        half = self.config.image // self.config.patch // 2
        quarters = reduce(x[:, 1:], "b (r h c w) d -> b (r c) d", "mean", r=2, c=2, h=half, w=half)
        return {"quarter": self.quarter(quarters), "whole": rearrange(self.whole(x[:, 0]), "b (q c) -> b q c", q=4),
                "background": self.background(x[:, 0])}

    def loss(self, batch):
        """{"quarter", "whole"}: sums of three cross-entropies, {"background"}: one. batch: images, places `b 4 3` (icon,
        colour, size; -100 for none), background `b`."""
        logits = self(batch["images"])
        losses = {name: sum(F.cross_entropy(of.flatten(0, 1), batch["places"][..., i].flatten())
                            for i, of in enumerate(logits[name].split(self.classes, -1)))
                  for name in ("quarter", "whole")}
        return {**losses, "background": F.cross_entropy(logits["background"], batch["background"])}
