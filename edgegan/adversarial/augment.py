"""DiffAugment (Zhao et al. 2020, arXiv:2006.10738): differentiable augmentation of real and generated images alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def diff_augment(images: Tensor) -> Tensor:
    """Change colour, move by up to an eighth, and cut out a square of half the size; images (N, C, H, W) in [-1, 1].

    Draws from the default generator of the images' device.
    """
    return cutout(translate(colour(images)))


def colour(images: Tensor) -> Tensor:
    """Change brightness by up to 0.5, saturation by 0 to 2 times and contrast by 0.5 to 1.5 times, image by image."""
    draw = torch.rand(3, len(images), 1, 1, 1, device=images.device, dtype=images.dtype)
    images = images + (draw[0] - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (draw[1] * 2) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (draw[2] + 0.5) + mean


def translate(images: Tensor, ratio: float = 0.125) -> Tensor:
    """Move each image by up to `ratio` of its height and width; what comes in is 0."""
    count, _, height, width = images.shape
    reach_y, reach_x = round(height * ratio), round(width * ratio)
    device = images.device
    move_y = torch.randint(0, 2 * reach_y + 1, (count, 1), device=device)
    move_x = torch.randint(0, 2 * reach_x + 1, (count, 1), device=device)
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y)).permute(0, 2, 3, 1)
    rows = (torch.arange(height, device=device) + move_y)[:, :, None]
    columns = (torch.arange(width, device=device) + move_x)[:, None, :]
    batch = torch.arange(count, device=device)[:, None, None]
    return padded[batch, rows, columns].permute(0, 3, 1, 2)


def cutout(images: Tensor, ratio: float = 0.5) -> Tensor:
    """Set a square of `ratio` of the height and width to 0; its centre may be anywhere in the image."""
    count, _, height, width = images.shape
    device = images.device
    centre_y = torch.randint(0, height + 1, (count, 1), device=device)
    centre_x = torch.randint(0, width + 1, (count, 1), device=device)
    outside_y = (torch.arange(height, device=device) + 0.5 - centre_y).abs() > height * ratio / 2
    outside_x = (torch.arange(width, device=device) + 0.5 - centre_x).abs() > width * ratio / 2
    return images * (outside_y[:, :, None] | outside_x[:, None, :])[:, None].to(images.dtype)
