"""What the two players of an adversarial training minimize, given the discriminator's scores (N,)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

Name = Literal["hinge", "bce", "lsgan", "wgan-gp", "relativistic"]


@dataclass(frozen=True)
class AdversarialLoss:
    """Two functions of the scores of (real, generated) samples: the discriminator's loss, the generator's."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    relative: bool = False
    """Whether the generator's loss looks at the scores of real samples."""


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge (Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_hinge(fake: Tensor) -> Tensor:
    """The generator's side of hinge and Wasserstein: its mean score, negated."""
    return -fake.mean()


def discriminator_bce(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross entropy (Goodfellow et al. 2014, arXiv:1406.2661)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_bce(fake: Tensor) -> Tensor:
    """The non-saturating side of `discriminator_bce`."""
    return F.softplus(-fake).mean()


def discriminator_least_squares(real: Tensor, fake: Tensor) -> Tensor:
    """LSGAN with the targets 1 and 0 (Mao et al. 2017, arXiv:1611.04076)."""
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def generator_least_squares(fake: Tensor) -> Tensor:
    """The generator's side of `discriminator_least_squares`."""
    return 0.5 * (fake - 1).square().mean()


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """Estimate the negated Wasserstein distance (Arjovsky et al. 2017, arXiv:1701.07875)."""
    return fake.mean() - real.mean()


def relativistic(real: Tensor, fake: Tensor) -> Tensor:
    """Relativistic pairs (Jolicoeur-Martineau 2019, arXiv:1807.00734; R3GAN: arXiv:2501.05441)."""
    return F.softplus(fake - real).mean()


LOSSES: dict[Name, AdversarialLoss] = {
    "hinge": AdversarialLoss(discriminator_hinge, lambda real, fake: generator_hinge(fake)),
    "bce": AdversarialLoss(discriminator_bce, lambda real, fake: generator_bce(fake)),
    "lsgan": AdversarialLoss(discriminator_least_squares, lambda real, fake: generator_least_squares(fake)),
    "wgan-gp": AdversarialLoss(wasserstein, lambda real, fake: generator_hinge(fake)),
    "relativistic": AdversarialLoss(relativistic, lambda real, fake: relativistic(fake, real), relative=True),
}
