"""Convolutional GAN of series over time (as WaveGAN: Donahue et al. 2019, arXiv:1802.04208)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Generator(nn.Module):
    """Maps z (N, latent), standard normal, to series (N, channels, T) in [-1, 1].

    T is first * 4 ** (len(widths) - 1): `widths` names the channels at `first` steps and after each block,
    which repeats every step four times and convolves.
    """

    def __init__(
        self, widths: Sequence[int] = (96, 64, 48), latent: int = 32, channels: int = 3, first: int = 8
    ) -> None:
        super().__init__()
        self.seed = nn.Sequential(
            nn.ConvTranspose1d(latent, widths[0], first, bias=False), nn.BatchNorm1d(widths[0]), nn.ReLU()
        )
        self.blocks = nn.Sequential()
        for inputs, outputs in pairwise(widths):
            convolution = nn.Conv1d(inputs, outputs, 9, padding=4, bias=False)
            self.blocks.extend([nn.Upsample(scale_factor=4), convolution, nn.BatchNorm1d(outputs), nn.ReLU()])
        self.head = nn.Conv1d(widths[-1], channels, 9, padding=4)

    def forward(self, z: Tensor) -> Tensor:
        """Return series (N, channels, T) in [-1, 1]."""
        return torch.tanh(self.head(self.blocks(self.seed(z[:, :, None]))))


class Discriminator(nn.Module):
    """Series (N, channels, steps) to scores (N,); each of `widths` makes a fourth of the steps."""

    def __init__(self, widths: Sequence[int] = (48, 96, 128), channels: int = 3, steps: int = 128) -> None:
        super().__init__()
        self.body = nn.Sequential()
        for inputs, outputs in pairwise((channels, *widths)):
            self.body.extend([spectral_norm(nn.Conv1d(inputs, outputs, 9, 4, 4)), nn.LeakyReLU(0.2)])
            steps = -(-steps // 4)
        self.body.append(nn.Flatten())
        self.head = spectral_norm(nn.Linear(widths[-1] * steps, 1))

    def forward(self, series: Tensor) -> Tensor:
        """Return the scores (N,): higher is more real."""
        return self.head(self.body(series))[:, 0]
