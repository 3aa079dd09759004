"""Simulated turns of which the true ratio is known: told right 19 times in 20, or withheld."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgegan.measure import latency
from edgegan.measure.disturbance import Calls
from edgegan.measure.latency import ROUNDS, STARTS
from edgegan.measure.turns import Run, Runnable
from edgegan.runtime.contract import Contract, Input, Output

TRUTH, CALLS, TRIES = 4.0, 40, 120
Random = np.random.Generator
CONTRACT = Contract((Input("z", (1,)),), (Output("image", (3, 1, 1)),))


def simulated(ms: Callable[[int, int], float], rng: Random, *, busy: float = 0.0) -> Run:
    """A model whose calls take `ms(start, turn)`, with 3% of noise; others interrupt it `busy` times a ms."""
    run = Run(Runnable(Path("model"), CONTRACT))
    run.load_ms = [1.0] * STARTS
    for start in range(STARTS):
        turns = []
        for turn in range(ROUNDS):
            alone = ms(start, turn) * np.exp(rng.normal(0, 0.03, CALLS))
            taken = rng.poisson(busy * alone)
            lost = taken * rng.uniform(1, 8, CALLS)
            times = alone + lost
            turns.append(Calls(times, alone, lost, times, taken.astype(float)))
        run.starts.append(turns)
    return run


def steady(rng: Random) -> tuple[Run, Run]:
    start = np.exp(rng.normal(0, 0.03, (2, STARTS)))
    return simulated(lambda s, t: 2 * start[0, s], rng), simulated(lambda s, t: 0.5 * start[1, s], rng)


def drifting(rng: Random) -> tuple[Run, Run]:
    """The whole machine slows down by half, and other things beside it."""
    start = np.exp(rng.normal(0, 0.02, (2, STARTS)))

    def slower(s: int, t: int) -> float:
        return 1 + 0.5 * (ROUNDS * s + t) / (ROUNDS * STARTS)

    return (
        simulated(lambda s, t: 2 * slower(s, t) * start[0, s], rng),
        simulated(lambda s, t: 0.5 * slower(s, t) * start[1, s], rng),
    )


def interrupted(rng: Random) -> tuple[Run, Run]:
    """Others take the CPU: of a long call nearly always, of a short one seldom."""
    start = np.exp(rng.normal(0, 0.02, (2, STARTS)))
    busy = rng.choice((0.05, 0.3, 1.5))
    return (
        simulated(lambda s, t: 2 * start[0, s], rng, busy=busy),
        simulated(lambda s, t: 0.5 * start[1, s], rng, busy=busy),
    )


def bursts(rng: Random) -> tuple[Run, Run]:
    """Now and then a turn runs on a slower clock, which no count of the system tells."""
    slow = np.where(rng.random((2, STARTS, ROUNDS)) < 0.15, 1.4, 1.0)
    start = np.exp(rng.normal(0, 0.02, (2, STARTS)))
    return (
        simulated(lambda s, t: 2 * start[0, s] * slow[0, s, t], rng),
        simulated(lambda s, t: 0.5 * start[1, s] * slow[1, s, t], rng),
    )


def two_modes(rng: Random) -> tuple[Run, Run]:
    """Each process is, for as long as it lives, a fast or a slow one."""
    mode = np.where(rng.random((2, STARTS)) < 0.5, 1.1, 1 / 1.1)
    return simulated(lambda s, t: 2 * mode[0, s], rng), simulated(lambda s, t: 0.5 * mode[1, s], rng)


@pytest.mark.parametrize("kind", [steady, drifting, interrupted, bursts, two_modes])
def test_a_speedup_that_is_told_holds_the_truth_19_times_in_20(
    kind: Callable[[Random], tuple[Run, Run]],
) -> None:
    rng, right, told = np.random.default_rng(5), 0, 0
    for _ in range(TRIES):
        one, other = kind(rng)
        found = latency._latency(other, {"one": one, "other": other}, "one", 1, 1)
        if found.speedup is not None:
            told += 1
            right += found.speedup.low <= TRUTH <= found.speedup.high
    assert told > 0.2 * TRIES
    assert right >= 0.95 * told
