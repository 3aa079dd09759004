"""What the loop runs: an algorithm has players, draws batches, and says in each step who learns from what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

from edgegan.learning.checkpoint import Holder
from edgegan.learning.ema import Ema
from edgegan.learning.player import Player

Batch = Mapping[str, tuple[Tensor, ...]]
"""All that a step is given from outside, by name."""


class Update(NamedTuple):
    """One player learns."""

    player: str
    loss: Tensor
    """What it minimizes."""
    losses: Mapping[str, Tensor]
    """To be logged, by name."""


class Algorithm(Protocol):
    """Adversarial training, a distillation, and whatever else learns step by step.

    A step on a GPU is captured once and then replayed, so that what it computes rests on its batch, the
    networks, the players' rates and the average's decay alone: it gets no number of the step.
    """

    name: str
    """For errors: where the settings are."""
    losses: tuple[str, ...]
    """The names of all losses of a step, in the log's order."""
    rewinds_noise: bool
    """Whether a step was seen in which networks draw the same noise twice, which cannot be captured."""

    @property
    def ema(self) -> Ema | None:
        """The running average that is the result, where there is one."""
        ...

    def players(self) -> Mapping[str, Player]:
        """Return those who learn, by name."""
        ...

    def parts(self) -> Mapping[str, Holder]:
        """Return all that has a state, by its name in checkpoints."""
        ...

    def phase(self, step: int) -> int:
        """Get ready for `step`; return a number that stays as long as steps compute the same."""
        ...

    def batch(self, step: int) -> Batch:
        """Draw what `step` is given, on the CPU, from the seed and `step` alone; this process's share."""
        ...

    def step(self, batch: Batch) -> Iterator[Update]:
        """Yield the updates of one step of `batch`, on the device; each is made before the next is asked for.

        Within a step nothing is read from the device.
        """
        ...

    def advice(self, loss: str) -> str:
        """Say what to do where a loss is not finite."""
        ...
