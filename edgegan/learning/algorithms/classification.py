"""Training of a classifier on labelled images, moved by up to an eighth, and mirrored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.learning.algorithm import Batch, Update
from edgegan.learning.augment import translate
from edgegan.learning.checkpoint import Holder
from edgegan.learning.devices import prepare
from edgegan.learning.draws import Stream, derive
from edgegan.learning.ema import Ema
from edgegan.learning.player import Player
from edgegan.learning.schedules import one_cycle

BATCH, RATE = 128, 0.2


class Classification:
    """A classifier of images (N, C, H, W) in [-1, 1], which learns by SGD with momentum.

    Args:
        classifier: gives scores (N, classes); it is trained itself.
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        epochs: passes over the images, each in an order of its own.
        fabric: one process.
        seed: of all draws.
        mirror: whether half of the images are mirrored.
    """

    name: str = "train-features"
    losses: tuple[str, ...] = ("loss",)
    rewinds_noise: bool = False
    ema: Ema | None = None

    def __init__(
        self,
        classifier: nn.Module,
        images: Tensor,
        labels: Tensor,
        epochs: int,
        fabric: Fabric,
        seed: int,
        *,
        mirror: bool = True,
    ) -> None:
        self.fabric, self.seed, self.batch_size = fabric, seed, min(BATCH, len(images))
        self.mirrored = 0.5 if mirror else 0.0
        self.classifier = prepare(classifier, fabric).train()
        self.images, self.labels = images.to(fabric.device), labels.to(fabric.device)
        self.steps_an_epoch = len(images) // self.batch_size
        self.steps = epochs * self.steps_an_epoch
        self._player = Player.sgd(self.classifier.parameters(), RATE, one_cycle(self.steps))
        self._order = lru_cache(maxsize=1)(self._shuffled)

    def players(self) -> dict[str, Player]:
        """Return the classifier."""
        return {"classifier": self._player}

    def parts(self) -> dict[str, Holder]:
        """Return all that has a state."""
        return {"classifier": self.classifier, "optimizer": self._player.optimizer}

    def phase(self, step: int) -> int:
        """All steps compute the same."""
        return 0

    def batch(self, step: int) -> Batch:
        """Draw which images are taken, which of them are mirrored, and how far they are moved."""
        epoch, place = divmod(step, self.steps_an_epoch)
        index = self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        rng = np.random.default_rng(derive(self.seed, Stream.AUGMENT, step))
        mirrored = rng.random(self.batch_size) < self.mirrored
        moves = rng.random((self.batch_size, 2), dtype=np.float32)
        return {"images": tuple(torch.from_numpy(array) for array in (index, mirrored, moves))}

    def step(self, batch: Batch) -> Iterator[Update]:
        """Update the classifier by the cross entropy, with smoothed labels (arXiv:1512.00567)."""
        index, mirrored, moves = batch["images"]
        images = self.images[index].float() / 127.5 - 1
        images = translate(torch.where(mirrored[:, None, None, None], images.flip(3), images), moves)
        with self.fabric.autocast():
            loss = F.cross_entropy(self.classifier(images), self.labels[index], label_smoothing=0.1)
        yield Update("classifier", loss, {"loss": loss})

    def advice(self, loss: str) -> str:
        """Say what may be wrong: there is no rate to set."""
        return "look whether the images are what they should be"

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(derive(self.seed, Stream.DATA, epoch))
        return rng.permutation(len(self.images))
