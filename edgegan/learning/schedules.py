"""Learning rates that follow the steps, as shares of the highest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Callable[[int], float]
"""The share of the highest rate at a step; the first step is 0."""


def warm_up_and_fall(steps: int, shape: Literal["cosine", "linear"]) -> Schedule:
    """Rise linearly over the first 2% of the steps, then fall to 0 (cosine: arXiv:1608.03983)."""
    rise = max(1, steps // 50)

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        left = 1 - (step - rise) / max(1, steps - rise)
        return left if shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)

    return share


def one_cycle(steps: int) -> Schedule:
    """Rise over the first fifth of the steps from 1/25, then fall to 0, by cosines (arXiv:1708.07120)."""
    rise = max(1, steps // 5)

    def share(step: int) -> float:
        if step < rise:
            return 1 / 25 + (1 - 1 / 25) * (0.5 - 0.5 * math.cos(math.pi * step / rise))
        return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1, steps - rise))

    return share


def hold_and_fall(steps: int) -> Schedule:
    """Stay for the first half of the steps, then fall linearly to 0."""
    return lambda step: min(1.0, 2 * (1 - step / steps))
