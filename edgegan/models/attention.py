"""DCGAN with self-attention in both networks (SAGAN: Zhang et al. 2019, arXiv:1805.08318)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from edgegan.models import dcgan


class SelfAttention2d(nn.Module):
    """Adds to each place of (N, channels, H, W) what it takes from all places; at first nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, max(1, channels // 8), 1)
        self.key = nn.Conv2d(channels, max(1, channels // 8), 1)
        self.value = nn.Conv2d(channels, max(1, channels // 2), 1)
        self.out = nn.Conv2d(max(1, channels // 2), channels, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps (N, channels, H, W)."""
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        shares = torch.softmax(query.transpose(1, 2) @ key, -1)
        taken = (value @ shares.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gain * self.out(taken)


class Generator(dcgan.Generator):
    """A `dcgan.Generator` that attends after its first doubling."""

    def __init__(
        self, widths: Sequence[int] = (128, 96, 64), latent: int = 64, channels: int = 1, first: int = 7
    ) -> None:
        super().__init__(widths, latent, channels, first)
        self.blocks.insert(1, SelfAttention2d(widths[1]))


class Discriminator(dcgan.Discriminator):
    """A `dcgan.Discriminator` that attends after its first halving."""

    def __init__(self, widths: Sequence[int] = (48, 96, 128), channels: int = 1, size: int = 28) -> None:
        super().__init__(widths, channels, size)
        attention = SelfAttention2d(widths[0])
        for name in ("query", "key", "value", "out"):
            setattr(attention, name, spectral_norm(getattr(attention, name)))
        self.body.insert(2, attention)
