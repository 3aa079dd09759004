"""How long candidates take, measured side by side: each in processes of its own, in interleaved turns.

A turn runs one candidate while the others wait idle; every round gives each candidate one turn, in shuffled
order. What slows the machine for a while slows all of them, so that ratios within a round hold where times do
not. All processes are started anew several times: where memory and threads come to lie changes times too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.measure.disturbance import ADVICE, Calls, why_speedup_is_withheld, why_times_are_withheld
from edgegan.measure.statistics import Interval, repeatable
from edgegan.measure.worker import Worker, WorkerFailed
from edgegan.runtime.contract import Contract
from edgegan.runtime.cpu import processors

Floats = NDArray[np.float64]

STARTS = 5
"""How often each candidate's process is started; intervals are over these."""

ROUNDS = 3
"""Turns that each candidate gets in each of them."""

LEAST_STARTS = 3
"""A speed-up rests on this many of them at least."""

LEAST_MARGIN = 0.01
"""A speed-up's interval is no narrower than this to a side: what a few starts agree on by chance."""

CV_LIMIT = 0.10
"""Tell where the times' standard deviation passes this share of their mean (trtexec, on a GPU: 2.5%)."""

DRIFT_LIMIT = 0.10
"""Tell where the medians of the turns spread by more than this share, 10th to 90th percentile."""

DISTURBED_LIMIT = 0.10
"""Tell where more than this share of calls was interrupted."""

P99_LEAST = 100
"""Warn where p99 rests on fewer times than this."""

_LEAST_PER_TURN = 2


@dataclass(frozen=True)
class Latency:
    """What one candidate takes. Where it could not be measured, `failed` says why; the figures are None."""

    p50: float | None = None
    """Milliseconds for one batch inside the engine: half of the calls took less. p90 and p99 likewise.

    Of calls that nothing interrupted, as all times here."""
    p90: float | None = None
    p99: float | None = None
    cv: float | None = None
    """Coefficient of variation: standard deviation of the times over their mean."""
    drift: float | None = None
    """How far the turns' medians spread, 10th to 90th percentile, as a share of the median."""
    speedup: Interval | None = None
    """How many times faster than the baseline: the mean over starts of the ratio of the turns' medians. A
    repeat of the whole measurement falls within the interval 19 times in 20."""
    end_to_end_ms_p50: float | None = None
    """Milliseconds for one batch with the sampling of its input and the conversion of its images to uint8."""
    load_ms: float | None = None
    """Milliseconds from the file to a session that is ready, the engine's own import apart."""
    peak_rss_mib: float | None = None
    """Largest resident set of the candidate's process, Python and the engine included, in MiB."""
    iterations: int = 0
    """Calls that the times are of."""
    disturbed: int = 0
    """Calls that other work on the machine interrupted, and that are left out."""
    withheld: dict[str, str] = field(default_factory=dict)
    """"latency" or "speedup", where that figure would be wrong, and why."""
    warnings: list[str] = field(default_factory=list)
    """What makes a figure doubtful, in words."""
    failed: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures under their names in `figures.json`, or only `failed` and `warnings`.

        What is withheld is None.
        """
        if self.failed is not None:
            return {"failed": self.failed, "warnings": self.warnings}
        return {
            "latency_ms_p50": self.p50,
            "latency_ms_p90": self.p90,
            "latency_ms_p99": self.p99,
            "latency_cv": self.cv,
            "latency_drift": self.drift,
            "speedup": self.speedup.to_dict() if self.speedup else None,
            "end_to_end_ms_p50": self.end_to_end_ms_p50,
            "load_ms": self.load_ms,
            "peak_rss_mib": self.peak_rss_mib,
            "iterations": self.iterations,
            "disturbed": self.disturbed,
            "withheld": self.withheld,
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
        warmup_seconds: time for each candidate to run, at each start, before anything counts.
        seed: of the order of turns and of the bootstrap.
        progress: called with (steps done, steps in all).

    Returns: One `Latency` for each candidate, in the order given. A candidate whose file does not load or
        run, or whose process dies or hangs, has `failed` set; the others are measured all the same.

    Raises:
        InputError: the baseline is not among the candidates, or a number is not positive.
    """
    _check(candidates, baseline, batch, threads, seconds, warmup_seconds)
    steps = _Steps(STARTS * len(candidates) * (ROUNDS + 2), progress)
    shuffle = random.Random(seed)
    runs = {name: _Run(path) for name, path in candidates.items()}

    def shuffled() -> Iterable[_Run]:
        for run in shuffle.sample(list(runs.values()), len(runs)):
            yield run
            steps.step()

    for _ in range(STARTS):
        with ExitStack() as stack:
            for run in shuffled():
                run.start(stack, contract, batch, threads)
            for run in shuffled():
                run.turn(warmup_seconds, counts=False)
            for _ in range(ROUNDS):
                for run in shuffled():
                    run.turn(seconds / (STARTS * ROUNDS))
            for run in runs.values():
                run.weigh()
    cpus = min(threads, processors())
    return {name: _latency(run, runs[baseline], baseline, cpus) for name, run in runs.items()}


def noise(latencies: Iterable[Mapping[str, Any]]) -> str | None:
    """Return one sentence on how busy the machine was, by each `Latency.to_dict`; None where it was quiet."""
    measured = [latency for latency in latencies if "iterations" in latency]
    calls = sum(latency["iterations"] + latency["disturbed"] for latency in measured)
    disturbed = sum(latency["disturbed"] for latency in measured) / max(1, calls)
    cv = max((latency["latency_cv"] or 0.0 for latency in measured), default=0.0)
    drift = max((latency["latency_drift"] or 0.0 for latency in measured), default=0.0)
    signs = {
        f"{disturbed:.0%} of all calls were interrupted, and are left out": disturbed > DISTURBED_LIMIT,
        f"times vary by up to {cv:.0%}": cv > CV_LIMIT,
        f"medians by up to {drift:.0%} between turns": drift > DRIFT_LIMIT,
    }
    told = [sign for sign, holds in signs.items() if holds]
    return (
        f"Measured on a busy machine: {', '.join(told)}. Trust the speed-ups, not the ms." if told else None
    )


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
        self.load_ms: list[float] = []
        self.peak_rss_mib = 0.0
        self.starts: list[list[Calls]] = []
        """The turns of each start."""

    def start(self, stack: ExitStack, contract: Contract, batch: int, threads: int) -> None:
        if self.failed is not None:
            return
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
        self.load_ms.append(reply.get("load_ms", 0.0))
        self.starts.append([])

    def turn(self, seconds: float, *, counts: bool = True) -> None:
        reply = self._ask({"do": "turn", "seconds": seconds, "least": _LEAST_PER_TURN}, seconds)
        if counts and reply:
            self.starts[-1].append(Calls.of(reply))

    def weigh(self) -> None:
        self.peak_rss_mib = max(self.peak_rss_mib, self._ask({"do": "memory"}).get("peak_rss_mib", 0.0))

    @cached_property
    def calls(self) -> Calls:
        return Calls.of(*(turn for start in self.starts for turn in start))

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Which of all calls nothing interrupted."""
        return self.calls.kept(self.calls.busy)

    @cached_property
    def medians(self) -> Floats:
        """The medians of what is kept of each turn (starts, rounds); NaN where nothing is."""
        kept = [[turn.run_ms[turn.kept(self.calls.busy)] for turn in start] for start in self.starts]
        return np.array([[np.median(turn) if len(turn) else np.nan for turn in start] for start in kept])

    @cached_property
    def cpu_ms(self) -> Floats:
        """The mean CPU time of a call, interrupted or not, of each start."""
        return np.array([np.mean(np.concatenate([turn.cpu_ms for turn in start])) for start in self.starts])

    def _ask(self, request: dict[str, Any], seconds: float = 0.0) -> dict[str, Any]:
        if self.failed is not None or self._worker is None:
            return {}
        try:
            return self._worker.ask(request, seconds=seconds)
        except WorkerFailed as failure:
            self.failed = str(failure)
            self._worker.close()
            return {}


def _latency(run: _Run, baseline: _Run, baseline_name: str, cpus: int) -> Latency:
    if run.failed is not None:
        return Latency(failed=run.failed)
    kept = int(run.kept.sum())
    costs = Latency(
        load_ms=float(np.median(run.load_ms)),
        peak_rss_mib=run.peak_rss_mib,
        iterations=kept,
        disturbed=len(run.calls) - kept,
    )
    if reason := why_times_are_withheld(run.calls, kept, cpus):
        return replace(costs, withheld={"latency": reason})
    times, end_to_end = run.calls.run_ms[run.kept], float(np.median(run.calls.end_to_end_ms[run.kept]))
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    low, high = np.nanpercentile(run.medians, [10, 90])
    speedup, withheld, warnings = _speedup(run, baseline, baseline_name, cpus)
    return replace(
        costs,
        p50=p50,
        p90=p90,
        p99=p99,
        cv=float(times.std() / times.mean()),
        drift=float((high - low) / p50),
        speedup=speedup,
        end_to_end_ms_p50=end_to_end,
        withheld={"speedup": withheld} if withheld else {},
        warnings=_doubts_of_times(times, end_to_end) + warnings,
    )


def _speedup(
    run: _Run, baseline: _Run, name: str, cpus: int
) -> tuple[Interval | None, str | None, list[str]]:
    """Return the speed-up, or why it is withheld, or a warning that there is none."""
    if baseline.failed is not None:
        return None, None, [f"no speed-up: the baseline {name!r} could not be measured"]
    if run is baseline:
        return Interval(1.0, 1.0, 1.0), None, []
    if why_times_are_withheld(baseline.calls, int(baseline.kept.sum()), cpus):
        return None, f"the times of {name!r}, which it is relative to, are withheld", []
    rounds = np.log(baseline.medians / run.medians)
    starts = np.array([np.exp(np.nanmedian(row)) for row in rounds if np.isfinite(row).any()])
    if len(starts) < min(STARTS, LEAST_STARTS):
        return None, f"only {len(starts)} of {STARTS} starts had calls that nothing interrupted: {ADVICE}", []
    interval = repeatable(starts, least=LEAST_MARGIN)
    cpu = float(np.exp(np.mean(np.log(baseline.cpu_ms / run.cpu_ms))))
    reason = why_speedup_is_withheld(interval.value, cpu)
    return (None if reason else interval), reason, []


def _doubts_of_times(times: Floats, end_to_end: float) -> list[str]:
    """Return what makes the times doubtful, each with the limit that it passed."""
    doubts = {
        f"p99 rests on {len(times)} runs (fewer than {P99_LEAST}): measure for longer": len(times)
        < P99_LEAST,
        "sampling and conversion take longer than the model: "
        "an app sees end_to_end_ms_p50, and less speed-up": end_to_end > 2 * np.median(times),
    }
    return [doubt for doubt, holds in doubts.items() if holds]
