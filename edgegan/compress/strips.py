"""Convolutions in float64 within bounded memory: torch writes out all patches of a batch first."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

ROOM = 128 << 20
"""Bytes that the patches of one strip may take, unless a single row of one sample takes more."""


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Return the convolution of x (N, C, *spatial), computed some samples and some rows at a time.

    Args:
        x: of as many spatial axes as stride, padding (by zeros, on both sides) and dilation have numbers.
        weight: (outputs, C / groups, *kernel).
        bias: (outputs,), or None.
        stride: of each spatial axis, as padding and dilation.
        padding: see stride.
        dilation: see stride.
        groups: of channels.
    """

    def of(part: Tensor, ends: Sequence[int]) -> Tensor:
        numbers = list(stride), list(ends), list(dilation)
        return torch.convolution(part, weight, bias, *numbers, False, [0] * len(stride), groups)

    (down, *across), (above, *beside) = stride, padding
    reach = (weight.shape[2] - 1) * dilation[0] + 1
    rows = (x.shape[2] + 2 * above - reach) // down + 1
    row = prod(size // by + 2 * ends for size, by, ends in zip(x.shape[3:], across, beside))
    each = x.element_size() * x.shape[1] * weight[0, 0].numel() * row
    if len(x) * rows * each <= ROOM:
        return of(x, padding)
    most = max(1, min(rows, ROOM // each))
    results = []
    for sample in torch.nn.functional.pad(x, [*[0, 0] * len(across), above, above]).split(1):
        strips = []
        for first in range(0, rows, most):
            count = min(most, rows - first)
            part = sample[:, :, first * down : (first + count - 1) * down + reach]
            strips.append(of(part, [0, *beside]))
        results.append(torch.cat(strips, dim=2))
    return torch.cat(results)
