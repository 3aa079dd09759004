"""Each loss against its paper's formula, written out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from edgegan.learning.losses.adversarial import LOSSES, Name
from edgegan.learning.losses.regularizers import one_centered, zero_centered
from edgegan.testing import AdversarialLossTestCase

REAL, FAKE = torch.tensor([1.5, -0.5, 0.25]), torch.tensor([-2.0, 0.75, 0.5])


def log_sigmoid(x: Tensor) -> Tensor:
    return torch.log(1 / (1 + torch.exp(-x)))


FORMULAS: dict[Name, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
    "hinge": (
        lambda: (1 - REAL).clamp(min=0).mean() + (1 + FAKE).clamp(min=0).mean(),
        lambda: -FAKE.mean(),
    ),
    "bce": (
        lambda: -log_sigmoid(REAL).mean() - torch.log(1 - torch.sigmoid(FAKE)).mean(),
        lambda: -log_sigmoid(FAKE).mean(),
    ),
    "lsgan": (
        lambda: 0.5 * ((REAL - 1) ** 2).mean() + 0.5 * (FAKE**2).mean(),
        lambda: 0.5 * ((FAKE - 1) ** 2).mean(),
    ),
    "wgan-gp": (lambda: FAKE.mean() - REAL.mean(), lambda: -FAKE.mean()),
    "relativistic": (
        lambda: -log_sigmoid(REAL - FAKE).mean(),
        lambda: -log_sigmoid(FAKE - REAL).mean(),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_papers_formula(name: Name) -> None:
    loss, (discriminator, generator) = LOSSES[name], FORMULAS[name]
    assert float(loss.discriminator(REAL, FAKE)) == pytest.approx(float(discriminator()), abs=1e-6)
    assert float(loss.generator(REAL, FAKE)) == pytest.approx(float(generator()), abs=1e-6)


class TestOurs(AdversarialLossTestCase):
    losses = LOSSES


def test_penalties_are_those_of_a_linear_discriminator() -> None:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 3, 3, generator=random)
    real, fake = torch.randn(2, 5, 2, 3, 3, generator=random)
    mix = torch.rand(5, generator=random)

    def scores(images: Tensor) -> Tensor:
        return (images * weight).sum((1, 2, 3))

    real.requires_grad_(True)
    norm = float(weight.norm())
    ours = zero_centered(scores(real), real), one_centered(scores, real, fake, mix)
    assert [float(value.detach()) for value in ours] == pytest.approx([norm**2 / 2, (norm - 1) ** 2])


def test_the_gradient_penalty_looks_between_real_and_generated() -> None:
    real, fake, mix = torch.full((1, 4), 3.0), torch.full((1, 4), 1.0), torch.tensor([0.25])
    penalty = one_centered(lambda x: x.square().sum(1) / 2, real, fake, mix)
    norm = 2 * 1.5  # the gradient is the image itself: four values of 1 + 0.25 * 2
    assert float(penalty.detach()) == pytest.approx((norm - 1) ** 2, rel=1e-5)
