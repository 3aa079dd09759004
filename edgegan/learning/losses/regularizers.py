"""What keeps a discriminator smooth: penalties on the gradients of its scores (N,) by its images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def squared_gradients(scores: Tensor, images: Tensor) -> Tensor:
    """Return |d scores / d images|^2 of each sample (N,), so that it can be minimized itself."""
    (gradients,) = torch.autograd.grad(scores.float().sum(), images, create_graph=True)
    return gradients.float().square().flatten(1).sum(1)


def zero_centered(scores: Tensor, images: Tensor) -> Tensor:
    """R1 on real images, R2 on generated ones (Mescheder et al. 2018, arXiv:1801.04406)."""
    return 0.5 * squared_gradients(scores, images).mean()


def one_centered(
    discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """The gradient penalty of WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): norms are pulled to 1.

    Args:
        discriminator: gives the scores of images.
        real: images (N, ...).
        fake: as many.
        mix: shares of the real ones (N,), in [0, 1), at which the gradients are looked at.
    """
    share = mix.view(-1, *[1] * (real.ndim - 1))
    between = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    squares = squared_gradients(discriminator(between), between)
    return ((squares + 1e-12).sqrt() - 1).square().mean()
