"""Stored pictures, shifted and mirrored each time that they are drawn, so that few of them teach more."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from edgegan.runtime.contract import Input

NUMBERS = 3
"""Random numbers that the variation of one sample takes."""


def stored_pictures(inputs: Sequence[Input]) -> list[int]:
    """Return the places of those inputs that are stored and have the axes (channels, height, width)."""
    return [i for i, spec in enumerate(inputs) if spec.sample.kind == "stored" and len(spec.shape) == 3]


def vary(pictures: Sequence[Tensor], numbers: Tensor) -> list[Tensor]:
    """Shift samples around their edges, and mirror half of them: what belongs together alike.

    Args:
        pictures: one or several, each (N, C, H, W); one that is twice as large is shifted twice as far.
        numbers: (N, 3) in [0, 1).
    """
    cells = [math.gcd(*(each.shape[axis] for each in pictures)) for axis in (2, 3)]
    return [_moved(each, numbers, cells) for each in pictures]


def _moved(pictures: Tensor, numbers: Tensor, cells: Sequence[int]) -> Tensor:
    rows, columns = (
        _places(share, size, steps) for share, size, steps in zip(numbers.T, pictures.shape[2:], cells)
    )
    columns = torch.where(numbers[:, 2:] < 0.5, columns.flip(1), columns)
    return pictures.take_along_dim(rows[:, None, :, None], 2).take_along_dim(columns[:, None, None, :], 3)


def _places(share: Tensor, size: int, steps: int) -> Tensor:
    """Return where each of `size` rows is taken from (N, size), shifted by a share (N,) of the steps."""
    shift = (share * steps).long() * (size // steps)
    return (torch.arange(size) + shift[:, None]) % size
