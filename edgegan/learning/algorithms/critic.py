"""A discriminator that learns beside a generator with targets: a student's teacher, or real samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from edgegan.learning.augment import Augment
from edgegan.learning.batch_norm import share_statistics
from edgegan.learning.devices import prepare
from edgegan.learning.losses.adversarial import LOSSES, Name
from edgegan.learning.losses.features import perceptual
from edgegan.learning.taps import blocks, recording
from edgegan.module_copy import copy_of


class Critic:
    """A copy of the inherited discriminator, called as `discriminator(image, *labels)`.

    It gives one score of each sample (N,), or many (N, ...), as of patches.
    """

    def __init__(
        self,
        inherited: nn.Module,
        fabric: Fabric,
        example: Sequence[Tensor],
        *,
        features: bool,
        loss: Name = "hinge",
    ) -> None:
        self.fabric, self.losses = fabric, LOSSES[loss]
        self.module = prepare(copy_of(inherited), fabric).requires_grad_(True).eval()
        self.taps = list(blocks(self.module, example)) if features else []
        if fabric.world_size > 1:
            share_statistics(self.module)
        self.module.train()

    def loss(self, real: Tensor, fake: Tensor, labels: Sequence[Tensor], augment: Augment) -> Tensor:
        """Return its loss of samples (N, ...), to be minimized by itself."""
        self.module.requires_grad_(True)
        with self.fabric.autocast(), cached():
            scores = [self.module(augment(images), *labels).float() for images in (real, fake.detach())]
        return self.losses.discriminator(*scores)

    def judge(
        self, real: Tensor, fake: Tensor, labels: Sequence[Tensor], augment: Augment
    ) -> tuple[Tensor, Tensor]:
        """Return the generator's loss and its perceptual loss (0 where none is asked for)."""
        self.module.requires_grad_(False)
        with self.fabric.autocast(), cached():
            with recording(self.module, self.taps) as ours:
                scores = self.module(augment(fake), *labels).float()
            others, theirs = scores, dict[str, Tensor]()
            if self.taps or self.losses.relative:
                with torch.no_grad(), recording(self.module, self.taps) as theirs:
                    others = self.module(augment(real), *labels).float()
        adversarial = self.losses.generator(others, scores)
        return adversarial, perceptual(ours, theirs) if self.taps else torch.zeros_like(adversarial)
