"""The training loop: what one step is, and what is kept so that a killed run goes on where it was."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from edgegan.adversarial.state import Holder
from edgegan.compress.distill.checkpoint import Checkpoint, fingerprint
from edgegan.compress.distill.critic import Augment, Critic
from edgegan.compress.distill.devices import average, average_gradients, prepare
from edgegan.compress.distill.latents import Stream, derive, draw
from edgegan.compress.distill.losses import Adapters, output_loss
from edgegan.compress.distill.norms import learning_mode, recalibrate, share_statistics
from edgegan.compress.distill.settings import DistillSettings
from edgegan.compress.distill.taps import Tap, find_taps, recording
from edgegan.compress.stage import Candidate, Progress
from edgegan.compress.structure import copy_of
from edgegan.errors import StageError
from edgegan.files import write_text
from edgegan.interrupts import held_back
from edgegan.reading import Unreadable, read_text

LOG_EVERY = 50
LOSSES = "losses.csv"
MOST_LOSSES = 5
CHECKPOINT_SECONDS = 20.0
"""Between two checkpoints."""
CALIBRATION = 2048
"""Latents from which the result's batch normalization statistics are taken."""


class Distillation:
    """The state of one distillation: networks, optimizers, and the losses so far."""

    name: ClassVar[str] = "distill"
    """Of its settings in a recipe."""

    def __init__(self, candidate: Candidate, settings: DistillSettings, fabric: Fabric, seed: int) -> None:
        self.contract, self.settings, self.fabric, self.seed = candidate.contract, settings, fabric, seed
        self.key = (
            "-".join(
                fingerprint(module)
                for module in (candidate.student, candidate.teacher, candidate.discriminator)
                if module is not None
            )
            + f"-{seed}-{settings.model_dump_json()}"
        )
        self.teacher = prepare(copy_of(candidate.teacher), fabric).eval().requires_grad_(False)
        self.student = prepare(copy_of(candidate.student), fabric).requires_grad_(True)
        self.result = copy_of(self.student).eval().requires_grad_(False)
        share = settings.batch // fabric.world_size
        self.part = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
        self.labels = [i for i, spec in enumerate(self.contract.inputs) if spec.dtype == "int64"]
        example = self.draw(Stream.CALIBRATE, 0, slice(None))
        self.taps = self._find_taps(example)
        self.adapters = self._adapters(example)
        self.critic = self._critic(candidate.discriminator, example)
        if not (settings.output or self.taps or self.critic):
            raise StageError(
                "there is nothing to learn from: every loss is off or has nothing to compare",
                where=self.name,
                next=f"set {self.name}.output to 1 in the recipe",
            )
        if fabric.world_size > 1:
            share_statistics(self.student)
        learning_mode(self.student)
        self.parameters = [*self.student.parameters(), *self.adapters.parameters()]
        self.optimizer = torch.optim.Adam(
            self.parameters, settings.learning_rate, betas=(0.5, 0.999), fused=True
        )
        self.averaged: list[Tensor] = list(self.result.parameters())
        self.rows: list[dict[str, float]] = []
        self.names: list[str] = []
        """Of the losses, in the columns of the window, which holds those since the last row."""
        self.window = nn.Module()
        self.window.register_buffer("losses", torch.zeros(LOG_EVERY, MOST_LOSSES, device=fabric.device))

    def run(self, folder: Path, progress: Progress) -> nn.Module:
        """Make all steps that are left and return the averaged student, in eval mode, on the device.

        A signal that ends the process is held back until the step is done and its state is kept.

        Raises:
            StageError: a loss is not finite.
        """
        settings = self.settings
        checkpoint = Checkpoint(folder, self.key)
        done = checkpoint.load(self._parts())
        self.rows = _read_rows(folder / LOSSES, done)
        progress(done, settings.steps)
        with held_back() as stopping:
            saved = time.monotonic()
            while done < settings.steps:
                self.step(done)
                done += 1
                if done % LOG_EVERY == 0 or done == settings.steps:
                    self._log(done, folder / LOSSES)
                stop = stopping()
                if done < settings.steps and (stop or time.monotonic() - saved >= CHECKPOINT_SECONDS):
                    self._save(checkpoint, done)
                    saved = time.monotonic()
                progress(done, settings.steps)
                if stop:
                    break
        result = self._finish()
        if self.fabric.is_global_zero:
            checkpoint.remove()
        self.fabric.barrier()
        return result

    def draw(self, stream: Stream, step: int, part: slice) -> tuple[Tensor, ...]:
        """Draw one batch of inputs, the rows of `part`, on the device."""
        seed = derive(self.seed, stream, step)
        return draw(self.contract, self.settings.batch, seed, part=part, device=self.fabric.device)

    def step(self, step: int) -> None:
        """Update the student, and the discriminator where there is one."""
        settings = self.settings
        names = [tap.name for tap in self.taps]
        inputs = self.draw(Stream.TRAIN, step, self.part)
        self._same_noise(step)
        with self.fabric.autocast(), torch.no_grad(), recording(self.teacher, names) as theirs:
            target = outputs_of(self.teacher(*inputs))
        self._same_noise(step)
        with self.fabric.autocast(), recording(self.student, names) as ours:
            output = outputs_of(self.student(*inputs))
        losses: dict[str, Tensor] = {}
        if settings.output:
            losses["output"] = output_loss(output, target, self.contract.outputs)
        if self.taps:
            with self.fabric.autocast():
                losses["features"] = self.adapters(ours, theirs)
        if self.critic:
            losses |= self._judge(self.critic, step, inputs, target[0], output[0])
        weighted = [getattr(settings, name) * losses[name] for name in WEIGHTED if name in losses]
        total = torch.stack(weighted).sum()
        self.optimizer.zero_grad()
        total.backward()
        average_gradients(self.fabric, self.parameters)
        _set_rate(self.optimizer, settings.learning_rate * _rate(step, settings))
        self.optimizer.step()
        decay = min(settings.ema, (step + 1) / (step + 10))
        get_ema_multi_avg_fn(decay)(self.averaged, list(self.student.parameters()), step)
        self.names = list(losses)
        row = torch.stack([loss.detach().float() for loss in losses.values()])
        self.window.get_buffer("losses")[step % LOG_EVERY, : len(row)] = row

    def _same_noise(self, step: int) -> None:
        """Let networks that add noise of their own draw the same in this step, in a resumed run too."""
        index = step * self.fabric.world_size + self.fabric.global_rank
        torch.manual_seed(derive(self.seed, Stream.TORCH, index))

    def _judge(
        self, critic: Critic, step: int, inputs: Sequence[Tensor], real: Tensor, fake: Tensor
    ) -> dict[str, Tensor]:
        """Train the critic, where it is to learn, and return the losses that have to do with it."""
        settings, labels = self.settings, self._labels(inputs)
        first, last = step * settings.discriminator_steps, (step + 1) * settings.discriminator_steps - 1
        augment = self._augmentation(critic, last)
        if not settings.adversarial:
            return {"perceptual": critic.judge(real, fake, labels, augment)[1]}
        _set_rate(critic.optimizer, settings.discriminator_learning_rate * _rate(step, settings))
        for index in range(first, last):
            fresh = self.draw(Stream.DISCRIMINATOR, index, self.part)
            with self.fabric.autocast(), torch.no_grad():
                pair = outputs_of(self.teacher(*fresh))[0], outputs_of(self.student(*fresh))[0]
            critic.update(*pair, self._labels(fresh), self._augmentation(critic, index))
        discriminator = critic.update(real, fake, labels, augment)
        adversarial, perceptual = critic.judge(real, fake, labels, augment)
        return {"discriminator": discriminator, "adversarial": adversarial, "perceptual": perceptual}

    def _augmentation(self, critic: Critic, index: int) -> Augment:
        return critic.augmentation(self.settings.batch, derive(self.seed, Stream.AUGMENT, index), self.part)

    def _labels(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return [inputs[index] for index in self.labels]

    def _find_taps(self, example: Sequence[Tensor]) -> list[Tap]:
        few = [tensor[:2] for tensor in example]
        if not self.settings.features:
            return []
        return find_taps(self.result, self.teacher, few, self.settings.taps)

    @torch.no_grad()
    def _adapters(self, example: Sequence[Tensor]) -> Adapters:
        names = [tap.name for tap in self.taps]
        with recording(self.teacher, names) as theirs:
            self.teacher(*example)
        student = learning_mode(copy_of(self.result))
        with recording(student, names) as ours:
            student(*example)
        return Adapters(self.taps, ours, theirs).to(self.fabric.device)

    def _critic(self, inherited: nn.Module | None, example: Sequence[Tensor]) -> Critic | None:
        if inherited is None or not (self.settings.adversarial or self.settings.perceptual):
            return None
        few = [tensor[:2] for tensor in example]
        with torch.no_grad():
            image = outputs_of(self.teacher(*few))[0]
        return Critic(inherited, self.fabric, self.settings, [image, *self._labels(few)])

    def _parts(self) -> dict[str, Holder]:
        parts: dict[str, Holder] = {
            "student": self.student,
            "result": self.result,
            "adapters": self.adapters,
            "optimizer": self.optimizer,
            "window": self.window,
        }
        if self.critic:
            parts |= {"discriminator": self.critic.module, "discriminator_optimizer": self.critic.optimizer}
        return parts

    def _save(self, checkpoint: Checkpoint, step: int) -> None:
        """Write the state, which all processes share but for the window, by the first one's clock alone."""
        if self.fabric.is_global_zero:
            checkpoint.save(self._parts(), step)

    def _log(self, done: int, path: Path) -> None:
        count, names = (done - 1) % LOG_EVERY + 1, self.names
        table = self.window.get_buffer("losses")[:count, : len(names)]
        values = average(self.fabric, table).double().cpu()
        first = done - count
        for row, step in zip(values.tolist(), range(first, done)):
            for name, value in zip(names, row):
                if not math.isfinite(value):
                    raise StageError(
                        f"the {name} loss became {value} at step {step}",
                        where=self.name,
                        next=self._advice(name),
                    )
        self.rows.append({"step": done, **dict(zip(names, values.mean(0).tolist()))})
        if self.fabric.is_global_zero:
            write_text(path, _csv(self.rows))

    def _advice(self, loss: str) -> str:
        key = "discriminator_learning_rate" if loss == "discriminator" else "learning_rate"
        value = getattr(self.settings, key)
        return f"set {self.name}.{key} in the recipe lower than {value}, then run the command again"

    def _finish(self) -> nn.Module:
        trained = dict(self.student.named_buffers())
        for name, buffer in self.result.named_buffers():
            buffer.copy_(trained[name])
        batches = math.ceil(CALIBRATION / self.settings.batch)
        recalibrate(self.result, (self.draw(Stream.CALIBRATE, 1 + i, slice(None)) for i in range(batches)))
        return self.result


WEIGHTED = "output", "features", "perceptual", "adversarial"


def outputs_of(result: Any) -> tuple[Tensor, ...]:
    """Return what a module gave as a tuple, in the order of the contract's outputs."""
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def _rate(step: int, settings: DistillSettings) -> float:
    """Return the share of the highest learning rate at `step`: 2% linear rise, then the fall to 0."""
    rise = max(1, settings.steps // 50)
    if step < rise:
        return (step + 1) / rise
    left = 1 - (step - rise) / max(1, settings.steps - rise)
    return left if settings.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _read_rows(path: Path, done: int) -> list[dict[str, float]]:
    """Return the rows that were written up to step `done`; none of a damaged file: it is for a plot."""
    if not done:
        return []
    try:
        rows = csv.DictReader(read_text(path).splitlines())
        numbers = [{name: float(value) for name, value in row.items()} for row in rows]
        return [{**row, "step": int(row["step"])} for row in numbers if row["step"] <= done]
    except (Unreadable, csv.Error, ValueError, TypeError, KeyError, OverflowError):
        return []


def _csv(rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
