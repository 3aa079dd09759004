"""Adversarial training of a generator on real samples, labelled or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from edgegan.learning.algorithm import Batch, Update
from edgegan.learning.algorithms.settings import GanSettings
from edgegan.learning.augment import NUMBERS, AdaptiveShare, augment_by, lead_of
from edgegan.learning.batch_norm import share_statistics
from edgegan.learning.checkpoint import Holder
from edgegan.learning.devices import average, part_of, prepare
from edgegan.learning.draws import Stream, augmentation, derive, draw
from edgegan.learning.ema import Ema
from edgegan.learning.losses.adversarial import LOSSES
from edgegan.learning.losses.regularizers import one_centered, zero_centered
from edgegan.learning.monitor import Vitals, spread
from edgegan.learning.player import Player, slower_players
from edgegan.learning.schedules import hold_and_fall
from edgegan.learning.stored import as_output
from edgegan.learning.taps import outputs_of
from edgegan.runtime.contract import Contract

PENALTIES = {"wgan-gp": 10.0, "relativistic": 0.1}
"""Weights where the settings name none."""
CALIBRATION_BATCHES, CALIBRATION_BATCH = 32, 256
LOOKED_AT = 128
"""Samples that the monitor compares."""


class AdversarialTraining:
    """Two players, called as `generator(*inputs)` and `discriminator(sample, *labels)`.

    Args:
        generator: freshly built; it is trained itself.
        discriminator: as well.
        contract: of the generator, which has one output.
        real: samples as `as_output` takes them, on the device or not.
        labels: int64 (N,), given to the discriminator where the contract has labels.
        settings: see `GanSettings`.
        fabric: the processes.
        seed: of all draws.
    """

    name: str = "train"
    losses: tuple[str, ...] = ("loss_discriminator", "loss_generator")
    rewinds_noise: bool = False

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        contract: Contract,
        real: Tensor,
        labels: Tensor,
        settings: GanSettings,
        fabric: Fabric,
        seed: int,
    ) -> None:
        self.contract, self.settings, self.fabric, self.seed = contract, settings, fabric, seed
        self.generator = prepare(generator, fabric).train().requires_grad_(True)
        self.discriminator = prepare(discriminator, fabric).train().requires_grad_(True)
        self.ema: Ema = Ema(self.generator, settings.ema)
        if fabric.world_size > 1:
            share_statistics(self.generator)
            share_statistics(self.discriminator)
        (self.output,) = contract.outputs
        self.real, self.targets = real.to(fabric.device), labels.to(fabric.device)
        self.labels = [i for i, spec in enumerate(contract.inputs) if spec.sample.kind == "labels"]
        self.part = part_of(settings.batch, fabric)
        self.loss = LOSSES[settings.loss]
        even = float(self.loss.discriminator(torch.zeros(1), torch.zeros(1)))
        self.undecided: Mapping[str, float] = {"loss_discriminator": even} if even > 0 else {}
        self.penalty = PENALTIES.get(settings.loss, 0.0) if settings.penalty is None else settings.penalty
        self._penalizes = bool(self.penalty)
        self.adaptive = AdaptiveShare().to(fabric.device) if settings.augment == "adaptive" else None
        if self.adaptive:
            self.losses = (*self.losses, "augmented")
        schedule = hold_and_fall(settings.steps)
        self._players = {
            name: Player.adam(network.parameters(), rate, (0.0, 0.999), schedule)
            for name, network, rate in (
                ("generator", self.generator, settings.generator_rate),
                ("discriminator", self.discriminator, settings.discriminator_rate),
            )
        }

    def players(self) -> dict[str, Player]:
        """Return both."""
        return self._players

    def parts(self) -> dict[str, Holder]:
        """Return all that has a state."""
        adaptive: dict[str, Holder] = {"augmentation": self.adaptive} if self.adaptive else {}
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema": self.ema.module,
            "optimizer_g": self._players["generator"].optimizer,
            "optimizer_d": self._players["discriminator"].optimizer,
            **adaptive,
        }

    def phase(self, step: int) -> int:
        """Return whether the step has a gradient penalty, where some have none."""
        self._penalizes = bool(self.penalty) and step % self.settings.penalty_every == 0
        return int(self._penalizes)

    def batch(self, step: int) -> Batch:
        """Draw inputs, real images and augmentation for each update of the discriminator; then inputs."""
        updates = self.settings.discriminator_steps
        batch: dict[str, tuple[Tensor, ...]] = {}
        for index in range(updates):
            number = step * updates + index
            batch[f"inputs {index}"] = self._draw(Stream.DISCRIMINATOR, number)
            batch[f"real {index}"] = self._draw_real(number)
            batch[f"augment {index}"] = self._augmentation(step * (updates + 1) + index, halves=2)
            batch[f"mix {index}"] = self._draw_mix(number)
        batch["inputs"] = self._draw(Stream.TRAIN, step)
        batch["augment"] = self._augmentation(step * (updates + 1) + updates, halves=1)
        return batch

    def step(self, batch: Batch) -> Iterator[Update]:
        """Update the discriminator, as often as it is set, and then the generator."""
        settings, real, labels = self.settings, torch.zeros(()), list[Tensor]()
        self.discriminator.requires_grad_(True)
        for index in range(settings.discriminator_steps):
            inputs = batch[f"inputs {index}"]
            real, labels = self._real(*batch[f"real {index}"])
            with torch.no_grad():
                fake = self._generate(inputs)
            both = labels, self._labels(inputs)
            loss = self._discriminator_loss(
                real, fake, both, batch[f"augment {index}"], batch[f"mix {index}"]
            )
            told = {"augmented": self.adaptive.share} if self.adaptive else {}
            yield Update("discriminator", loss, {"loss_discriminator": loss, **told})
        self.discriminator.requires_grad_(False)
        inputs, augment = batch["inputs"], batch["augment"]
        fake = self._augmented(self._generate(inputs), augment)
        scores = self._score(fake, self._labels(inputs))
        others = scores
        if self.loss.relative:
            with torch.no_grad():
                others = self._score(self._augmented(real, augment), labels)
        loss = self.loss.generator(others, scores)
        yield Update("generator", loss, {"loss_generator": loss})
        self.discriminator.requires_grad_(True)

    def _discriminator_loss(
        self,
        real: Tensor,
        fake: Tensor,
        labels: tuple[list[Tensor], list[Tensor]],
        augment: Sequence[Tensor],
        mix: Sequence[Tensor],
    ) -> Tensor:
        images = self._augmented(torch.cat([real, fake]), augment)
        images.requires_grad_(self._penalizes)
        scores = self._score(images, [torch.cat(pair) for pair in zip(*labels)])
        real_scores, fake_scores = scores.chunk(2)
        if self.adaptive:
            lead = average(self.fabric, lead_of(real_scores, fake_scores))
            self.adaptive.follow(lead, len(real) * self.fabric.world_size)
        loss = self.loss.discriminator(real_scores, fake_scores)
        if self.settings.smoothing:  # softplus(-x) becomes (1 - s) softplus(-x) + s softplus(x)
            loss = loss + self.settings.smoothing * real_scores.mean()
        if not self._penalizes:
            return loss
        if self.settings.loss == "wgan-gp":
            halves = images.detach().chunk(2)
            penalty = one_centered(lambda between: self._score(between, labels[0]), *halves, mix=mix[0])
        elif self.settings.loss == "relativistic":
            penalty = 2 * zero_centered(scores, images)  # over both halves: R1 of the one, R2 of the other
        else:
            penalty = 2 * zero_centered(real_scores, images)  # the generated half has no gradient
        return loss + self.penalty * self.settings.penalty_every * penalty

    def finish(self) -> nn.Module:
        """Return the averaged generator, with its own statistics."""
        return self.ema.settle(
            draw(
                self.contract,
                CALIBRATION_BATCH,
                derive(self.seed, Stream.CALIBRATE, index),
                device=self.fabric.device,
            )
            for index in range(CALIBRATION_BATCHES)
        )

    @torch.no_grad()
    def vitals(self) -> Vitals:
        """Compare how far outputs and real samples lie apart."""
        inputs = draw(
            self.contract, LOOKED_AT, derive(self.seed, Stream.HELD_OUT, 0), device=self.fabric.device
        )
        rng = np.random.default_rng(derive(self.seed, Stream.HELD_OUT, 1))
        index = torch.from_numpy(rng.integers(0, len(self.real), LOOKED_AT))
        real, _ = self._real(
            index.to(self.fabric.device), torch.zeros(LOOKED_AT, device=self.fabric.device).bool()
        )
        self.generator.eval()
        outputs = self._generate(inputs)
        self.generator.train()
        return Vitals(spread(outputs, real))

    def soften(self, *, won: bool) -> str:
        """Quarter both rates, or the discriminator's alone."""
        self._players, how = slower_players(self._players, won=won)
        return how

    def advice(self, loss: str) -> str:
        """Say which learning rates to lower."""
        return "lower train.generator_rate and train.discriminator_rate"

    def _generate(self, inputs: Sequence[Tensor]) -> Tensor:
        with self.fabric.autocast():
            return outputs_of(self.generator(*inputs))[0].float()

    def _score(self, images: Tensor, labels: Sequence[Tensor]) -> Tensor:
        with self.fabric.autocast():
            return self.discriminator(images, *labels).float()

    def _augmented(self, images: Tensor, numbers: Sequence[Tensor]) -> Tensor:
        if self.adaptive:
            return self.adaptive.augment(images, numbers[0])
        return augment_by(numbers[0] if numbers else None)(images)

    def _labels(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return [inputs[index] for index in self.labels]

    def _draw(self, stream: Stream, step: int) -> tuple[Tensor, ...]:
        return draw(self.contract, self.settings.batch, derive(self.seed, stream, step), part=self.part)

    def _augmentation(self, index: int, halves: int) -> tuple[Tensor, ...]:
        """Draw numbers for a batch, or for two: of real images and of generated ones."""
        if not self.settings.augment:
            return ()
        count, seed = halves * self.settings.batch, derive(self.seed, Stream.AUGMENT, index)
        numbers = augmentation(count, seed, numbers=NUMBERS + (self.adaptive is not None))
        return (torch.cat([half[self.part] for half in numbers.chunk(halves)]),)

    def _draw_real(self, number: int) -> tuple[Tensor, Tensor]:
        """Draw which images are taken, and which of them are mirrored."""
        rng = np.random.default_rng(derive(self.seed, Stream.DATA, number))
        index = rng.integers(0, len(self.real), self.settings.batch)
        mirrored = rng.random(self.settings.batch) < (0.5 if self.settings.flip else 0)
        return torch.from_numpy(index[self.part]), torch.from_numpy(mirrored[self.part])

    def _draw_mix(self, number: int) -> tuple[Tensor, ...]:
        if self.settings.loss != "wgan-gp":
            return ()
        rng = np.random.default_rng(derive(self.seed, Stream.PENALTY, number))
        return (torch.from_numpy(rng.random(self.settings.batch, dtype=np.float32)[self.part]),)

    def _real(self, index: Tensor, mirrored: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return samples as the generator gives them, and their labels where the contract has any."""
        samples = as_output(self.real[index], self.output)
        if self.settings.flip:
            samples = torch.where(mirrored.view(-1, *[1] * len(self.output.shape)), samples.flip(-1), samples)
        return samples, [self.targets[index]] * len(self.labels)
