"""How pictures become sequences, and where positions start."""

import torch
from einops import rearrange
from torch import nn

from .._errors import expect


class PatchEmbedding(nn.Module):
    """A picture cut into patches, every patch mapped by one linear layer (written as a convolution).

    `b 3 h w -> b (rows columns) d`.
    """

    def __init__(self, width, patch, bias=True):
        super().__init__()
        self.conv = nn.Conv2d(3, width, patch, stride=patch, bias=bias)

    def forward(self, images):
        return rearrange(self.conv(images), "b d r c -> b (r c) d")


class ConvStem(nn.Module):
    """Five 3x3 convolutions with batch normalisation in place of the patch projection: every place of the result
    looks at much more than its own patch, and an icon that lies across patches is seen as one (Xiao et al. 2021).

    `b 3 h w -> b (rows columns) d`; `patch`, a power of two from 2 to 32, is the step between places, in pixels.
    """

    def __init__(self, width, patch):
        super().__init__()
        expect(patch in (2, 4, 8, 16, 32), "patch", patch, "a power of two from 2 to 32 for a convolutional stem")
        halvings = patch.bit_length() - 1
        widths = [width * 2 ** min(0, i - 3) for i in range(5)]  # an eighth, a quarter, a half, then the whole width
        layers, last = [], 3
        for i, channels in enumerate(widths):
            stride = 2 if i < halvings else 1
            layers += [nn.Conv2d(last, int(channels), 3, stride, 1, bias=False), nn.BatchNorm2d(int(channels)),
                       nn.ReLU(inplace=True)]
            last = int(channels)
        self.layers = nn.Sequential(*layers)
        self.project = nn.Conv2d(last, width, 1)

    def forward(self, images):
        return rearrange(self.project(self.layers(images)), "b d r c -> b (r c) d")


def sines(length, width):
    """Sines and cosines of 0 to length - 1, `l d`: wave lengths from 1 to 10,000 (Vaswani et al. 2017, section 3.5).

    Here they are where learnt positions START. Random ones, as usual, say nothing about who stands next to whom until
    training has told it, place by place; a course's run ends before. Raises ValueError for an odd width.
    """
    expect(width % 2 == 0, "width", width, "an even number: sines and cosines")
    angle = torch.outer(torch.arange(length), 1 / 10_000 ** (torch.arange(width // 2) / (width // 2)))
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def sine_places(side, width):
    """The same for the places of a square, `(side side) d`: half for the row, half for the column (as in Chen et al. 2021,
    MoCo v3). Raises ValueError unless the width is a multiple of 4."""
    expect(width % 4 == 0, "width", width, "a multiple of 4: sines and cosines of rows and of columns")
    wave = sines(side, width // 2)
    return torch.cat([wave.repeat_interleave(side, 0), wave.repeat(side, 1)], dim=1)
