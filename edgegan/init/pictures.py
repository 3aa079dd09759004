"""Pictures that nobody took: smooth fields with edges, which are nearer to photographs than noise is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pictures(n: int, channels: int, size: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return `n` made-up pictures (n, channels, *size) in [0, 1]: octaves of noise, and a few flat shapes.

    Each octave has half the amplitude of the one that is twice as coarse, so that power falls with frequency
    as it does in photographs. `size` may have 1, 2 or 3 axes.
    """
    generator = torch.Generator().manual_seed(seed)
    mode = ("linear", "bilinear", "trilinear")[len(size) - 1]
    total = torch.zeros(n, channels, *size)
    cells, weight = 2, 1.0
    while cells <= max(size):
        coarse = [max(2, min(cells, length)) for length in size]
        grey = torch.rand(n, 1, *coarse, generator=generator)
        colour = torch.rand(n, channels, *coarse, generator=generator)
        field = 0.6 * grey + 0.4 * colour
        total += weight * F.interpolate(field, size=size, mode=mode, align_corners=False)
        cells, weight = 2 * cells, weight / 2
    for index in range(n):
        for _ in range(3):
            region = [_stretch(length, generator) for length in size]
            shade = torch.rand(channels, *(1 for _ in size), generator=generator)
            total[(index, slice(None), *region)] = 0.5 * total[(index, slice(None), *region)] + shade
    axes = tuple(range(1, total.dim()))
    low, high = total.amin(axes, keepdim=True), total.amax(axes, keepdim=True)
    return (total - low) / (high - low)


def _stretch(length: int, generator: torch.Generator) -> slice:
    ends = torch.randint(0, length + 1, (2,), generator=generator).sort().values
    return slice(int(ends[0]), int(ends[1]) or 1)
