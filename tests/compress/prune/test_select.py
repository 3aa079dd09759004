from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegan.compress.prune.select import Scope, Selection, select

GROUPS = st.lists(st.integers(9, 96), min_size=2, max_size=7)


def macs(sizes: list[int]) -> Callable[[Selection], float]:
    """What a chain of layers costs: each width times the next."""

    def cost(widths: list[int]) -> float:
        return float(sum(a * b for a, b in zip([8, *widths], [*widths, 8])))

    return lambda chosen: cost([len(stay) for stay in chosen]) / cost(sizes)


@settings(deadline=None)
@given(GROUPS, st.sampled_from(["uniform", "global"]), st.floats(0.1, 0.9), st.integers(0, 2**31))
def test_no_group_could_be_wider_under_the_goal(
    sizes: list[int], scope: Scope, goal: float, seed: int
) -> None:
    scores = [np.random.default_rng([seed, size]).random(size) for size in sizes]
    cost = macs(sizes)
    if cost([list(range(min(size, 8))) for size in sizes]) > goal:
        return
    chosen = select(scores, scope, [8] * len(sizes), goal, cost)
    assert cost(chosen) <= goal
    for index, stay in enumerate(chosen):
        assert len(stay) % 8 == 0 or len(stay) == sizes[index]
        if len(stay) < sizes[index]:
            wider = [*chosen]
            wider[index] = list(range(min(len(stay) + 8, sizes[index])))
            assert cost(wider) > goal


@pytest.mark.parametrize(("goal", "least"), [(0.25, 0.24), (0.05, 0.045), (0.025, 0.02)])
def test_the_goal_is_met_as_nearly_as_widths_allow(goal: float, least: float) -> None:
    sizes = [256, 256, 256, 160, 160, 80, 80]
    cost = macs(sizes)
    chosen = select([np.arange(size, dtype=float) for size in sizes], "uniform", [8] * len(sizes), goal, cost)
    assert least < cost(chosen) <= goal


def test_the_channels_of_the_highest_scores_stay() -> None:
    scores = [np.arange(32, dtype=float), np.arange(32, dtype=float)[::-1]]
    chosen = select(scores, "uniform", [8, 8], 0.5, macs([32, 32]))
    assert [len(stay) for stay in chosen] == [24, 16]
    assert chosen == [list(range(8, 32)), list(range(16))]
