"""The vision transformer."""

import torch
from torch import nn

from .._errors import expect
from .blocks import PreNormBlock
from .embeddings import ConvStem, PatchEmbedding, sine_places
from .inputs import check_images


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al. 2021): patches, class token, positions, pre-norm blocks, LayerNorm: `b 3 h w -> b 1+n d`.

    image, patch: sides in pixels; hidden: width of the MLPs; stem: convolutions in place of the linear patch projection.
    """

    def __init__(self, image, patch, width, layers, heads, hidden=None, stem=False, eps=1e-6):
        super().__init__()
        expect(image % patch == 0, "image", image, f"a multiple of the patch {patch}")
        self.image = image
        self.patch = ConvStem(width, patch) if stem else PatchEmbedding(width, patch)
        self.cls = nn.Parameter(0.02 * torch.randn(width))
        self.pos = nn.Parameter(torch.cat([torch.zeros(1, width), sine_places(image // patch, width)]))
        self.blocks = nn.ModuleList(PreNormBlock(width, heads, hidden, eps=eps) for _ in range(layers))
        self.ln_final = nn.LayerNorm(width, eps=eps)

    def forward(self, images):
        """The states, that of the class token first. Raises what `check_images` raises."""
        check_images(images, self.image, self.image)
        x = self.patch(images)
        x = torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1) + self.pos
        for block in self.blocks:
            x = block(x)
        return self.ln_final(x)

    def features(self, images):
        """The state of the class token, `b 3 h w -> b d`: linear probes start here."""
        return self(images)[:, 0]


class Projected(nn.Module):
    """A picture encoder with `features` `b d`, mapped to a space in which they are compared: `b 3 h w -> b e`."""

    def __init__(self, vision, width, embed_dim):
        super().__init__()
        self.encoder, self.proj = vision, nn.Linear(width, embed_dim, bias=False)

    def features(self, images):
        return self.encoder.features(images)

    def forward(self, images):
        return self.proj(self.features(images))
