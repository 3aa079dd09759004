"""Training of a teacher in a folder: samples and FIDs on the way, weights at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from edgegan.errors import DataError
from edgegan.files import storage_errors, write_bytes
from edgegan.learning import devices
from edgegan.learning.algorithms.gan import AdversarialTraining
from edgegan.learning.checkpoint import Checkpoint
from edgegan.learning.loop import Loop
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.metrics.fid import Statistics, fid
from edgegan.runtime.contract import Contract
from edgegan.runtime.grid import image_grid, write_png
from edgegan.runtime.modality import Image
from edgegan.train.board import BoardLog
from edgegan.train.data import LabelledImages
from edgegan.train.settings import TrainSettings

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scorer:
    """Gives the FID of images (uint8 NHWC) against a reference."""

    extractor: OnnxExtractor
    reference: Reference

    def __call__(self, images: NDArray[np.uint8]) -> float:
        """Return the FID of `images`."""
        return fid(Statistics.of(self.extractor(images)), self.reference.statistics)


class TeacherTraining:
    """A training run in `folder`: state, log, sample grids, TensorBoard scalars; at its end the weights."""

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
        self.contract, self.settings, self.folder, self.scorer = contract, settings, folder, scorer
        self.fabric = fabric or devices.launch("auto", alone=True)
        self.algorithm = AdversarialTraining(
            generator,
            discriminator,
            contract,
            torch.from_numpy(data.images).permute(0, 3, 1, 2),
            torch.from_numpy(data.labels),
            settings,
            self.fabric,
            seed,
        )
        self.log = BoardLog(folder, writes=self.fabric.is_global_zero)

    def run(self, progress: Progress = lambda done, total: None) -> None:
        """Train to the end, then write `generator.safetensors` and `discriminator.safetensors`.

        Training goes on from the folder's state where it has one. A signal that ends the process is held back
        until the step is done and its state is kept.

        Raises:
            StageError: a loss is no longer finite.
            CheckpointError: the state is damaged, or of other networks.
            StorageError: a file cannot be written.
        """
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        loop = Loop(
            self.algorithm,
            self.fabric,
            steps=self.settings.steps,
            seed=self.algorithm.seed,
            checkpoint=Checkpoint(self.folder / "state", newer=["window"]),
            log=self.log,
            log_every=self.settings.log_every,
            keep=True,
            observe=self._observe,
        )
        with devices.arithmetic(deterministic=True):
            loop.run(progress)
            self.algorithm.finish()
        self.log.board.close()
        if self.fabric.is_global_zero:
            self._write_weights()

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

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.settings.steps

    def _write_weights(self) -> None:
        weights = {"generator": self.algorithm.ema.module, "discriminator": self.algorithm.discriminator}
        for name, module in weights.items():
            tensors = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
            write_bytes(self.folder / f"{name}.safetensors", save(tensors))


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
                next="train this generator with its own code, and name its checkpoint in the recipe",
            )
        if spec.sample.kind == "labels" and spec.sample.classes != len(data.classes):
            raise DataError(
                f"the data has {len(data.classes)} classes, the contract {spec.sample.classes}",
                where=f"input {spec.name!r}",
                next="set classes in the recipe's contract and model to the data's",
            )
