"""Which channels stay, so that the goal is met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from edgegan.compress.prune.importance import Scores
from edgegan.errors import StageError

Scope = Literal["global", "uniform"]
Selection = list[list[int]]
STEPS = 4096


def select(
    scores: Sequence[Scores], scope: Scope, align: int, goal: float, cost: Callable[[Selection], float]
) -> Selection:
    """Return the channels that stay of each group: the most whose cost is not above `goal`.

    `cost` maps a selection to the fraction kept, and must not fall when channels are added. The keep ratio is
    found by bisection over 1/4096ths.

    Raises:
        StageError: even the narrowest model is above the goal.
    """
    known: dict[tuple[int, ...], float] = {}

    def at(step: int) -> tuple[Selection, float]:
        counts = tuple(widths(scores, scope, align, step / STEPS))
        chosen = [_best(one, count) for one, count in zip(scores, counts)]
        if counts not in known:
            known[counts] = cost(chosen)
        return chosen, known[counts]

    low, high = 0, STEPS
    if at(low)[1] > goal:
        raise out_of_reach(goal, at(low)[1])
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle)[1] <= goal else (low, middle)
    return at(low)[0]


def out_of_reach(goal: float, least: float) -> StageError:
    """Return the error to raise where the narrowest model keeps `least`."""
    return StageError(
        f"the goal of {goal:g} cannot be reached: the narrowest model keeps {least:.3f}",
        next="ask for less, lower `align`, or see in the lint findings which layers cannot be pruned",
    )


def widths(scores: Sequence[Scores], scope: Scope, align: int, ratio: float) -> list[int]:
    """Return how many channels each group keeps at `ratio`.

    The nearest multiple of `align`, at least one; a group no wider than `align` stays whole.
    """
    if scope == "uniform":
        raw = [ratio * len(one) for one in scores]
    else:
        ranked = np.sort(np.concatenate(scores))[::-1]
        count = round(ratio * len(ranked))
        threshold = ranked[count - 1] if count else np.inf
        raw = [float((one >= threshold).sum()) for one in scores]
    return [min(len(one), max(align, int(wish / align + 0.5) * align)) for one, wish in zip(scores, raw)]


def _best(one: Scores, count: int) -> list[int]:
    return sorted(np.argsort(-one, kind="stable")[:count].tolist())
