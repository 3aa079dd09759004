"""Adversarial training of a teacher in a folder: samples and FIDs on the way, weights at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from edgegan.errors import DataError
from edgegan.learning import devices
from edgegan.learning.algorithms.gan import AdversarialTraining
from edgegan.learning.algorithms.semi_supervised import SemiSupervisedTraining
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.metrics.fid import Statistics, fid
from edgegan.runtime.contract import Contract
from edgegan.runtime.grid import image_grid
from edgegan.runtime.modality import Image
from edgegan.train.samples import Samples
from edgegan.train.settings import TrainSettings
from edgegan.train.training import Training


@dataclass(frozen=True)
class Scorer:
    """Gives the FID of images (uint8 NHWC) against a reference."""

    extractor: OnnxExtractor
    reference: Reference

    def __call__(self, images: NDArray[np.uint8]) -> float:
        """Return the FID of `images`."""
        return fid(Statistics.of(self.extractor(images)), self.reference.statistics)


class TeacherTraining(Training):
    """A training run from noise and labels in `folder`: state, log, samples, TensorBoard scalars, weights."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        contract: Contract,
        data: Samples,
        settings: TrainSettings,
        folder: Path,
        *,
        seed: int = 0,
        scorer: Scorer | None = None,
        fabric: Fabric | None = None,
    ) -> None:
        """Take freshly built modules.

        Raises:
            DataError: the samples do not fit the contract, or the settings do not fit them.
        """
        _check(contract, data, settings)
        self.contract, self.settings, self.scorer = contract, settings, scorer
        fabric = fabric or devices.launch("auto", alone=True)
        self.output = contract.outputs[0]
        algorithm = SemiSupervisedTraining if settings.labelled else AdversarialTraining
        self.algorithm = algorithm(
            generator,
            discriminator,
            contract,
            torch.from_numpy(data.values),
            torch.from_numpy(data.labels),
            settings,
            fabric,
            seed,
        )
        super().__init__(self.algorithm, settings, folder, fabric)

    @property
    def score_names(self) -> list[str]:
        """What the FID is called in the log."""
        return [f"fid_{self.settings.score_samples}"]

    @torch.no_grad()
    def samples(self, count: int, seed: int, batch: int = 250) -> Iterator[NDArray[Any]]:
        """Yield `count` samples of the averaged generator, as an app gets them, in batches."""
        inputs = [torch.from_numpy(array) for array in self.contract.sample(count, seed).values()]
        for start in range(0, count, batch):
            parts = (x[start : start + batch].to(self.fabric.device) for x in inputs)
            outputs = self.algorithm.ema.module(*parts).float().cpu().numpy()
            yield self.output.modality.encode(outputs, self.output)

    def _observe(self, step: int) -> dict[str, float]:
        """Write samples of the averaged generator and score it, when they are due."""
        sampled = self._due(step, self.settings.sample_every)
        scored = self.scorer is not None and self._due(step, self.settings.score_every)
        if sampled or scored:
            self.algorithm.finish()
        if sampled:
            shown = self.output.modality.preview(next(self.samples(64, seed=0)), self.output)
            self._show(step, image_grid(shown, 8))
        if scored and self.scorer:
            images = np.concatenate(list(self.samples(self.settings.score_samples, seed=1)))
            return {self.score_names[0]: self.scorer(images)}
        return {}

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.algorithm.ema.module, "discriminator": self.algorithm.discriminator}


def _check(contract: Contract, data: Samples, settings: TrainSettings) -> None:
    if len(contract.outputs) != 1:
        raise DataError(
            "teachers of several outputs are not trained here",
            next="train this generator with its own code, and name its checkpoint in the recipe",
        )
    (output,) = contract.outputs
    data.check(output)
    if not isinstance(output.modality, Image) and (settings.augment or settings.flip):
        raise DataError(
            f"{output.modality.kind} samples are not augmented or mirrored as images are",
            next="set train.augment and train.flip to false",
        )
    for spec in contract.inputs:
        if spec.sample.kind in ("stored", "one_hot", "constant"):
            raise DataError(
                f"teachers are trained from noise and labels, not from {spec.sample.kind} inputs",
                where=f"input {spec.name!r}",
                next="say in train.pairs what the inputs are made of, or train it with its own code",
            )
        if spec.sample.kind == "labels" and spec.sample.classes != len(data.classes):
            raise DataError(
                f"the data has {len(data.classes)} classes, the contract {spec.sample.classes}",
                where=f"input {spec.name!r}",
                next="set classes in the recipe's contract and model to the data's",
            )
