"""Knowledge distillation: a student learns a teacher's outputs, from inputs that the contract draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from edgegan.errors import StageError
from edgegan.learning.algorithm import Batch, Update
from edgegan.learning.algorithms.critic import Critic
from edgegan.learning.algorithms.settings import DistillationSettings
from edgegan.learning.augment import Augment, augment_by
from edgegan.learning.batch_norm import learning_mode, share_statistics
from edgegan.learning.checkpoint import Holder, fingerprint
from edgegan.learning.devices import part_of, prepare
from edgegan.learning.draws import Stream, augmentation, derive, draw, rewind_noise, with_targets
from edgegan.learning.ema import Ema
from edgegan.learning.losses.features import Adapters
from edgegan.learning.losses.output import l1
from edgegan.learning.monitor import Vitals
from edgegan.learning.player import Player
from edgegan.learning.schedules import warm_up_and_fall
from edgegan.learning.taps import Tap, find_taps, outputs_of, recording
from edgegan.learning.variation import NUMBERS, stored_pictures, vary
from edgegan.module_copy import copy_of
from edgegan.runtime.contract import Contract

LOSSES = "output", "targets", "features", "discriminator", "adversarial", "perceptual"
WEIGHTED = "output", "targets", "features", "perceptual", "adversarial"
CALIBRATION = 2048
"""Latents from which the result's batch normalization statistics are taken."""


class Distillation:
    """The networks and the players of one distillation; those that are given stay as they are.

    Args:
        student: learns.
        teacher: is learnt from.
        discriminator: what the critic inherits; without, there are no adversarial and perceptual losses.
        contract: of student and teacher.
        settings: the weights of the losses, and more.
        fabric: the processes.
        seed: of all draws.
        name: of the settings in a recipe.

    Raises:
        StageError: there is nothing to learn from.
    """

    rewinds_noise: bool = False
    undecided: Mapping[str, float] = {}

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        discriminator: nn.Module | None,
        contract: Contract,
        settings: DistillationSettings,
        fabric: Fabric,
        seed: int,
        name: str = "distill",
    ) -> None:
        self.contract, self.settings, self.fabric, self.seed = contract, settings, fabric, seed
        self.name = name
        networks = (network for network in (student, teacher, discriminator) if network is not None)
        self.key = "-".join(map(fingerprint, networks)) + f"-{seed}-{settings.model_dump_json()}"
        """Stands for all that the result rests on."""
        self.teacher = prepare(copy_of(teacher), fabric).eval().requires_grad_(False)
        self.student = prepare(copy_of(student), fabric).requires_grad_(True)
        self.ema = Ema(self.student, settings.ema)
        self.part = part_of(settings.batch, fabric)
        self.labels = [i for i, spec in enumerate(contract.inputs) if spec.dtype == "int64"]
        if settings.vary and not stored_pictures(contract.inputs):
            raise StageError(
                "there is nothing to vary: no stored input has the axes (channels, height, width)",
                where=name,
                next=f"set {name}.vary to false in the recipe",
            )
        self.paired = with_targets(contract) if settings.targets else contract
        self.targeted = [spec.name for spec in self.paired.inputs[len(contract.inputs) :]]
        example = self._draw(Stream.CALIBRATE, 0)
        self.taps = self._find_taps(example)
        self.adapters = self._adapters(example)
        self.critic = self._critic(discriminator, example)
        if not (settings.output or settings.targets or self.taps or self.critic):
            raise StageError(
                "there is nothing to learn from: every loss is off or has nothing to compare",
                where=name,
                next=f"set {name}.output to 1 in the recipe",
            )
        if fabric.world_size > 1:
            share_statistics(self.student)
        learning_mode(self.student)
        self._players = self._make_players()
        there = {
            "output": bool(settings.output),
            "targets": bool(settings.targets),
            "features": bool(self.taps),
            "discriminator": "discriminator" in self._players,
            "adversarial": "discriminator" in self._players,
            "perceptual": self.critic is not None,
        }
        self.losses: tuple[str, ...] = tuple(loss for loss in LOSSES if there[loss])

    def players(self) -> dict[str, Player]:
        """Return the student and, where it learns, the discriminator."""
        return self._players

    def parts(self) -> dict[str, Holder]:
        """Return all that has a state."""
        parts: dict[str, Holder] = {
            "student": self.student,
            "result": self.ema.module,
            "adapters": self.adapters,
            "optimizer": self._players["student"].optimizer,
        }
        if self.critic:
            parts["discriminator"] = self.critic.module
        if "discriminator" in self._players:
            parts["discriminator_optimizer"] = self._players["discriminator"].optimizer
        return parts

    def phase(self, step: int) -> int:
        """All steps compute the same."""
        return 0

    def batch(self, step: int) -> Batch:
        """Draw the inputs and the critic's augmentation, and both for each earlier update of the critic."""
        count = len(self.contract.inputs)
        drawn = self._rows(self.paired, Stream.TRAIN, step)
        batch = {"inputs": drawn[:count], "targets": drawn[count:]}
        if self.critic:
            updates = self.settings.discriminator_steps
            for index in range(updates - 1) if self.settings.adversarial else ():
                number = step * updates + index
                batch[f"inputs {index}"] = self._rows(self.contract, Stream.DISCRIMINATOR, number)
                batch[f"augment {index}"] = self._augmentation(number)
            batch["augment"] = self._augmentation((step + 1) * updates - 1)
        return batch

    def step(self, batch: Batch) -> Iterator[Update]:
        """Update the discriminator, where it learns, and the student."""
        settings, inputs = self.settings, batch["inputs"]
        names = [tap.name for tap in self.taps]
        with self.fabric.autocast(), torch.no_grad(), recording(self.teacher, names) as theirs:
            target = outputs_of(self.teacher(*inputs))
        self.rewinds_noise |= rewind_noise()
        with self.fabric.autocast(), recording(self.student, names) as ours:
            output = outputs_of(self.student(*inputs))
        losses: dict[str, Tensor] = {}
        if settings.output:
            losses["output"] = l1(output, target, self.contract.outputs)
        if settings.targets:
            given = {spec.name: (spec, each) for spec, each in zip(self.contract.outputs, output)}
            specs, outputs = zip(*(given[name] for name in self.targeted))
            losses["targets"] = l1(outputs, batch["targets"], specs)
        if self.taps:
            with self.fabric.autocast():
                losses["features"] = self.adapters(ours, theirs)
        if self.critic:
            labels, augment = self._labels(inputs), self._augment(batch["augment"])
            yield from self._teach(self.critic, batch, target[0], output[0])
            adversarial, perceptual = self.critic.judge(target[0], output[0], labels, augment)
            losses["perceptual"] = perceptual
            if settings.adversarial:
                losses["adversarial"] = adversarial
        weighted = [getattr(settings, name) * losses[name] for name in WEIGHTED if name in losses]
        yield Update("student", torch.stack(weighted).sum(), losses)

    def _teach(self, critic: Critic, batch: Batch, real: Tensor, fake: Tensor) -> Iterator[Update]:
        """Update the critic, where it is to learn, the last time with the student's own batch."""
        if not self.settings.adversarial:
            return
        for index in range(self.settings.discriminator_steps - 1):
            fresh, augment = batch[f"inputs {index}"], self._augment(batch[f"augment {index}"])
            with self.fabric.autocast(), torch.no_grad():
                pair = outputs_of(self.teacher(*fresh))[0], outputs_of(self.student(*fresh))[0]
            loss = critic.loss(*pair, self._labels(fresh), augment)
            yield Update("discriminator", loss, {"discriminator": loss})
        augment = self._augment(batch["augment"])
        loss = critic.loss(real, fake, self._labels(batch["inputs"]), augment)
        yield Update("discriminator", loss, {"discriminator": loss})

    def finish(self) -> nn.Module:
        """Return the averaged student, in eval mode, on the device, with its own statistics."""
        batches = math.ceil(CALIBRATION / self.settings.batch)
        return self.ema.settle(self._draw(Stream.CALIBRATE, 1 + index) for index in range(batches))

    @torch.no_grad()
    def vitals(self) -> Vitals:
        """Tell the distance from the teacher, where a loss holds the student to it."""
        if not (self.settings.output or self.settings.features):
            return Vitals()
        inputs = self._draw(Stream.CALIBRATE, 0)
        ours = outputs_of(self.student.eval()(*inputs))
        learning_mode(self.student)
        return Vitals(distance=float(l1(ours, outputs_of(self.teacher(*inputs)), self.contract.outputs)))

    def soften(self, *, won: bool) -> str:
        """Give the discriminator a quarter of its weight, or where none learns, a quarter of the rate."""
        if "discriminator" in self._players:
            weight = self.settings.adversarial / 4
            self.settings = self.settings.model_copy(update={"adversarial": weight})
            return f"a weight of {weight:.3g} of the adversarial loss"
        self._players = {name: player.slower() for name, player in self._players.items()}
        return "a quarter of the rate"

    def advice(self, loss: str) -> str:
        """Say which learning rate to lower."""
        key = "discriminator_learning_rate" if loss == "discriminator" else "learning_rate"
        value = getattr(self.settings, key)
        return f"set {self.name}.{key} in the recipe lower than {value}, then run the command again"

    def _draw(self, stream: Stream, step: int) -> tuple[Tensor, ...]:
        """Draw a whole batch of inputs on the device."""
        seed = derive(self.seed, stream, step)
        return draw(self.contract, self.settings.batch, seed, device=self.fabric.device)

    def _rows(self, contract: Contract, stream: Stream, step: int) -> tuple[Tensor, ...]:
        """Draw this process's rows of a batch to learn from, on the CPU."""
        seed = derive(self.seed, stream, step)
        rows = list(draw(contract, self.settings.batch, seed, part=self.part))
        places = stored_pictures(contract.inputs) if self.settings.vary else []
        if places:
            numbers = augmentation(self.settings.batch, derive(seed, Stream.VARY, 0), self.part, NUMBERS)
            for place, varied in zip(places, vary([rows[place] for place in places], numbers)):
                rows[place] = varied
        return tuple(rows)

    def _augmentation(self, index: int) -> tuple[Tensor, ...]:
        if not self.settings.augment or len(self.contract.outputs[0].shape) != 3:
            return ()
        return (augmentation(self.settings.batch, derive(self.seed, Stream.AUGMENT, index), self.part),)

    def _augment(self, numbers: Sequence[Tensor]) -> Augment:
        return augment_by(numbers[0] if numbers else None)

    def _labels(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return [inputs[index] for index in self.labels]

    def _find_taps(self, example: Sequence[Tensor]) -> list[Tap]:
        few = [tensor[:2] for tensor in example]
        if not self.settings.features:
            return []
        return find_taps(self.ema.module, self.teacher, few, self.settings.taps)

    @torch.no_grad()
    def _adapters(self, example: Sequence[Tensor]) -> Adapters:
        names = [tap.name for tap in self.taps]
        with recording(self.teacher, names) as theirs:
            self.teacher(*example)
        student = learning_mode(copy_of(self.ema.module))
        with recording(student, names) as ours:
            student(*example)
        return Adapters(self.taps, ours, theirs).to(self.fabric.device)

    def _critic(self, inherited: nn.Module | None, example: Sequence[Tensor]) -> Critic | None:
        if inherited is None or not (self.settings.adversarial or self.settings.perceptual):
            return None
        few = [tensor[:2] for tensor in example]
        with torch.no_grad():
            image = outputs_of(self.teacher(*few))[0]
        return Critic(
            inherited, self.fabric, [image, *self._labels(few)], features=bool(self.settings.perceptual)
        )

    def _make_players(self) -> dict[str, Player]:
        settings = self.settings
        schedule = warm_up_and_fall(settings.steps, settings.schedule)
        learning = [*self.student.parameters(), *self.adapters.parameters()]
        players = {"student": Player.adam(learning, settings.learning_rate, (0.5, 0.999), schedule)}
        if self.critic and settings.adversarial:
            players["discriminator"] = Player.adam(
                self.critic.module.parameters(),
                settings.discriminator_learning_rate,
                (0.0, 0.9),
                schedule,
            )
        return players
