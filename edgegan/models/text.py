"""Convolutional GAN of short texts over a small vocabulary, by Gumbel-softmax (Kusner and Hernandez-Lobato
2016, arXiv:1611.04051); the residual blocks are those of Gulrajani et al. 2017 (arXiv:1704.00028)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two convolutions over five places, added to what they take: (N, width, T) to the same shape."""

    def __init__(self, width: int, *, norm: bool) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv1d(width, width, 5, padding=2) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) if norm else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps."""
        hidden = self.first(F.relu(self.norms[0](x)))
        return x + self.second(F.relu(self.norms[1](hidden)))


class Generator(nn.Module):
    """Maps z (N, latent), standard normal, to each place's shares of the vocabulary (N, vocabulary, length).

    In training mode a token is drawn by the shares at each place, one-hot, with the gradient of the soft draw
    (straight-through, at `temperature`); in eval mode it gives the shares themselves.
    """

    def __init__(
        self,
        vocabulary: int = 64,
        length: int = 12,
        width: int = 128,
        blocks: int = 3,
        latent: int = 64,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.seed = nn.ConvTranspose1d(latent, width, length)
        self.blocks = nn.Sequential(*(ResidualBlock(width, norm=True) for _ in range(blocks)))
        self.head = nn.Conv1d(width, vocabulary, 1)
        self.temperature = temperature

    def forward(self, z: Tensor) -> Tensor:
        """Return the shares."""
        scores = self.head(self.blocks(self.seed(z[:, :, None])))
        if self.training:
            return F.gumbel_softmax(scores.float(), self.temperature, hard=True, dim=1)
        return torch.softmax(scores, 1)


class Discriminator(nn.Module):
    """Tokens, one-hot or as shares (N, vocabulary, length), to scores (N,)."""

    def __init__(self, vocabulary: int = 64, length: int = 12, width: int = 128, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv1d(vocabulary, width, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(width, norm=False) for _ in range(blocks)))
        self.head = nn.Linear(width * length, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the scores (N,): higher is more real."""
        return self.head(self.blocks(self.stem(tokens)).flatten(1))[:, 0]
