"""DCGAN of labelled images, with a projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637).

The generator takes the label beside the latent (CGAN: Mirza and Osindero 2014, arXiv:1411.1784).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from edgegan.models import dcgan


class Generator(nn.Module):
    """Maps z (N, latent), standard normal, and label (N,), 0..classes-1, to images as `dcgan.Generator`'s."""

    def __init__(
        self,
        widths: Sequence[int] = (128, 96, 64),
        latent: int = 32,
        classes: int = 10,
        embedding: int = 16,
        channels: int = 1,
        first: int = 7,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, embedding)
        self.body = dcgan.Generator(widths, latent + embedding, channels, first)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Return images (N, channels, S, S) in [-1, 1]."""
        return self.body(torch.cat([z, self.embedding(label)], 1))


class Discriminator(dcgan.Discriminator):
    """Images (N, channels, size, size) and label (N,), to scores (N,)."""

    def __init__(
        self,
        widths: Sequence[int] = (48, 96, 128),
        classes: int = 10,
        channels: int = 1,
        size: int = 28,
    ) -> None:
        super().__init__(widths, channels, size)
        self.embedding = spectral_norm(nn.Embedding(classes, self.features))

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, image: Tensor, label: Tensor
    ) -> Tensor:
        """Return the scores (N,): higher is more real, and more of its class."""
        features = self.body(image)
        return self.head(features)[:, 0] + (features * self.embedding(label)).sum(1)
