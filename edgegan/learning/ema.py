"""The running average of a network's weights, which is the result of its training (arXiv:1806.04498)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from edgegan.learning.batch_norm import recalibrate
from edgegan.module_copy import copy_of


class Ema:
    """A copy of the network `live`, in eval mode, whose weights are the running averages of the live ones.

    `decay` is the share of the average that stays in each step; less at the start, so that the first weights
    are soon forgotten.
    """

    def __init__(self, live: nn.Module, decay: float) -> None:
        self.live, self.decay = live, decay
        self.module = copy_of(live).eval().requires_grad_(False)
        self._averaged: list[Tensor] = list(self.module.parameters())
        device = self._averaged[0].device if self._averaged else torch.device("cpu")
        self._now: float | Tensor = torch.zeros((), device=device) if device.type == "cuda" else 0.0

    def follow(self, step: int) -> None:
        """Set the decay of `step`; on a GPU it is a tensor, which a captured step reads anew each time."""
        decay = min(self.decay, (step + 1) / (step + 10))
        if isinstance(self._now, Tensor):
            self._now.fill_(decay)
        else:
            self._now = decay

    @torch.no_grad()
    def update(self) -> None:
        """Take the live weights into the averages."""
        live: list[Tensor] = [parameter.detach() for parameter in self.live.parameters()]
        if isinstance(self._now, float):
            get_ema_multi_avg_fn(self._now)(self._averaged, live, 0)
            return
        for average, now in zip(self._averaged, live):
            average.lerp_(now, 1 - self._now)

    @torch.no_grad()
    def settle(self, batches: Iterable[Sequence[Tensor]]) -> nn.Module:
        """Give the copy the live buffers, and its batch norms the statistics of `batches`; return it."""
        trained = dict(self.live.named_buffers())
        for name, buffer in self.module.named_buffers():
            buffer.copy_(trained[name])
        recalibrate(self.module, batches)
        return self.module
