"""Class-conditional residual GAN with a projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637).

Spectral normalization as in Miyato et al. 2018 (arXiv:1802.05957).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalization whose gain and bias are looked up by class."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(features, affine=False)
        self.gain = nn.Embedding(classes, features)
        self.bias = nn.Embedding(classes, features)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Normalize `x` (N, C, H, W) for `label` (N,)."""
        return self.norm(x) * self.gain(label)[:, :, None, None] + self.bias(label)[:, :, None, None]


class GeneratorBlock(nn.Module):
    """Residual block that doubles height and width by nearest-neighbour up-sampling."""

    def __init__(self, inputs: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm2d(inputs, classes)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = ConditionalBatchNorm2d(outputs, classes)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, 2H, 2W)."""
        y = self.conv1(self.up(F.relu(self.norm1(x, label))))
        y = self.conv2(F.relu(self.norm2(y, label)))
        return y + self.up(self.shortcut(x))


class Generator(nn.Module):
    """Maps z (N, latent) and label (N,) to images (N, channels, S, S) in [-1, 1].

    z is standard normal, label int64 in 0..classes-1. S is 4 * 2 ** (len(widths) - 1): `widths` names the
    channels at 4x4 and after each block.
    """

    def __init__(
        self,
        widths: Sequence[int] = (256, 256, 160, 80),
        latent: int = 64,
        classes: int = 10,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.seed = nn.ConvTranspose2d(latent, widths[0], 4)
        self.blocks = nn.ModuleList(
            GeneratorBlock(inputs, outputs, classes) for inputs, outputs in pairwise(widths)
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Conv2d(widths[-1], channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias) if module.bias is not None else None

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Return images (N, channels, S, S) in [-1, 1]."""
        x = self.seed(z[:, :, None, None])
        for block in self.blocks:
            x = block(x, label)
        return torch.tanh(self.head(F.relu(self.norm(x))))


class DiscriminatorBlock(nn.Module):
    """Residual block; halves height and width where `down`."""

    def __init__(self, inputs: int, outputs: int, *, down: bool, first: bool = False) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = _normed(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = _normed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = _normed(nn.Conv2d(inputs, outputs, 1)) if down or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W), halved where `down`."""
        y = self.conv1(x if self.first else F.relu(x))
        y = self.conv2(F.relu(y))
        if self.down:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return y + (x if self.shortcut is None else self.shortcut(x))


class ProjectionDiscriminator(nn.Module):
    """Images (N, channels, S, S) in [-1, 1] and label (N,), to scores (N,)."""

    def __init__(
        self, width: int = 128, classes: int = 10, channels: int = 3, blocks: int = 4, downs: int = 2
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(width if index else channels, width, down=index < downs, first=index == 0)
            for index in range(blocks)
        )
        self.linear = _normed(nn.Linear(width, 1))
        self.embedding = _normed(nn.Embedding(classes, width))

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """Return the scores (N,): higher is more real."""
        x = image
        for block in self.blocks:
            x = block(x)
        pooled = F.relu(x).sum(dim=(2, 3))
        return self.linear(pooled)[:, 0] + (pooled * self.embedding(label)).sum(dim=1)


def _normed(layer: nn.Module) -> nn.Module:
    nn.init.xavier_uniform_(layer.weight)  # pyright: ignore[reportArgumentType]
    return spectral_norm(layer)
