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
    scores: Sequence[Scores],
    scope: Scope,
    aligns: Sequence[int],
    goal: float,
    cost: Callable[[Selection], float],
) -> Selection:
    """Return the channels that stay of each group: the most whose cost is not above `goal`.

    Each group keeps a multiple of its number in `aligns`, or all.
    `cost` maps a selection to the fraction kept, and must not fall when channels are added. The keep ratio is
    found by bisection over 1/4096ths; what rounding left under the goal goes to one group after the other,
    first to the one that fell farthest below its share.

    Raises:
        StageError: even the narrowest model is above the goal.
    """
    known: dict[tuple[int, ...], float] = {}

    def kept(counts: Sequence[int]) -> float:
        if tuple(counts) not in known:
            known[tuple(counts)] = cost(_chosen(scores, counts))
        return known[tuple(counts)]

    def at(step: int) -> float:
        return kept(widths(scores, scope, aligns, step / STEPS))

    low, high = 0, STEPS
    if at(low) > goal:
        raise out_of_reach(goal, at(low))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle) <= goal else (low, middle)
    counts, wishes = widths(scores, scope, aligns, low / STEPS), _shares(scores, scope, high / STEPS)
    widened = True
    while widened:
        widened = False
        for index in sorted(range(len(counts)), key=lambda i: (counts[i] - wishes[i]) / len(scores[i])):
            more = [min(count + aligns[i] * (i == index), len(scores[i])) for i, count in enumerate(counts)]
            if more != counts and kept(more) <= goal:
                counts, widened = more, True
                break
    return _chosen(scores, counts)


def out_of_reach(goal: float, least: float) -> StageError:
    """Return the error to raise where the narrowest model keeps `least`."""
    return StageError(
        f"the goal of {goal:g} cannot be reached: the narrowest model keeps {least:.3f}",
        next="ask for less, lower `align`, or see in the lint findings which layers cannot be pruned",
    )


def widths(scores: Sequence[Scores], scope: Scope, aligns: Sequence[int], ratio: float) -> list[int]:
    """Return how many channels each group keeps at `ratio`.

    The nearest multiple of its number in `aligns`, at least one; a group no wider than that stays whole.
    """
    return [
        min(len(one), max(align, int(wish / align + 0.5) * align))
        for one, align, wish in zip(scores, aligns, _shares(scores, scope, ratio))
    ]


def _shares(scores: Sequence[Scores], scope: Scope, ratio: float) -> list[float]:
    """Return how many channels each group would keep if widths needed no rounding."""
    if scope == "uniform":
        return [ratio * len(one) for one in scores]
    ranked = np.sort(np.concatenate(scores))[::-1]
    count = round(ratio * len(ranked))
    threshold = ranked[count - 1] if count else np.inf
    return [float((one >= threshold).sum()) for one in scores]


def _chosen(scores: Sequence[Scores], counts: Sequence[int]) -> Selection:
    return [_best(one, count) for one, count in zip(scores, counts)]


def _best(one: Scores, count: int) -> list[int]:
    return sorted(np.argsort(-one, kind="stable")[:count].tolist())
