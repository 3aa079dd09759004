"""DiffAugment (Zhao et al. 2020, arXiv:2006.10738) by numbers that are drawn apart.

The same numbers can so be applied to two networks' images, on any device, and a batch that is split over
processes is augmented as the whole one is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Augment = Callable[[Tensor], Tensor]
"""Of images (N, C, H, W)."""
NUMBERS = 7
"""Random numbers that the augmentation of one image takes."""
TARGET, MOST = 0.6, 0.8
"""The lead that the discriminator is to have, and the greatest share."""
PACE, MEMORY = 500_000, 0.9
"""Images in which the share goes from 0 to 1, and the share of a lead that stays to the next step."""


@dataclass(frozen=True)
class Augmentation:
    """One draw for a batch: the same images give the same result, whatever network they come from.

    Colours (brightness by up to 0.5 of [-1, 1], saturation x0..2, contrast x0.5..1.5), translation by up
    to an eighth of the size with zeros let in, and a square of half the size set to zero.
    """

    numbers: Tensor
    """(N, 7) in [0, 1); further columns are not looked at."""

    def __call__(self, images: Tensor) -> Tensor:
        """Augment images (N, C, H, W) whose values are centred on 0."""
        brightness, saturation, contrast = self.numbers[:, :3].T[:, :, None, None, None]
        x = images.float() + (brightness - 0.5)
        mean = x.mean(1, keepdim=True)
        x = (x - mean) * (2 * saturation) + mean
        mean = x.mean((1, 2, 3), keepdim=True)
        x = (x - mean) * (contrast + 0.5) + mean
        return translate(x, self.numbers[:, 3:5]) * self._hole(*images.shape[2:])

    def _hole(self, height: int, width: int) -> Tensor:
        rows, columns = _span(self.numbers[:, 5], height), _span(self.numbers[:, 6], width)
        return 1 - (rows[:, None, :, None] * columns[:, None, None, :])


def augment_by(numbers: Tensor | None) -> Augment:
    """Return the augmentation by `numbers` (N, 7); the identity where there are none."""
    return (lambda images: images) if numbers is None else Augmentation(numbers)


class AdaptiveShare(nn.Module):
    """The share of images that are augmented (ADA: Karras et al. 2020, arXiv:2006.06676).

    It follows the discriminator's lead, which is 1 where every real sample has a higher score than every
    generated one, and 0 where scores say nothing. It needs no zero of scores.
    """

    share: Tensor
    lead: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.zeros(()))
        self.register_buffer("lead", torch.zeros(()))

    def follow(self, lead: Tensor, images: int) -> None:
        """Move towards the `lead` that a batch of `images` showed."""
        self.lead.lerp_(lead, 1 - MEMORY)
        self.share.add_((self.lead - TARGET).sign() * (images / PACE)).clamp_(0, MOST)

    def augment(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Augment those of images (N, C, H, W) whose last of `numbers` (N, 8) is under the share."""
        chosen = numbers[:, NUMBERS] < self.share
        return torch.where(chosen[:, None, None, None], Augmentation(numbers)(images), images.float())


def lead_of(real: Tensor, fake: Tensor) -> Tensor:
    """Return how much more often scores of real samples are above those of generated ones than under them."""
    return (real.detach().flatten()[:, None] - fake.detach().flatten()[None]).sign().mean()


def translate(images: Tensor, numbers: Tensor) -> Tensor:
    """Move images (N, C, H, W) by up to an eighth, as `numbers` (N, 2) in [0, 1) say; zeros come in."""
    rows = _shift(numbers[:, 0], images.shape[2])[:, None]
    columns = _shift(numbers[:, 1], images.shape[3])[:, None].transpose(2, 3)
    return rows @ images @ columns


def _shift(numbers: Tensor, size: int) -> Tensor:
    """Return (N, size, size) matrices of 0 and 1 that move rows by up to size / 8."""
    reach = int(size / 8 + 0.5)
    move = torch.floor(numbers * (2 * reach + 1)) - reach
    index = torch.arange(size, device=numbers.device)
    return (index[:, None] + move[:, None, None] == index).to(torch.float32)


def _span(numbers: Tensor, size: int) -> Tensor:
    """Return (N, size) masks: 1 on an interval of size / 2, placed anywhere, partly outside too."""
    length = int(size / 2 + 0.5)
    start = torch.floor(numbers * (size + 1 - length % 2)) - length // 2
    index = torch.arange(size, device=numbers.device)
    offset = index - start[:, None]
    return ((offset >= 0) & (offset < length)).to(torch.float32)
