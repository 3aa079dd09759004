"""Adversarial training whose discriminator is a classifier too, and is told some real samples' classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from edgegan.errors import DataError
from edgegan.learning.algorithm import Batch, Update
from edgegan.learning.algorithms.gan import AdversarialTraining
from edgegan.learning.draws import Stream, derive


class SemiSupervisedTraining(AdversarialTraining):
    """SGAN (Odena 2016, arXiv:1606.01583): `settings.labelled` samples come with labels; else as its base.

    The discriminator has a method `classify` that gives logits (N, classes), and its score is their
    log-sum-exp, as in `edgegan.models.semi_supervised`. In each step it learns one batch's classes first.

    Raises:
        DataError: a class has too few samples for its share of the labels, or the discriminator no classes.
    """

    losses: tuple[str, ...] = ("loss_classes", "loss_discriminator", "loss_generator")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert self.settings.labelled is not None
        if not hasattr(self.discriminator, "classify"):
            raise DataError(
                "the discriminator gives no classes: it has no method `classify`",
                where="train.labelled",
                next="take edgegan.models.semi_supervised:Discriminator, or one of its kind",
            )
        classes = self.targets.cpu().numpy()
        self.labelled = torch.from_numpy(labelled(classes, self.settings.labelled, self.seed))

    def batch(self, step: int) -> Batch:
        """Draw which of the labelled samples are shown, beside all else."""
        rng = np.random.default_rng(derive(self.seed, Stream.LABELLED, step))
        index = torch.from_numpy(rng.integers(0, len(self.labelled), self.settings.batch)[self.part])
        return {**super().batch(step), "labelled": (self.labelled[index], torch.zeros(len(index)).bool())}

    def step(self, batch: Batch) -> Iterator[Update]:
        """Update the classifier, then the two players."""
        index, mirrored = batch["labelled"]
        samples, _ = self._real(index, mirrored)
        classify: Any = self.discriminator.classify
        with self.fabric.autocast():
            loss = F.cross_entropy(classify(samples).float(), self.targets[index])
        yield Update("discriminator", loss, {"loss_classes": loss})
        yield from super().step(batch)


def labelled(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Return the indices of `count` samples, as many of each class, drawn from `seed`.

    Raises:
        DataError: `count` is no multiple of the classes, or a class has fewer.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    share, rest = divmod(count, len(classes))
    if rest or share < 1 or share > sizes.min():
        raise DataError(
            f"{count} labels cannot be given evenly to {len(classes)} classes, the smallest of {sizes.min()}",
            next="set train.labelled to a multiple of the classes that each of them can fill",
        )
    order = np.random.default_rng(derive(seed, Stream.LABELLED, 0)).permutation(len(labels))
    return np.sort(np.concatenate([order[labels[order] == number][:share] for number in classes]))
