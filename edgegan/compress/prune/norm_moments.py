"""Batch normalizations of a pruned model, set so that they give means and variances as they did before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgegan.compress.prune.surgery import Kept
from edgegan.learning.batch_norm import batch_norms

DEAD = 1e-12
"""A channel of less variance is taken for a constant."""


class Moments:
    """Mean and variance of each channel, over batches and positions."""

    def __init__(self) -> None:
        self.count, self.sums, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Take the values of a batch (N, C, ...)."""
        flat = x.double().transpose(0, 1).flatten(1)
        self.count += flat.shape[1]
        self.sums, self.squares = self.sums + flat.sum(1), self.squares + flat.square().sum(1)

    @property
    def mean(self) -> Tensor:
        """The means (C,)."""
        return self.sums / self.count

    @property
    def variance(self) -> Tensor:
        """The variances (C,)."""
        return (self.squares / self.count - self.mean.square()).clamp(min=0)


@contextmanager
def observed(module: nn.Module) -> Iterator[dict[str, Moments]]:
    """Give the moments of what the batch normalizations of `module` get while it runs in the block."""
    moments: dict[str, Moments] = {}
    with ExitStack() as stack:
        for name, norm in batch_norms(module).items():
            found = moments[name] = Moments()

            def see(_: nn.Module, args: Any, found: Moments = found) -> None:
                found.add(args[0].detach())

            stack.callback(norm.register_forward_pre_hook(see).remove)
        yield moments


@torch.no_grad()
def match_norms(
    module: nn.Module, before: Mapping[str, Moments], kept: Kept, batches: Sequence[tuple[Tensor, ...]]
) -> None:
    """Set the running statistics of `module` so that its norms give the moments that they gave before.

    `before` holds what they got in the full model. Where its statistics were those of its samples, that is
    plain recalibration; where they were not (averaged weights, other data), they stay as far off.
    """
    with ExitStack() as stack:
        for name, norm in batch_norms(module).items():
            stay = kept.get(name, {}).get("outputs", slice(None))
            match = _Match(norm, before[name].mean[stay], before[name].variance[stay])
            stack.callback(norm.register_forward_pre_hook(match).remove)
        for batch in batches:
            module(*batch)


class _Match:
    """Sets a norm's statistics before each call, from all that it got so far."""

    def __init__(self, norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.mean, self.variance, self.moments = mean, variance, Moments()
        self.offset = mean - norm.running_mean.double()
        self.spread = norm.running_var.double() + norm.eps

    def __call__(self, norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.moments.add(args[0])
        alive = (self.variance > DEAD) & (self.moments.variance > DEAD)
        ratio = torch.where(alive, self.moments.variance / self.variance, 1.0)
        norm.running_mean.copy_(self.moments.mean - self.offset * ratio.sqrt())
        norm.running_var.copy_((ratio * self.spread - norm.eps).clamp(min=0))
