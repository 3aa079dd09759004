"""Training without pairs: two generators turn pictures of one kind into the other and back (CycleGAN: Zhu et
al. 2017, arXiv:1703.10593)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from edgegan.learning.algorithm import Batch, Update
from edgegan.learning.algorithms.critic import Critic
from edgegan.learning.algorithms.settings import UnpairedSettings
from edgegan.learning.augment import augment_by
from edgegan.learning.batch_norm import share_statistics
from edgegan.learning.checkpoint import Holder
from edgegan.learning.devices import part_of, prepare, to_device
from edgegan.learning.draws import Stream, derive
from edgegan.learning.ema import Ema
from edgegan.learning.losses.adversarial import LOSSES
from edgegan.learning.losses.output import l1
from edgegan.learning.monitor import Vitals, spread
from edgegan.learning.player import Player, slower_players
from edgegan.learning.schedules import warm_up_and_fall
from edgegan.learning.taps import outputs_of
from edgegan.module_copy import copy_of
from edgegan.runtime.contract import Contract

CALIBRATION_BATCHES = 32
_PLAIN = augment_by(None)


class TwoKinds(Protocol):
    """Pictures of two kinds: what is random is drawn on the CPU, the rest is made on the device."""

    def draw(self, rng: np.random.Generator, count: int) -> tuple[NDArray[Any], ...]:
        """Draw what `count` pictures of each kind are made of: arrays (count, ...)."""
        ...

    def make(self, drawn: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return pictures (N, C, H, W) that the generator takes, and others of the kind that it gives."""
        ...


class UnpairedTraining:
    """A generator, one that leads back, and a critic of each kind.

    Args:
        generator: freshly built, called as `generator(pictures)`; it is trained itself, a copy leads back.
        discriminator: called as `discriminator(pictures)`; two copies are trained.
        contract: of the generator: what it takes and gives is of one shape and range.
        pictures: what it learns from.
        settings: the weights of the losses, and more.
        fabric: the processes.
        seed: of all draws.
    """

    name: str = "train"
    rewinds_noise: bool = False

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        contract: Contract,
        pictures: TwoKinds,
        settings: UnpairedSettings,
        fabric: Fabric,
        seed: int,
    ) -> None:
        self.contract, self.settings, self.fabric, self.seed = contract, settings, fabric, seed
        self.pictures = pictures
        self.back = prepare(copy_of(generator), fabric).train().requires_grad_(True)
        self.generator = prepare(generator, fabric).train().requires_grad_(True)
        self.ema: Ema = Ema(self.generator, settings.ema)
        if fabric.world_size > 1:
            share_statistics(self.generator)
            share_statistics(self.back)
        self.part = part_of(settings.batch, fabric)
        example = self._make([each[:2] for each in self._draw(Stream.CALIBRATE, 0)])
        self.critics = [
            Critic(discriminator, fabric, [kind], features=False, loss=settings.loss) for kind in example
        ]
        weighted = [name for name in ("cycle", "identity") if getattr(settings, name)]
        self.losses: tuple[str, ...] = ("adversarial", *weighted, "discriminator")
        even = 2 * float(LOSSES[settings.loss].discriminator(torch.zeros(1), torch.zeros(1)))
        self.undecided: Mapping[str, float] = {"discriminator": even}
        self._players = self._make_players()

    def players(self) -> dict[str, Player]:
        """Return both generators as one player, and both critics as another."""
        return self._players

    def parts(self) -> dict[str, Holder]:
        """Return all that has a state."""
        return {
            "generator": self.generator,
            "back": self.back,
            "ema": self.ema.module,
            "discriminator": self.critics[1].module,
            "discriminator_back": self.critics[0].module,
            "optimizer_g": self._players["generator"].optimizer,
            "optimizer_d": self._players["discriminator"].optimizer,
        }

    def phase(self, step: int) -> int:
        """All steps compute the same."""
        return 0

    def batch(self, step: int) -> Batch:
        """Draw what the pictures are made of."""
        return {"pictures": self._draw(Stream.TRAIN, step)}

    def step(self, batch: Batch) -> Iterator[Update]:
        """Update the critics, and then the generators."""
        real = self.pictures.make(batch["pictures"])
        there, back = self.generator, self.back
        made = self._call(back, real[1]), self._call(there, real[0])
        both = list(zip(self.critics, real, made))
        loss = torch.stack([critic.loss(kind, ours, [], _PLAIN) for critic, kind, ours in both]).sum()
        yield Update("discriminator", loss, {"discriminator": loss})
        scores = [critic.judge(kind, ours, [], _PLAIN)[0] for critic, kind, ours in both]
        losses = {"adversarial": torch.stack(scores).sum()}
        if self.settings.cycle:
            losses["cycle"] = self._distance((self._call(back, made[1]), self._call(there, made[0])), real)
        if self.settings.identity:
            losses["identity"] = self._distance((self._call(back, real[0]), self._call(there, real[1])), real)
        weighted = [getattr(self.settings, name, 1.0) * value for name, value in losses.items()]
        yield Update("generator", torch.stack(weighted).sum(), losses)

    def finish(self) -> nn.Module:
        """Return the averaged generator, with its own statistics."""
        draws = (self._draw(Stream.CALIBRATE, index) for index in range(CALIBRATION_BATCHES))
        return self.ema.settle(self._make(drawn)[:1] for drawn in draws)

    @torch.no_grad()
    def vitals(self) -> Vitals:
        """Compare how far what becomes of pictures, and pictures of that kind, lie apart."""
        inputs, others = self._make(self._draw(Stream.HELD_OUT, 0))
        self.generator.eval()
        outputs = self._call(self.generator, inputs)
        self.generator.train()
        return Vitals(spread(outputs, others))

    def soften(self, *, won: bool) -> str:
        """Quarter both rates, or the discriminator's alone."""
        self._players, how = slower_players(self._players, won=won)
        return how

    def advice(self, loss: str) -> str:
        """Say which learning rate to lower."""
        return f"lower train.{'discriminator_' if loss == 'discriminator' else ''}learning_rate"

    def _call(self, network: nn.Module, pictures: Tensor) -> Tensor:
        with self.fabric.autocast():
            return outputs_of(network(pictures))[0].float()

    def _distance(self, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
        return l1(ours, theirs, self.contract.outputs * 2)

    def _draw(self, stream: Stream, step: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng(derive(self.seed, stream, step))
        return tuple(torch.from_numpy(a[self.part]) for a in self.pictures.draw(rng, self.settings.batch))

    def _make(self, drawn: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return self.pictures.make([to_device(tensor, self.fabric.device) for tensor in drawn])

    def _make_players(self) -> dict[str, Player]:
        settings = self.settings
        schedule = warm_up_and_fall(settings.steps, settings.schedule)
        generators = [*self.generator.parameters(), *self.back.parameters()]
        critics = [parameter for critic in self.critics for parameter in critic.module.parameters()]
        learning = {
            "generator": (generators, settings.learning_rate),
            "discriminator": (critics, settings.discriminator_learning_rate),
        }
        return {
            name: Player.adam(parameters, rate, (0.5, 0.999), schedule)
            for name, (parameters, rate) in learning.items()
        }
