"""Adversarial training of a class-conditional teacher, resumable to the step."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from edgegan.adversarial.augment import NUMBERS, Augmentation
from edgegan.adversarial.losses import discriminator_hinge, generator_hinge
from edgegan.adversarial.state import load_state, save_state
from edgegan.errors import DataError, StageError
from edgegan.files import storage_errors, write_text
from edgegan.interrupts import held_back
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.fid import Statistics, fid
from edgegan.reading import Unreadable, parse_json, read_text
from edgegan.runtime.contract import Contract
from edgegan.runtime.grid import image_grid, write_png
from edgegan.runtime.modality import Image
from edgegan.train.board import open_board
from edgegan.train.data import LabelledImages
from edgegan.train.settings import TrainSettings

Progress = Callable[[int, int], None]
LARGEST_LOG = 1 << 28
CHECKPOINT_SECONDS = 20.0
"""Between two checkpoints."""


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
    ) -> None:
        """Take freshly built modules; training goes on from `folder`'s state where it has one.

        Raises:
            DataError: the images do not fit the contract.
        """
        _check(contract, data)
        self.contract, self.data, self.settings, self.folder = contract, data, settings, folder
        self.seed, self.scorer = seed, scorer
        cuda = torch.cuda.is_available()
        self.fabric = Fabric(
            accelerator="auto",
            devices=1,
            precision="bf16-mixed" if cuda and torch.cuda.is_bf16_supported() else 32,
        )
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        self.ema = copy.deepcopy(generator).to(self.fabric.device).requires_grad_(False).eval()
        adam: dict[str, Any] = {"betas": (0.0, 0.999), "fused": cuda}
        optimizer_g = torch.optim.Adam(generator.parameters(), settings.generator_rate, **adam)
        optimizer_d = torch.optim.Adam(discriminator.parameters(), settings.discriminator_rate, **adam)
        for module in (generator, discriminator):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.generator, self.optimizer_g = self.fabric.setup(generator.train(), optimizer_g)
        self.discriminator, self.optimizer_d = self.fabric.setup(discriminator.train(), optimizer_d)
        self.holders = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema": self.ema,
            "optimizer_g": self.optimizer_g.optimizer,
            "optimizer_d": self.optimizer_d.optimizer,
        }
        self.state = folder / "state.safetensors"
        self.step = load_state(self.state, self.holders) if self.state.exists() else 0
        self._image = contract.only_output(Image)
        self._images = torch.from_numpy(data.images).permute(0, 3, 1, 2)
        self._labels = torch.from_numpy(data.labels)
        if cuda:
            self._images, self._labels = (x.to(self.fabric.device) for x in (self._images, self._labels))

    def run(self, progress: Progress = lambda done, total: None) -> None:
        """Train to the end, then write `generator.safetensors` and `discriminator.safetensors`.

        A signal that ends the process is held back until the step is done and its state is kept.

        Raises:
            StageError: a loss is no longer finite.
            StorageError: a file cannot be written.
        """
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        board = open_board(self.folder / "tensorboard", self.step + 1)
        log = _Log(self.folder / "log.jsonl", self.step)
        settings = self.settings
        losses: dict[str, Tensor] = {}
        with held_back() as stopping:
            saved = time.monotonic()
            while self.step < settings.steps:
                losses = self._advance()
                self.step += 1
                entry: dict[str, float] = {}
                if self._due(settings.log_every):
                    entry |= {name: float(value) for name, value in losses.items()}
                    if not all(np.isfinite(value) for value in entry.values()):
                        raise StageError(
                            f"training diverged at step {self.step}: {entry}",
                            where=str(self.folder),
                            next="lower train.generator_rate and train.discriminator_rate",
                        )
                if self._due(settings.sample_every):
                    self._recalibrate()
                    grid = image_grid(next(self.images(64, seed=0)), 8)
                    write_png(self.folder / "samples" / f"{self.step:07d}.png", grid)
                    board.add_image("samples", grid, self.step, dataformats="HWC")
                if self.scorer and self._due(settings.score_every):
                    self._recalibrate()
                    entry[f"fid_{settings.score_samples}"] = self.score()
                if entry:
                    log.add(self.step, entry)
                    for name, value in entry.items():
                        board.add_scalar(name, value, self.step)
                stop = stopping()
                if stop or time.monotonic() - saved >= CHECKPOINT_SECONDS or self.step == settings.steps:
                    save_state(self.state, self.holders, self.step)
                    saved = time.monotonic()
                progress(self.step, settings.steps)
                if stop:
                    break
        board.close()
        self._recalibrate()
        self._write_weights()

    def score(self) -> float:
        """Return the FID of the averaged generator on `score_samples` inputs drawn from seed 1."""
        assert self.scorer is not None
        return self.scorer(np.concatenate(list(self.images(self.settings.score_samples, seed=1))))

    @torch.no_grad()
    def images(self, count: int, seed: int, batch: int = 250) -> Iterator[NDArray[np.uint8]]:
        """Yield `count` images of the averaged generator, uint8 NHWC, in batches."""
        inputs = [torch.from_numpy(array) for array in self.contract.sample(count, seed).values()]
        for start in range(0, count, batch):
            parts = (x[start : start + batch].to(self.fabric.device) for x in inputs)
            yield self._image.modality.encode(self.ema(*parts).float().cpu().numpy(), self._image)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.steps

    def _advance(self) -> dict[str, Tensor]:
        settings = self.settings
        torch.manual_seed((self.seed * 1_000_003 + self.step) % 2**63)
        left = 2 * (1 - self.step / settings.steps)
        for optimizer, rate in (
            (self.optimizer_g, settings.generator_rate),
            (self.optimizer_d, settings.discriminator_rate),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, left)
        loss_d = torch.zeros(())
        for _ in range(settings.discriminator_steps):
            with torch.no_grad():
                inputs, label = self._draw()
                fake = self.generator(*inputs)
            real, real_label = self._real()
            both = torch.cat([real, fake.to(real.dtype)])
            scores = self.discriminator(self._augment(both), torch.cat([real_label, label]))
            loss_d = discriminator_hinge(*scores.chunk(2))
            self._update(self.optimizer_d, loss_d)
        self.discriminator.requires_grad_(False)
        inputs, label = self._draw()
        loss_g = generator_hinge(self.discriminator(self._augment(self.generator(*inputs)), label))
        self._update(self.optimizer_g, loss_g)
        self.discriminator.requires_grad_(True)
        self._average()
        return {"loss_discriminator": loss_d.detach(), "loss_generator": loss_g.detach()}

    def _update(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        optimizer.step()

    def _augment(self, images: Tensor) -> Tensor:
        if not self.settings.augment:
            return images
        return Augmentation(torch.rand(len(images), NUMBERS, device=images.device))(images)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        live = [parameter.detach() for parameter in self.generator.parameters()]
        get_ema_multi_avg_fn(decay)(list(self.ema.parameters()), live, self.step)

    def _draw(self) -> tuple[list[Tensor], Tensor]:
        count, device = self.settings.batch, self.fabric.device
        inputs: list[Tensor] = []
        label = torch.zeros(count, dtype=torch.int64, device=device)
        for spec in self.contract.inputs:
            shape = (count, *spec.shape)
            if spec.sample.kind == "labels":
                label = torch.randint(0, spec.sample.classes or 1, shape, device=device)
                inputs.append(label)
            elif spec.sample.kind == "normal":
                inputs.append(torch.randn(shape, device=device))
            else:
                inputs.append(torch.empty(shape, device=device).uniform_(spec.sample.low, spec.sample.high))
        return inputs, label

    def _real(self) -> tuple[Tensor, Tensor]:
        index = torch.randint(0, len(self._images), (self.settings.batch,), device=self._images.device)
        images = self._images[index].to(self.fabric.device).float() / 255
        low, high = self._image.range
        images = images * (high - low) + low
        if self.settings.flip:
            mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
            images = torch.where(mirrored, images.flip(3), images)
        return images, self._labels[index].to(self.fabric.device)

    @torch.no_grad()
    def _recalibrate(self, batches: int = 32) -> None:
        """Give the averaged generator's batch norms the statistics of its own activations."""
        norms = [m for m in self.ema.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        for seed in range(batches):
            drawn = self.contract.sample(256, seed=1_000_000 + seed)
            self.ema(*(torch.from_numpy(array).to(self.fabric.device) for array in drawn.values()))
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
            norm.eval()

    def _write_weights(self) -> None:
        from safetensors.torch import save

        from edgegan.files import write_bytes

        for name, module in (("generator", self.ema), ("discriminator", self.discriminator)):
            tensors = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
            write_bytes(self.folder / f"{name}.safetensors", save(tensors))


class _Log:
    """Figures by step, one JSON object a line; on resuming, what is past the resumed step goes."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.lines = [line for line in _lines(path) if _step(line) <= step]

    def add(self, step: int, entry: dict[str, float]) -> None:
        self.lines.append(json.dumps({"step": step, **entry}))
        write_text(self.path, "\n".join(self.lines) + "\n")


def _lines(path: Path) -> list[str]:
    try:
        return read_text(path, LARGEST_LOG).splitlines()
    except Unreadable:
        return []


def _step(line: str) -> float:
    """Return the step that a line is of; infinity for one that is damaged."""
    try:
        entry = parse_json(line)
        return entry["step"] if isinstance(entry, dict) and type(entry.get("step")) is int else math.inf
    except Unreadable:
        return math.inf


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
