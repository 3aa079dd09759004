"""The plain GAN of fully connected layers (Goodfellow et al. 2014, arXiv:1406.2661).

Sizes and layers are those that the field's first lesson has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Generator(nn.Module):
    """Maps z (N, widths[0]) to samples (N, *shape) in [-1, 1]."""

    def __init__(
        self, widths: Sequence[int] = (100, 256, 512, 1024), shape: Sequence[int] = (1, 28, 28)
    ) -> None:
        super().__init__()
        self.hidden = nn.Sequential()
        for inputs, outputs in pairwise(widths):
            self.hidden.extend([nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)])
        self.head = nn.Linear(widths[-1], math.prod(shape))
        self.shape = tuple(shape)

    def forward(self, z: Tensor) -> Tensor:
        """Return samples (N, *shape) in [-1, 1]."""
        return torch.tanh(self.head(self.hidden(z))).unflatten(1, self.shape)


class Discriminator(nn.Module):
    """Samples (N, *shape) in [-1, 1], to scores (N,), with dropout against its overconfidence."""

    def __init__(
        self,
        widths: Sequence[int] = (1024, 512, 256),
        shape: Sequence[int] = (1, 28, 28),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten())
        for inputs, outputs in pairwise((math.prod(shape), *widths)):
            self.hidden.extend([nn.Linear(inputs, outputs), nn.LeakyReLU(0.2), nn.Dropout(dropout)])
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, sample: Tensor) -> Tensor:
        """Return the scores (N,): higher is more real."""
        return self.head(self.hidden(sample))[:, 0]
