"""Telling what other work on the machine did to a measurement: which calls count, and which figures hold.

A call of 10 ms is interrupted where one of 0.5 ms is not, so that even a ratio of interleaved medians is
wrong on a busy machine. Interrupted calls are left out; where too few remain, or where wall time and CPU time
tell different speed-ups, a figure is withheld.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOST_LIMIT = 0.02
"""A call is disturbed where the calling thread had no CPU for more than this share of it."""

SHORT_LIMIT = 0.90
"""A call in which a thread lost its CPU is disturbed where all threads together had less than this share of
the CPU time that they usually have."""

LEAST_KEPT = 0.10
"""The share of calls that must be left for times to hold."""

BESIDE_LIMIT = 0.75
"""An engine's threads wait for each other without sleeping, and so take this share of their CPUs..."""

SWITCH_LIMIT = 50.0
"""... unless they sleep through a long part that runs on one thread, which takes no CPU from any: where that
happens more often than this in a second, other work does it."""

AGREEMENT = 1.10
"""Wall and CPU time must tell the same speed-up, within this factor."""

ADVICE = (
    "close other programs and run the same command again, or measure for longer: "
    "compress --latency-seconds 20, bench --seconds 20"
)


@dataclass(frozen=True)
class Calls:
    """Calls of one model, each with what `worker.MEASURED` says; all (calls,)."""

    run_ms: Floats
    cpu_ms: Floats
    lost_ms: Floats
    end_to_end_ms: Floats
    switches: Floats

    @classmethod
    def of(cls, *parts: Calls | dict[str, Any]) -> Calls:
        """Join calls, or a worker's answers."""
        given = [part if isinstance(part, dict) else vars(part) for part in parts]
        return cls(*(np.concatenate([np.array(p[f.name], float) for p in given]) for f in fields(cls)))

    def __len__(self) -> int:
        return len(self.run_ms)

    @cached_property
    def busy(self) -> float:
        """How many CPUs the model's threads keep busy while the calling one has its own.

        Over one short call this cannot be told: the system counts the time of other threads in ticks.
        """
        alone = self._unlost
        return float(self.cpu_ms[alone].sum() / self.run_ms[alone].sum()) if alone.any() else 0.0

    @property
    def switches_a_second(self) -> float:
        """How often a thread lost its CPU."""
        return float(self.switches.sum() / self.end_to_end_ms.sum() * 1e3)

    def kept(self, busy: float) -> NDArray[np.bool_]:
        """Tell which calls nothing interrupted, where the model usually keeps `busy` CPUs."""
        whole = self.cpu_ms >= SHORT_LIMIT * busy * self.run_ms
        return self._unlost & ((self.switches == 0) | whole)

    @property
    def _unlost(self) -> NDArray[np.bool_]:
        return self.lost_ms <= LOST_LIMIT * self.run_ms


def why_times_are_withheld(calls: Calls, kept: int, threads: int) -> str | None:
    """Return why a model's times do not hold, or None; `kept` of its calls were not interrupted."""
    if kept < max(2, LEAST_KEPT * len(calls)):
        return f"other work interrupted {len(calls) - kept} of its {len(calls)} calls: {ADVICE}"
    if calls.busy < BESIDE_LIMIT * threads and calls.switches_a_second > SWITCH_LIMIT:
        return f"its {threads} threads had {calls.busy:.1f} CPUs between them: {ADVICE}"
    return None


def why_speedup_is_withheld(wall: float, cpu: float) -> str | None:
    """Return why a speed-up by wall time does not hold beside that by CPU time, or None."""
    if 1 / AGREEMENT <= wall / cpu <= AGREEMENT:
        return None
    return f"it is {wall:.3g} by wall time and {cpu:.3g} by CPU time: {ADVICE}"
