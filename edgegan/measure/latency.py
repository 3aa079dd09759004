"""How long candidates take, measured side by side: each in a process of its own, in interleaved turns.

A turn runs one candidate while the others wait idle; every round gives each candidate one turn, in shuffled
order. What slows the machine for a while slows all of them, so that ratios within a round hold where times do
not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.measure.statistics import Interval, interleaved_ratio
from edgegan.measure.worker import Worker, WorkerFailed
from edgegan.runtime.contract import Contract

Floats = NDArray[np.float64]

ROUNDS = 15
"""Turns that each candidate gets; the intervals are over these."""

CV_LIMIT = 0.10
"""Warn where the times' standard deviation passes this share of their mean (trtexec, on a GPU: 2.5%)."""

DRIFT_LIMIT = 0.10
"""Warn where the medians of the turns spread by more than this share, 10th to 90th percentile."""

SPEEDUP_LIMIT = 0.10
"""Warn where the interval of the speed-up is wider than this share of it, to either side."""

P99_LEAST = 100
"""Warn where p99 rests on fewer times than this."""

_LEAST_PER_TURN = 2


@dataclass(frozen=True)
class Latency:
    """What one candidate takes. Where it could not be measured, `failed` says why; the figures are None."""

    p50: float | None = None
    """Milliseconds for one batch inside the engine: half of the runs took less. p90 and p99 likewise."""
    p90: float | None = None
    p99: float | None = None
    cv: float | None = None
    """Coefficient of variation: standard deviation of the times over their mean."""
    speedup: Interval | None = None
    """How many times faster than the baseline: the median over rounds of the ratio of the turns' medians."""
    end_to_end_ms_p50: float | None = None
    """Milliseconds for one batch with the sampling of its input and the conversion of its images to uint8."""
    load_ms: float | None = None
    """Milliseconds from the file to a session that is ready, the engine's own import apart."""
    peak_rss_mib: float | None = None
    """Largest resident set of the candidate's process, Python and the engine included, in MiB."""
    iterations: int = 0
    warnings: list[str] = field(default_factory=list)
    """What makes a figure doubtful, in words."""
    failed: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures under their names in `figures.json`, or only `failed` and `warnings`."""
        if self.failed is not None:
            return {"failed": self.failed, "warnings": self.warnings}
        return {
            "latency_ms_p50": self.p50,
            "latency_ms_p90": self.p90,
            "latency_ms_p99": self.p99,
            "latency_cv": self.cv,
            "speedup": self.speedup.to_dict() if self.speedup else None,
            "end_to_end_ms_p50": self.end_to_end_ms_p50,
            "load_ms": self.load_ms,
            "peak_rss_mib": self.peak_rss_mib,
            "iterations": self.iterations,
            "warnings": self.warnings,
        }


def measure_latency(
    candidates: Mapping[str, Path],
    contract: Contract,
    *,
    baseline: str,
    batch: int = 1,
    threads: int = 1,
    seconds: float = 3.0,
    warmup_seconds: float = 0.2,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Latency]:
    """Measure `candidates` (name to ONNX file) on ONNX Runtime, one running at a time.

    Args:
        candidates: all take and give what `contract` says.
        contract: how inputs are sampled, and which outputs are images.
        baseline: the candidate that speed-ups are relative to.
        batch: samples in a run.
        threads: threads of the engine in each process.
        seconds: measured time for each candidate, over all its turns.
        warmup_seconds: time for each candidate to run before anything counts.
        seed: of the order of turns and of the bootstrap.
        progress: called with (steps done, steps in all).

    Returns: One `Latency` for each candidate, in the order given. A candidate whose file does not load or
        run, or whose process dies or hangs, has `failed` set; the others are measured all the same.

    Raises:
        InputError: the baseline is not among the candidates, or a number is not positive.
    """
    _check(candidates, baseline, batch, threads, seconds, warmup_seconds)
    steps = _Steps(len(candidates) * (ROUNDS + 2), progress)
    with ExitStack() as stack:
        runs = {name: _Run(path) for name, path in candidates.items()}
        for run in runs.values():
            run.start(stack, contract, batch, threads)
            steps.step()
        for run in runs.values():
            run.turn(warmup_seconds, counts=False)
            steps.step()
        shuffle = random.Random(seed)
        for _ in range(ROUNDS):
            for run in shuffle.sample(list(runs.values()), len(runs)):
                run.turn(seconds / ROUNDS)
                steps.step()
        for run in runs.values():
            run.weigh()
        return {name: _latency(run, runs[baseline], baseline, seed) for name, run in runs.items()}


def _check(
    candidates: Mapping[str, Path],
    baseline: str,
    batch: int,
    threads: int,
    seconds: float,
    warmup_seconds: float,
) -> None:
    if baseline not in candidates:
        raise InputError(f"the baseline {baseline!r} is not among the candidates {list(candidates)}")
    for what, number in (("batch", batch), ("threads", threads), ("seconds", seconds)):
        if not number > 0:
            raise InputError(f"{what} must be more than 0, not {number}")
    if not warmup_seconds >= 0:
        raise InputError(f"warmup_seconds must be 0 or more, not {warmup_seconds}")


class _Steps:
    def __init__(self, total: int, progress: Callable[[int, int], None]) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def step(self) -> None:
        self._done += 1
        self._progress(self._done, self._total)


class _Run:
    """One candidate's worker and what it has measured so far; after a failure it asks nothing more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker: Worker | None = None
        self.failed: str | None = None
        self.load_ms = self.peak_rss_mib = 0.0
        self.turns: list[list[float]] = []
        self.end_to_end: list[float] = []

    def start(self, stack: ExitStack, contract: Contract, batch: int, threads: int) -> None:
        self._worker = Worker(threads)
        stack.callback(self._worker.close)
        reply = self._ask(
            {
                "do": "load",
                "model": str(self._path),
                "contract": contract.to_dict(),
                "stored": str(contract.folder) if contract.folder else None,
                "batch": batch,
                "threads": threads,
            }
        )
        self.load_ms = reply.get("load_ms", 0.0)

    def turn(self, seconds: float, *, counts: bool = True) -> None:
        reply = self._ask({"do": "turn", "seconds": seconds, "least": _LEAST_PER_TURN}, seconds)
        if counts and reply:
            self.turns.append(reply["run_ms"])
            self.end_to_end += reply["end_to_end_ms"]

    def weigh(self) -> None:
        self.peak_rss_mib = self._ask({"do": "memory"}).get("peak_rss_mib", 0.0)

    @property
    def medians(self) -> Floats:
        return np.array([np.median(turn) for turn in self.turns])

    def _ask(self, request: dict[str, Any], seconds: float = 0.0) -> dict[str, Any]:
        if self.failed is not None or self._worker is None:
            return {}
        try:
            return self._worker.ask(request, seconds=seconds)
        except WorkerFailed as failure:
            self.failed = str(failure)
            self._worker.close()
            return {}


def _latency(run: _Run, baseline: _Run, baseline_name: str, seed: int) -> Latency:
    if run.failed is not None:
        return Latency(failed=run.failed)
    times, end_to_end = np.concatenate(run.turns), float(np.median(run.end_to_end))
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    if baseline.failed is None:
        speedup = interleaved_ratio(baseline.medians, run.medians, seed=seed)
        doubts = _doubts_of_speedup(speedup)
    else:
        speedup, doubts = None, [f"no speed-up: the baseline {baseline_name!r} could not be measured"]
    return Latency(
        p50=p50,
        p90=p90,
        p99=p99,
        cv=float(times.std() / times.mean()),
        speedup=speedup,
        end_to_end_ms_p50=end_to_end,
        load_ms=run.load_ms,
        peak_rss_mib=run.peak_rss_mib,
        iterations=len(times),
        warnings=_doubts_of_times(times, run.medians, end_to_end) + doubts,
    )


def _doubts_of_times(times: Floats, medians: Floats, end_to_end: float) -> list[str]:
    """Return what makes the times doubtful, each with the limit that it passed."""
    median, cv = np.median(times), times.std() / times.mean()
    low, high = np.percentile(medians, [10, 90])
    drift = (high - low) / median
    doubts = {
        f"times vary by {cv:.0%} (over {CV_LIMIT:.0%}): the machine is busy; p90 and p99 say little": (
            cv > CV_LIMIT
        ),
        f"turns differ by {drift:.0%} (over {DRIFT_LIMIT:.0%}): clocks or load changed; "
        "trust the speed-up, not the ms": drift > DRIFT_LIMIT,
        f"p99 rests on {len(times)} runs (fewer than {P99_LEAST}): measure for longer": len(times)
        < P99_LEAST,
        "sampling and conversion take longer than the model: "
        "an app sees end_to_end_ms_p50, and less speed-up": end_to_end > 2 * median,
    }
    return [doubt for doubt, holds in doubts.items() if holds]


def _doubts_of_speedup(speedup: Interval) -> list[str]:
    margin = max(speedup.high - speedup.value, speedup.value - speedup.low)
    if margin <= SPEEDUP_LIMIT * speedup.value:
        return []
    return [
        f"the speed-up is {speedup.low:.2f} to {speedup.high:.2f} (over {SPEEDUP_LIMIT:.0%} to a side): "
        "measure for longer"
    ]
