"""Adversarial training of a teacher in a folder: samples and FIDs on the way, weights at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from edgegan.errors import DataError
from edgegan.learning import devices
from edgegan.learning.algorithms.gan import AdversarialTraining
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.metrics.fid import Statistics, fid
from edgegan.runtime.contract import Contract
from edgegan.runtime.grid import image_grid, write_png
from edgegan.runtime.modality import Image
from edgegan.train.data import LabelledImages
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
        data: LabelledImages,
        settings: TrainSettings,
        folder: Path,
        *,
        seed: int = 0,
        scorer: Scorer | None = None,
        fabric: Fabric | None = None,
    ) -> None:
        """Take freshly built modules.

        Raises:
            DataError: the images do not fit the contract.
        """
        _check(contract, data)
        self.contract, self.settings, self.scorer = contract, settings, scorer
        fabric = fabric or devices.launch("auto", alone=True)
        self.algorithm = AdversarialTraining(
            generator,
            discriminator,
            contract,
            torch.from_numpy(data.images).permute(0, 3, 1, 2),
            torch.from_numpy(data.labels),
            settings,
            fabric,
            seed,
        )
        super().__init__(self.algorithm, settings, folder, fabric)

    @property
    def score_name(self) -> str:
        """What the FID is called in the log."""
        return f"fid_{self.settings.score_samples}"

    @torch.no_grad()
    def images(self, count: int, seed: int, batch: int = 250) -> Iterator[NDArray[np.uint8]]:
        """Yield `count` images of the averaged generator, uint8 NHWC, in batches."""
        inputs = [torch.from_numpy(array) for array in self.contract.sample(count, seed).values()]
        for start in range(0, count, batch):
            parts = (x[start : start + batch].to(self.fabric.device) for x in inputs)
            image = self.contract.only_output(Image)
            yield image.modality.encode(self.algorithm.ema.module(*parts).float().cpu().numpy(), image)

    def _observe(self, step: int) -> dict[str, float]:
        """Write samples of the averaged generator and score it, when they are due."""
        sampled = self._due(step, self.settings.sample_every)
        scored = self.scorer is not None and self._due(step, self.settings.score_every)
        if sampled or scored:
            self.algorithm.finish()
        if sampled:
            grid = image_grid(next(self.images(64, seed=0)), 8)
            write_png(self.folder / "samples" / f"{step:07d}.png", grid)
            self.log.board.add_image("samples", grid, step, dataformats="HWC")
        if scored and self.scorer:
            images = np.concatenate(list(self.images(self.settings.score_samples, seed=1)))
            return {self.score_name: self.scorer(images)}
        return {}

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.algorithm.ema.module, "discriminator": self.algorithm.discriminator}


def _check(contract: Contract, data: LabelledImages) -> None:
    channels, height, width = contract.only_output(Image).shape
    if data.images.shape[1:] != (height, width, channels):
        raise DataError(
            f"the images are {data.images.shape[1:]}, the contract wants {(height, width, channels)}"
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
