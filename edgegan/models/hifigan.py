"""A small vocoder: mel spectrograms to waveforms (HiFi-GAN: Kong et al. 2020, arXiv:2010.05646)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1


class ResidualStack(nn.Module):
    """Dilated convolutions, each added to what it takes."""

    def __init__(self, width: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)
            for dilation in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, T) to the same shape."""
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, SLOPE))
        return x


class MultiReceptiveField(nn.ModuleList):
    """The mean of stacks with different kernels."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, T) to the same shape."""
        return reduce(torch.add, [stack(x) for stack in self]) / len(self)


class Vocoder(nn.Module):
    """Maps logarithmic mel spectrograms (N, bands, T) to waveforms (N, 1, hop * T) in [-1, 1].

    `hop` is the product of `rates`. Each transposed convolution doubles its rate as kernel and halves the
    channels; after it the outputs of stacks with different `kernels` are averaged. T is free.
    """

    def __init__(
        self,
        bands: int = 80,
        width: int = 128,
        rates: Sequence[int] = (8, 8, 2, 2),
        kernels: Sequence[int] = (3, 7),
        dilations: Sequence[int] = (1, 3),
    ) -> None:
        super().__init__()
        self.head = nn.Conv1d(bands, width, 7, padding=3)
        self.ups, self.stacks = nn.ModuleList(), nn.ModuleList()
        for rate in rates:
            self.ups.append(nn.ConvTranspose1d(width, width // 2, 2 * rate, rate, rate // 2))
            width //= 2
            self.stacks.append(
                MultiReceptiveField(ResidualStack(width, kernel, dilations) for kernel in kernels)
            )
        self.tail = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, mel: Tensor) -> Tensor:
        """Return the waveforms."""
        x = self.head(mel)
        for up, stacks in zip(self.ups, self.stacks):
            x = stacks(up(F.leaky_relu(x, SLOPE)))
        return torch.tanh(self.tail(F.leaky_relu(x, SLOPE)))


class PeriodDiscriminator(nn.Module):
    """Scores of samples a `period` apart, seen as a picture: waveforms (N, 1, S) to scores (N, scores)."""

    def __init__(self, period: int, width: int, layers: int = 4) -> None:
        super().__init__()
        self.period = period
        widths = [1, *(width * 2**index for index in range(layers))]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (3, 1), (2, 0)))
            for before, after in pairwise(widths)
        )
        self.head = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Tensor) -> Tensor:
        """Return the scores, higher where more real."""
        length = math.ceil(wave.shape[-1] / self.period) * self.period
        x = F.pad(wave, (0, length - wave.shape[-1])).unflatten(-1, (-1, self.period))
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
        return self.head(x).flatten(1)


class ScaleDiscriminator(nn.Module):
    """Scores of a waveform that is averaged over `pool` samples: (N, 1, S) to (N, scores)."""

    def __init__(self, pool: int, width: int, layers: int = 4) -> None:
        super().__init__()
        self.pool = pool
        widths = [width * 2**index for index in range(layers)]
        first = weight_norm(nn.Conv1d(1, width, 15, padding=7))
        rest = (
            weight_norm(nn.Conv1d(before, after, 21, 4, 10, groups=4)) for before, after in pairwise(widths)
        )
        self.convs = nn.ModuleList([first, *rest])
        self.head = weight_norm(nn.Conv1d(widths[-1], 1, 3, padding=1))

    def forward(self, wave: Tensor) -> Tensor:
        """Return the scores, higher where more real."""
        x = F.avg_pool1d(wave, self.pool) if self.pool > 1 else wave
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
        return self.head(x).flatten(1)


class VocoderDiscriminator(nn.Module):
    """The scores of several periods and several scales, side by side: waveforms (N, 1, S) to (N, scores)."""

    def __init__(
        self, periods: Sequence[int] = (2, 3, 5, 7, 11), pools: Sequence[int] = (1, 2, 4), width: int = 16
    ) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, width) for period in periods)
        self.scales = nn.ModuleList(ScaleDiscriminator(pool, width) for pool in pools)

    def forward(self, wave: Tensor) -> Tensor:
        """Return the scores."""
        return torch.cat([network(wave) for network in (*self.periods, *self.scales)], 1)
