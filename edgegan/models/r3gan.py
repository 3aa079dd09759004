"""Class-conditional residual GAN without any norm (R3GAN: Huang et al. 2025, arXiv:2501.05441).

What norms and tricks do elsewhere is left to the loss: `train: {loss: relativistic}`, with R1 and R2.
Convolutions are not grouped, so that all of their channels can be pruned.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2


class ResidualBlock(nn.Module):
    """A bottleneck, added to what it takes; it begins as the identity (Fixup: arXiv:1901.09321)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width, 1)
        self.second = _conv(width, width, 3)
        self.third = nn.Conv2d(width, width, 1, bias=False)
        nn.init.zeros_(self.third.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        y = F.leaky_relu(self.second(F.leaky_relu(self.first(x), SLOPE)), SLOPE)
        return x + self.third(y)


class Generator(nn.Module):
    """Maps z (N, latent), standard normal, and label (N,) to images (N, channels, S, S) in [-1, 1].

    S is 4 * 2 ** (len(widths) - 1): `widths` names the channels at 4x4 and after each doubling. There are
    `blocks` at each size.
    """

    def __init__(
        self,
        widths: Sequence[int] = (128, 128, 96, 64),
        latent: int = 64,
        classes: int = 10,
        channels: int = 3,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, latent)
        self.seed = nn.ConvTranspose2d(2 * latent, widths[0], 4)
        self.blocks = nn.ModuleList(nn.Sequential(*map(ResidualBlock, [width] * blocks)) for width in widths)
        self.ups = nn.ModuleList(_up(inputs, outputs) for inputs, outputs in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], channels, 1)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Return the images."""
        given = torch.cat([z, self.embedding(label)], 1)
        x = self.blocks[0](self.seed(given[:, :, None, None]))
        for up, blocks in zip(self.ups, self.blocks[1:]):
            x = blocks(up(x))
        return torch.tanh(self.head(x))


class Discriminator(nn.Module):
    """Images (N, channels, S, S) in [-1, 1] and label (N,), to scores (N,).

    S is 4 * 2 ** (len(widths) - 1): `widths` names the channels at full size and after each halving.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 96, 128, 128),
        classes: int = 10,
        channels: int = 3,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        self.tail = _conv(channels, widths[0], 1)
        self.body = nn.Sequential(*map(ResidualBlock, [widths[0]] * blocks))
        for inputs, outputs in pairwise(widths):
            halved = nn.Sequential(nn.AvgPool2d(2), _conv(inputs, outputs, 1))
            self.body.extend([halved, *map(ResidualBlock, [outputs] * blocks)])
        self.places = nn.Parameter(torch.randn(widths[-1], 4, 4) / 4)
        self.embedding = nn.Embedding(classes, widths[-1])

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """Return the scores (N,): higher is more real."""
        pooled = (self.body(self.tail(image)) * self.places).sum((2, 3))
        return (pooled * self.embedding(label)).sum(1) / pooled.shape[1] ** 0.5


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(conv.weight, SLOPE)
    return conv


def _up(inputs: int, outputs: int) -> nn.Module:
    """Double height and width."""
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), _conv(inputs, outputs, 1))
