"""Convolutional GAN (DCGAN: Radford et al. 2016, arXiv:1511.06434) for images and maps of any channels.

The generator ends in a 3x3 convolution, where the paper's last layer is transposed and leaves a checkerboard
(Odena et al. 2016, doi:10.23915/distill.00003); the discriminator has spectral normalization (Miyato et al.
2018, arXiv:1802.05957) in the place of batch normalization, which gradient penalties do not allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Generator(nn.Module):
    """Maps z (N, latent), standard normal, to (N, channels, S, S).

    S is first * 2 ** (len(widths) - 1): `widths` names the channels at `first` x `first` and after each
    doubling. The output is in [-1, 1], or with `output="softmax"` each place's shares of its classes.
    """

    def __init__(
        self,
        widths: Sequence[int] = (128, 96, 64),
        latent: int = 64,
        channels: int = 1,
        first: int = 7,
        output: Literal["tanh", "softmax"] = "tanh",
    ) -> None:
        super().__init__()
        self.seed = nn.Sequential(
            nn.ConvTranspose2d(latent, widths[0], first, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(_up(inputs, outputs) for inputs, outputs in pairwise(widths)))
        self.head = nn.Conv2d(widths[-1], channels, 3, padding=1)
        self.output = output
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (N, channels, S, S)."""
        scores = self.head(self.blocks(self.seed(z[:, :, None, None])))
        return torch.tanh(scores) if self.output == "tanh" else torch.softmax(scores, 1)


class MinibatchDeviation(nn.Module):
    """Adds a map of how much samples differ (Karras et al. 2018, arXiv:1710.10196), against their collapse.

    Maps (N, channels, H, W) to (N, channels + 1, H, W). Samples are compared in groups of `group` neighbours
    in the batch; where N is no multiple of it, in smaller ones.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps."""
        group = math.gcd(len(x), self.group)
        spread = x.unflatten(0, (-1, group)).var(1, correction=0).add(1e-8).sqrt().mean((1, 2, 3))
        added = spread.repeat_interleave(group, output_size=len(x))[:, None, None, None]
        return torch.cat([x, added.expand(-1, 1, *x.shape[2:])], 1)


class Discriminator(nn.Module):
    """Images (N, channels, size, size) to scores (N,); each of `widths` halves height and width.

    With `deviation` it sees how much the samples of a batch differ, too.
    """

    def __init__(
        self,
        widths: Sequence[int] = (48, 96, 128),
        channels: int = 1,
        size: int = 28,
        spectral: bool = True,
        deviation: bool = False,
    ) -> None:
        super().__init__()
        norm = spectral_norm if spectral else nn.Identity()
        self.body = nn.Sequential()
        for inputs, outputs in pairwise((channels, *widths)):
            self.body.extend([norm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2)])
        if deviation:
            self.body.append(MinibatchDeviation())
        self.body.append(nn.Flatten())
        self.features = (widths[-1] + deviation) * (size >> len(widths)) ** 2
        self.head = norm(nn.Linear(self.features, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores (N,): higher is more real."""
        return self.head(self.body(image))[:, 0]


def _up(inputs: int, outputs: int) -> nn.Module:
    """Double height and width."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
