"""Kernels of convolutions, as the rewrites take them apart."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

Sides = list[tuple[int, int]]
"""An amount before and after each spatial axis."""


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


def zero_padding(padding: Any, weight: Tensor) -> Sides:
    """Return by how many zeros a Conv's `padding` pads; its `weight` has the dilation written out."""
    if padding == "same":
        return [((kernel - 1) // 2, kernel // 2) for kernel in weight.shape[2:]]
    axes = weight.dim() - 2
    return [(amount, amount) for amount in per_axis(0 if padding == "valid" else padding, axes)]
