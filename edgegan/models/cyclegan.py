"""Residual network from pictures to pictures with instance norms (Johnson et al. 2016, arXiv:1603.08155), as
CycleGAN has it (Zhu et al. 2017, arXiv:1703.10593)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two convolutions, added to what they take."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (_convolved(width, width, 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        return x + self.second(F.relu(self.first(x)))


class Generator(nn.Module):
    """Maps pictures (N, channels, H, W) in [-1, 1] to such pictures; H and W are multiples of 4.

    `width` channels at full size, four times as many at a quarter of it, where the `blocks` are.
    """

    def __init__(self, channels: int = 3, width: int = 32, blocks: int = 6) -> None:
        super().__init__()
        self.head = nn.Sequential(_convolved(channels, width, 7), nn.ReLU())
        self.downs, self.ups = nn.Sequential(), nn.Sequential()
        for before, after in ((width, 2 * width), (2 * width, 4 * width)):
            down = nn.Conv2d(before, after, 3, 2, 1)
            self.downs.extend([nn.Sequential(down, nn.InstanceNorm2d(after, affine=True), nn.ReLU())])
        self.blocks = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(blocks)))
        for before, after in ((4 * width, 2 * width), (2 * width, width)):
            up = nn.ConvTranspose2d(before, after, 4, 2, 1)
            self.ups.extend([nn.Sequential(up, nn.InstanceNorm2d(after, affine=True), nn.ReLU())])
        self.tail = nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        """Return the pictures."""
        return torch.tanh(self.tail(self.ups(self.blocks(self.downs(self.head(x))))))


def _convolved(before: int, after: int, kernel: int) -> nn.Module:
    conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode="reflect")
    return nn.Sequential(conv, nn.InstanceNorm2d(after, affine=True))
