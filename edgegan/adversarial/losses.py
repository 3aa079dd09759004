"""Hinge losses (Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's loss for its scores (N,) of real and of generated images."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_hinge(fake: Tensor) -> Tensor:
    """Return the generator's loss for the discriminator's scores (N,) of its images."""
    return -fake.mean()
