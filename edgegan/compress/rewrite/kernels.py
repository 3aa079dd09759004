"""Kernels of convolutions, as the rewrites take them apart."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F


def per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """Return an operator's stride, padding or dilation with one number for each spatial axis."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values * axes if len(values) == 1 else values


def padded(weight: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Put zeros before and after a spatial axis of `weight`, (channels, channels, *kernel)."""
    last = weight.dim() - 3 - axis
    return F.pad(weight, [0, 0] * last + [before, after])


def dilated(weight: Tensor, dilation: tuple[int, ...]) -> Tensor:
    """Write out the zeros between the taps of a kernel: k becomes (k - 1) * dilation + 1."""
    shape = [(k - 1) * step + 1 for k, step in zip(weight.shape[2:], dilation)]
    wide = weight.new_zeros(*weight.shape[:2], *shape)
    wide[(..., *(slice(None, None, step) for step in dilation))] = weight
    return wide
