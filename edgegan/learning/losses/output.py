"""Distances between what two generators give for the same inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgegan.runtime.contract import Output


def l1(student: Sequence[Tensor], teacher: Sequence[Tensor], outputs: Sequence[Output]) -> Tensor:
    """Return the mean absolute difference of the outputs, in units of half their range, summed over them."""
    return torch.stack(
        [
            (ours.float() - theirs.float()).abs().mean() * (2 / (spec.range[1] - spec.range[0]))
            for ours, theirs, spec in zip(student, teacher, outputs)
        ]
    ).sum()
