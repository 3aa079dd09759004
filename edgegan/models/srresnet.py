"""Residual super-resolution without normalization (SRResNet: Ledig et al. 2017, arXiv:1609.04802; without
norms as EDSR: Lim et al. 2017, arXiv:1707.02921)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two convolutions around a ReLU, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        return x + self.conv2(F.relu(self.conv1(x)))


class SRResNet(nn.Module):
    """Maps pictures (N, channels, H, W) to (N, channels, scale * H, scale * W), of the same range.

    What it learns is added to the picture, enlarged by nearest neighbours. `scale` is a power of 2, and 1
    makes a network that restores pictures of one size. Sizes are free.
    """

    def __init__(self, width: int = 48, blocks: int = 8, scale: int = 4, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.neck = nn.Conv2d(width, width, 3, padding=1)
        ups: list[nn.Module] = []
        for _ in range(scale.bit_length() - 1):
            ups += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.ReLU()]
        self.up = nn.Sequential(*ups)
        self.tail = nn.Conv2d(width, channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                nn.init.normal_(module.conv2.weight, std=0.01)
        nn.init.normal_(self.tail.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Return the restored pictures."""
        y = self.head(x)
        y = self.tail(self.up(y + self.neck(self.body(y))))
        return y + (F.interpolate(x, scale_factor=self.scale, mode="nearest") if self.scale > 1 else x)
