"""U-Nets that turn pictures into pictures, and the discriminator of patches (pix2pix: Isola et al. 2017,
arXiv:1611.07004)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_GROWTH = 4
"""Of channels, from the first level to the deepest."""


class UNet(nn.Module):
    """Maps pictures (N, inputs, H, W) to (N, outputs, H, W) in [-1, 1]; H and W are multiples of 2 ** depth.

    Each level halves the size by a convolution of stride 2 and doubles it by a transposed one; what the way
    down had is concatenated. Where `residual`, the result is added to the input, in every channel, in place
    of a tanh, and values may pass the range.
    """

    def __init__(
        self, inputs: int = 3, outputs: int = 3, width: int = 32, depth: int = 4, *, residual: bool = False
    ) -> None:
        super().__init__()
        widths = [width * min(2**level, MOST_GROWTH) for level in range(depth)]
        self.residual = residual
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        before = inputs
        for level, after in enumerate(widths):
            first = level == 0
            self.downs.append(_block(nn.Conv2d(before, after, 4, 2, 1, bias=first), after, first=first))
            before = after
        for level in reversed(range(1, depth)):
            after = widths[level - 1]
            self.ups.append(_block(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), after))
            before = 2 * after
        self.head = nn.ConvTranspose2d(before, outputs, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pictures."""
        y, skips = x, []
        for index, down in enumerate(self.downs):
            y = down(y if index == 0 else F.leaky_relu(y, 0.2))
            skips.append(y)
        skips.pop()
        for up in self.ups:
            y = torch.cat([up(F.relu(y)), skips.pop()], 1)
        y = self.head(F.relu(y))
        return x + y if self.residual else torch.tanh(y)


class InpaintingUNet(nn.Module):
    """Fills holes (context encoders: Pathak et al. 2016, arXiv:1604.07379).

    Maps a picture (N, channels, H, W) in [-1, 1] and its mask (N, 1, H, W), 1 in the hole and else 0, to the
    picture with the hole filled; what is outside stays as it is.
    """

    def __init__(self, channels: int = 3, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        self.fill = UNet(channels + 1, channels, width, depth)

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """Return the whole pictures."""
        filled = self.fill(torch.cat([picture, mask], 1))
        return picture + mask * (filled - picture)


class PatchDiscriminator(nn.Module):
    """Scores each patch: pictures (N, channels, H, W) to (N, 1, h, w), higher where more real.

    With three levels a score sees 34x34 pixels.
    """

    def __init__(self, channels: int = 3, width: int = 32, levels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        before = width
        for level in range(1, levels):
            after, stride = width * min(2**level, MOST_GROWTH), 2 if level < levels - 1 else 1
            layers += [nn.Conv2d(before, after, 4, stride, 1, bias=False), nn.BatchNorm2d(after)]
            layers.append(nn.LeakyReLU(0.2))
            before = after
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(before, 1, 4, 1, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """Return the scores."""
        return self.head(self.body(picture))


def _block(conv: nn.Module, width: int, *, first: bool = False) -> nn.Module:
    nn.init.normal_(conv.weight, std=0.02)  # pyright: ignore[reportArgumentType]
    return conv if first else nn.Sequential(conv, nn.BatchNorm2d(width))
