"""The discriminator's part of a distillation: it learns to tell the student's outputs from the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from edgegan.learning.augment import Augment
from edgegan.learning.batch_norm import share_statistics
from edgegan.learning.devices import prepare
from edgegan.learning.losses.adversarial import discriminator_hinge, generator_hinge
from edgegan.learning.losses.features import perceptual
from edgegan.learning.taps import blocks, recording
from edgegan.module_copy import copy_of


class Critic:
    """A copy of the inherited discriminator, called as `discriminator(image, *labels)`."""

    def __init__(
        self, inherited: nn.Module, fabric: Fabric, example: Sequence[Tensor], *, features: bool
    ) -> None:
        self.fabric = fabric
        self.module = prepare(copy_of(inherited), fabric).requires_grad_(True).eval()
        self.taps = list(blocks(self.module, example)) if features else []
        if fabric.world_size > 1:
            share_statistics(self.module)
        self.module.train()

    def loss(self, real: Tensor, fake: Tensor, labels: Sequence[Tensor], augment: Augment) -> Tensor:
        """Return its hinge loss of images (N, C, H, W), to be minimized by itself."""
        self.module.requires_grad_(True)
        with self._arithmetic(), cached():
            scores = [self.module(augment(images), *labels).float() for images in (real, fake.detach())]
        return discriminator_hinge(*scores)

    def judge(
        self, real: Tensor, fake: Tensor, labels: Sequence[Tensor], augment: Augment
    ) -> tuple[Tensor, Tensor]:
        """Return the student's hinge loss and its perceptual loss (0 where none is asked for)."""
        self.module.requires_grad_(False)
        with self._arithmetic(), cached():
            with recording(self.module, self.taps) as ours:
                adversarial = generator_hinge(self.module(augment(fake), *labels).float())
            if not self.taps:
                return adversarial, torch.zeros_like(adversarial)
            with torch.no_grad(), recording(self.module, self.taps) as theirs:
                self.module(augment(real), *labels)
        return adversarial, perceptual(ours, theirs)

    def _arithmetic(self) -> AbstractContextManager[None]:
        return self.fabric.autocast()
