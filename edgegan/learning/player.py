"""A network that learns: its parameters, its optimizer, and the rate that follows the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from edgegan.learning.schedules import Schedule


@dataclass(frozen=True)
class Player:
    """One of those who learn in a step.

    On a GPU the rate is a tensor, which a captured step reads anew each time.
    """

    parameters: list[nn.Parameter]
    optimizer: torch.optim.Adam | torch.optim.SGD
    rate: float
    """The highest."""
    schedule: Schedule

    @classmethod
    def adam(
        cls,
        parameters: Iterable[nn.Parameter],
        rate: float,
        betas: tuple[float, float],
        schedule: Schedule,
    ) -> Player:
        """Return a player who learns by Adam (arXiv:1412.6980)."""
        held, first, cuda = _on_device(parameters, rate)
        optimizer = torch.optim.Adam(held, first, betas=betas, fused=True, capturable=cuda)
        return cls(held, optimizer, rate, schedule)

    @classmethod
    def sgd(cls, parameters: Iterable[nn.Parameter], rate: float, schedule: Schedule) -> Player:
        """Return a player who learns by SGD with Nesterov's momentum of 0.9, and weight decay."""
        held, first, _ = _on_device(parameters, rate)
        optimizer = torch.optim.SGD(held, first, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
        return cls(held, optimizer, rate, schedule)

    def slower(self) -> Player:
        """Return this player, who learns at a quarter of the rate from here on."""
        return replace(self, rate=self.rate / 4)

    def follow(self, step: int) -> None:
        """Set the rate of `step`."""
        rate = self.rate * self.schedule(step)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def slower_players(players: Mapping[str, Player], *, won: bool) -> tuple[dict[str, Player], str]:
    """Return the players at a quarter of their rates, all but the generator where it has lost; and say so."""
    slowed = {
        name: player if won and name == "generator" else player.slower() for name, player in players.items()
    }
    return slowed, "a quarter of the discriminator's rate" if won else "a quarter of both rates"


def _on_device(
    parameters: Iterable[nn.Parameter], rate: float
) -> tuple[list[nn.Parameter], float | Tensor, bool]:
    """Return those that learn, their first rate, and whether they are on a GPU."""
    held = [parameter for parameter in parameters if parameter.requires_grad]
    cuda = bool(held) and held[0].is_cuda
    return held, torch.tensor(rate, device=held[0].device) if cuda else rate, cuda
