"""The discriminator's part of a distillation: it learns to tell the student's outputs from the teacher's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from edgegan.adversarial.augment import NUMBERS, Augmentation
from edgegan.adversarial.losses import discriminator_hinge, generator_hinge
from edgegan.compress.distill.devices import average_gradients, prepare
from edgegan.compress.distill.latents import to_device
from edgegan.compress.distill.losses import perceptual_loss
from edgegan.compress.distill.norms import share_statistics
from edgegan.compress.distill.settings import DistillSettings
from edgegan.compress.distill.taps import blocks, recording
from edgegan.compress.structure import copy_of

Augment = Callable[[Tensor], Tensor]


class Critic:
    """A copy of the inherited discriminator, called as `discriminator(image, *labels)`, and its optimizer."""

    def __init__(
        self, inherited: nn.Module, fabric: Fabric, settings: DistillSettings, example: Sequence[Tensor]
    ) -> None:
        self.fabric, self.settings = fabric, settings
        self.module = prepare(copy_of(inherited), fabric).requires_grad_(True).eval()
        self.taps = list(blocks(self.module, example)) if settings.perceptual else []
        if fabric.world_size > 1:
            share_statistics(self.module)
        self.module.train()
        self.parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(
            self.parameters, settings.discriminator_learning_rate, betas=(0.0, 0.9), fused=True
        )

    def update(self, real: Tensor, fake: Tensor, labels: Sequence[Tensor], augment: Augment) -> Tensor:
        """Make one step on the hinge loss of images (N, C, H, W); return the loss, without gradient."""
        self._learn(True)
        with self._arithmetic(), cached():
            scores = [self.module(augment(images), *labels).float() for images in (real, fake.detach())]
        loss = discriminator_hinge(*scores)
        self.optimizer.zero_grad()
        loss.backward()
        average_gradients(self.fabric, self.parameters)
        self.optimizer.step()
        return loss.detach()

    def judge(
        self, real: Tensor, fake: Tensor, labels: Sequence[Tensor], augment: Augment
    ) -> tuple[Tensor, Tensor]:
        """Return the student's hinge loss and its perceptual loss (0 where none is asked for)."""
        self._learn(False)
        with self._arithmetic(), cached():
            with recording(self.module, self.taps) as ours:
                adversarial = generator_hinge(self.module(augment(fake), *labels).float())
            if not self.taps:
                return adversarial, torch.zeros_like(adversarial)
            with torch.no_grad(), recording(self.module, self.taps) as theirs:
                self.module(augment(real), *labels)
        return adversarial, perceptual_loss(ours, theirs)

    def augmentation(self, n: int, seed: int, part: slice) -> Augment:
        """Draw the augmentation of a batch; the identity where augmentation is off."""
        if not self.settings.augment:
            return lambda images: images
        numbers = np.random.default_rng(seed).random((n, NUMBERS), dtype=np.float32)[part]
        return Augmentation(to_device(torch.from_numpy(numbers), self.fabric.device))

    def _arithmetic(self) -> AbstractContextManager[None]:
        return self.fabric.autocast()

    def _learn(self, on: bool) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(on)
