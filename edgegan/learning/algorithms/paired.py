"""Training on pairs: a generator learns to give targets for inputs (Isola et al. 2017, arXiv:1611.07004)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from edgegan.errors import DataError
from edgegan.learning.algorithm import Batch, Update
from edgegan.learning.algorithms.critic import Critic
from edgegan.learning.algorithms.settings import PairedSettings
from edgegan.learning.augment import augment_by
from edgegan.learning.batch_norm import share_statistics
from edgegan.learning.checkpoint import Holder
from edgegan.learning.devices import part_of, prepare, to_device
from edgegan.learning.draws import Stream, derive
from edgegan.learning.ema import Ema
from edgegan.learning.losses.output import l1
from edgegan.learning.losses.spectral import MelSpectrogram, multi_resolution_stft
from edgegan.learning.losses.style import Look, total_variation
from edgegan.learning.monitor import Vitals, spread
from edgegan.learning.player import Player
from edgegan.learning.schedules import warm_up_and_fall
from edgegan.learning.taps import outputs_of
from edgegan.measure.metrics.mel_distance import transform_size
from edgegan.runtime.contract import Contract
from edgegan.runtime.modality import Audio, Image

WEIGHTED = "output", "mel", "stft", "content", "style", "variation", "adversarial", "perceptual"
CALIBRATION_BATCHES = 32


class Pairs(Protocol):
    """Where pairs come from: what is random is drawn on the CPU, the rest is made on the device."""

    def draw(self, rng: np.random.Generator, count: int) -> tuple[NDArray[Any], ...]:
        """Draw what `count` pairs are made of: arrays (count, ...)."""
        ...

    def make(self, drawn: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the generator's inputs and the target (N, ...), float32, in the contract's ranges."""
        ...


class PairedTraining:
    """A generator, called as `generator(*inputs)`, and a critic of its output where a loss wants one.

    Args:
        generator: freshly built; it is trained itself.
        discriminator: called as `discriminator(output, *labels)`, where there is one; a copy is trained.
        contract: of the generator; it has one output.
        pairs: what it learns from.
        settings: the weights of the losses, and more.
        fabric: the processes.
        seed: of all draws.
        extractor: of the losses `content` and `style`, with trained weights.
        painting: (1, C, H, W) in the output's range, for the loss `style`.

    Raises:
        DataError: a loss of sound or of pictures is asked for, and the output is none.
    """

    name: str = "train"
    rewinds_noise: bool = False
    undecided: Mapping[str, float] = {}

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module | None,
        contract: Contract,
        pairs: Pairs,
        settings: PairedSettings,
        fabric: Fabric,
        seed: int,
        *,
        extractor: nn.Module | None = None,
        painting: Tensor | None = None,
    ) -> None:
        self.contract, self.settings, self.fabric, self.seed = contract, settings, fabric, seed
        self.pairs = pairs
        self.generator = prepare(generator, fabric).train().requires_grad_(True)
        self.ema: Ema = Ema(self.generator, settings.ema)
        if fabric.world_size > 1:
            share_statistics(self.generator)
        self.part = part_of(settings.batch, fabric)
        self.labels = [i for i, spec in enumerate(contract.inputs) if spec.dtype == "int64"]
        self.mel = _mel(contract, settings, fabric)
        _check_pictures(contract, settings)
        self.look = self._look(extractor, painting) if extractor else None
        self.critic = self._critic(discriminator) if discriminator and settings.adversarial else None
        there = [name for name in WEIGHTED if getattr(settings, name)]
        self.losses: tuple[str, ...] = (*there, "discriminator") if self.critic else tuple(there)
        self._players = self._make_players()

    def players(self) -> dict[str, Player]:
        """Return the generator and, where it learns, the discriminator."""
        return self._players

    def parts(self) -> dict[str, Holder]:
        """Return all that has a state."""
        parts: dict[str, Holder] = {
            "generator": self.generator,
            "ema": self.ema.module,
            "optimizer_g": self._players["generator"].optimizer,
        }
        if self.critic:
            parts["discriminator"] = self.critic.module
            parts["optimizer_d"] = self._players["discriminator"].optimizer
        return parts

    def phase(self, step: int) -> int:
        """All steps compute the same."""
        return 0

    def batch(self, step: int) -> Batch:
        """Draw what the pairs are made of."""
        return {"pairs": self._draw(Stream.TRAIN, step)}

    def step(self, batch: Batch) -> Iterator[Update]:
        """Update the discriminator, where it learns, and the generator."""
        inputs, target = self.pairs.make(batch["pairs"])
        with self.fabric.autocast():
            output = outputs_of(self.generator(*inputs))[0].float()
        losses: dict[str, Tensor] = {}
        if self.settings.output:
            losses["output"] = l1([output], [target], self.contract.outputs)
        if self.mel:
            losses["mel"] = (self.mel(output) - self.mel(target)).abs().mean()
        if self.settings.stft:
            losses["stft"] = multi_resolution_stft(output, target)
        if self.look:
            losses["content"], losses["style"] = self.look(output, target)
        if self.settings.variation:
            losses["variation"] = total_variation(output)
        if self.critic:
            labels, same = [inputs[index] for index in self.labels], augment_by(None)
            loss = self.critic.loss(target, output, labels, same)
            yield Update("discriminator", loss, {"discriminator": loss})
            losses["adversarial"], losses["perceptual"] = self.critic.judge(target, output, labels, same)
        weighted = [getattr(self.settings, name) * value for name, value in losses.items()]
        yield Update("generator", torch.stack(weighted).sum(), losses)

    def finish(self) -> nn.Module:
        """Return the averaged generator, with its own statistics."""
        draws = (self._draw(Stream.CALIBRATE, index) for index in range(CALIBRATION_BATCHES))
        return self.ema.settle(self._make(drawn)[0] for drawn in draws)

    @torch.no_grad()
    def vitals(self) -> Vitals:
        """Compare how far outputs and targets lie apart."""
        inputs, targets = self._make(self._draw(Stream.HELD_OUT, 0))
        self.generator.eval()
        outputs = outputs_of(self.generator(*inputs))[0]
        self.generator.train()
        return Vitals(spread(outputs, targets))

    def soften(self, *, won: bool) -> str:
        """Quarter the rates."""
        self._players = {name: player.slower() for name, player in self._players.items()}
        return "a quarter of the rates"

    def advice(self, loss: str) -> str:
        """Say which learning rate to lower."""
        return f"lower train.{'discriminator_' if loss == 'discriminator' else ''}learning_rate"

    def _draw(self, stream: Stream, step: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng(derive(self.seed, stream, step))
        return tuple(torch.from_numpy(a[self.part]) for a in self.pairs.draw(rng, self.settings.batch))

    def _make(self, drawn: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        return self.pairs.make([to_device(tensor, self.fabric.device) for tensor in drawn])

    def _critic(self, discriminator: nn.Module) -> Critic:
        inputs, target = self._make([tensor[:2] for tensor in self._draw(Stream.CALIBRATE, 0)])
        example = [target, *(inputs[index] for index in self.labels)]
        settings = self.settings
        return Critic(
            discriminator, self.fabric, example, features=bool(settings.perceptual), loss=settings.loss
        )

    def _look(self, extractor: nn.Module, painting: Tensor | None) -> Look:
        _, target = self._make([tensor[:2] for tensor in self._draw(Stream.CALIBRATE, 0)])
        given = None if painting is None else painting.to(self.fabric.device)
        return Look(extractor, target, given, self.fabric)

    def _make_players(self) -> dict[str, Player]:
        settings = self.settings
        schedule = warm_up_and_fall(settings.steps, settings.schedule)
        betas = (0.5, 0.999) if self.critic else (0.9, 0.999)
        learning = {"generator": (self.generator, settings.learning_rate)}
        if self.critic:
            learning["discriminator"] = (self.critic.module, settings.discriminator_learning_rate)
        return {
            name: Player.adam(network.parameters(), rate, betas, schedule)
            for name, (network, rate) in learning.items()
        }


def _check_pictures(contract: Contract, settings: PairedSettings) -> None:
    kind = contract.outputs[0].modality.kind
    if (settings.content or settings.style or settings.variation) and kind != Image.kind:
        raise DataError(
            f"content, style and variation are losses of pictures, and the output is of {kind}",
            where="train",
            next="leave them out",
        )


def _mel(contract: Contract, settings: PairedSettings, fabric: Fabric) -> MelSpectrogram | None:
    sound, samples = contract.outputs[0].modality, contract.outputs[0].shape[-1]
    if not (settings.mel or settings.stft):
        return None
    if not isinstance(sound, Audio):
        raise DataError(
            f"mel and stft are losses of sound, and the output is of {sound.kind}",
            where="train",
            next="leave them out",
        )
    size = transform_size(sound.sample_rate)
    if samples <= size // 2:
        raise DataError(
            f"mel and stft need more than {size // 2} samples at {sound.sample_rate} Hz, not {samples}",
            where="train",
            next="make the contract's output longer",
        )
    return MelSpectrogram(sound.sample_rate, size, size // 4).to(fabric.device) if settings.mel else None
