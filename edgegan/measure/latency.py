"""How long candidates take, measured side by side: each in processes of its own, in interleaved turns.

A turn runs one candidate while the others wait idle; every round gives each candidate one turn, in shuffled
order. What slows the machine for a while slows all of them, so that ratios within a round hold where times do
not. All processes are started anew several times: where memory and threads come to lie changes times too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.forms import positive
from edgegan.measure.disturbance import ADVICE, why_speedup_is_withheld, why_times_are_withheld
from edgegan.measure.statistics import Interval, repeatable
from edgegan.measure.turns import Run, Runnable, take_turns
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact
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


Positive = Annotated[float, positive]


@dataclass(frozen=True)
class Starts:
    """What each start of a candidate's process gave, for comparing measurements of another day."""

    ms: tuple[Positive, ...] = ()
    """The median of the turns' medians."""
    cpu_ms: tuple[Positive, ...] = ()
    """The mean CPU time of a call, interrupted or not."""
    speedup: tuple[Positive, ...] = ()
    """The median of the turns' ratios to the baseline's."""


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
    relative_to: str | None = None
    """The baseline's name."""
    engine: str | None = None
    """The engine's name and version, as "onnxruntime 1.32.0 CPU"."""
    samples_per_s: float | None = None
    """Throughput: samples of a batch over the mean time of a call."""
    starts: Starts = Starts()
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
    withheld: dict[str, str] = field(default_factory=dict[str, str])
    """"latency" or "speedup", where that figure would be wrong, and why."""
    warnings: list[str] = field(default_factory=list[str])
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
            "samples_per_s": self.samples_per_s,
            "end_to_end_ms_p50": self.end_to_end_ms_p50,
            "load_ms": self.load_ms,
            "peak_rss_mib": self.peak_rss_mib,
            "iterations": self.iterations,
            "disturbed": self.disturbed,
            "withheld": self.withheld,
            "warnings": self.warnings,
        }


def measure_latency(
    candidates: Mapping[str, Path | Artifact],
    contract: Contract,
    *,
    baseline: str,
    engine: str = USUAL_ENGINE,
    batch: int = 1,
    threads: int = 1,
    seconds: float = 3.0,
    warmup_seconds: float = 0.2,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Latency]:
    """Measure `candidates` (name to ONNX file) on one engine, one running at a time.

    Args:
        candidates: all take and give what `contract` says.
        contract: how inputs are sampled, and which outputs are images.
        baseline: the candidate that speed-ups are relative to.
        engine: the name of one that `edgegan doctor` lists.
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
    runnables = {name: Runnable(path, contract, engine) for name, path in candidates.items()}
    return side_by_side(
        runnables,
        baselines=[baseline],
        batch=batch,
        threads=threads,
        seconds=seconds,
        warmup_seconds=warmup_seconds,
        seed=seed,
        progress=progress,
    )


def side_by_side(
    runnables: Mapping[str, Runnable],
    *,
    baselines: Sequence[str],
    batch: int = 1,
    threads: int = 1,
    seconds: float = 3.0,
    warmup_seconds: float = 0.2,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Latency]:
    """Measure models that may differ in their contracts, as `measure_latency` does.

    Args:
        baselines: speed-ups are relative to the fastest of these; without any there are none.

    Raises:
        InputError: a baseline is not among the models, or a number is not positive.
    """
    _check(runnables, baselines, batch, threads, seconds, warmup_seconds)
    runs = take_turns(
        runnables,
        batch=batch,
        threads=threads,
        seconds=seconds,
        warmup_seconds=warmup_seconds,
        starts=STARTS,
        rounds=ROUNDS,
        seed=seed,
        progress=progress,
    )
    cpus = min(threads, processors())
    baseline = min(baselines, key=lambda name: _typical_ms(runs[name], cpus), default=None)
    return {name: _latency(run, runs, baseline, batch, cpus) for name, run in runs.items()}


def noise(latencies: Iterable[Mapping[str, Any]]) -> str | None:
    """Return one sentence on how far the times hold, by each `Latency.to_dict`; None where they do.

    It speaks of a busy machine only where other work was seen: clocks and caches move times as well.
    """
    measured = [latency for latency in latencies if "iterations" in latency]
    calls = sum(latency["iterations"] + latency["disturbed"] for latency in measured)
    disturbed = sum(latency["disturbed"] for latency in measured) / max(1, calls)
    cv = max((latency["latency_cv"] or 0.0 for latency in measured), default=0.0)
    drift = max((latency["latency_drift"] or 0.0 for latency in measured), default=0.0)
    busy = disturbed > DISTURBED_LIMIT
    signs = {
        f"{disturbed:.0%} of all calls were interrupted, and are left out": busy,
        f"times vary by up to {cv:.0%}": cv > CV_LIMIT,
        f"medians by up to {drift:.0%} between turns": drift > DRIFT_LIMIT,
    }
    told = [sign for sign, holds in signs.items() if holds]
    where = "Measured on a busy machine" if busy else "Measured while times drifted"
    held = any(speedup["low"] < speedup["high"] for of in measured if (speedup := of["speedup"]))
    trust = "Trust the speed-ups, not the ms" if held else f"To trust the ms, {ADVICE}"
    return f"{where}: {', '.join(told)}. {trust}." if told else None


def _check(
    candidates: Mapping[str, Runnable],
    baselines: Sequence[str],
    batch: int,
    threads: int,
    seconds: float,
    warmup_seconds: float,
) -> None:
    for baseline in baselines:
        if baseline not in candidates:
            raise InputError(f"the baseline {baseline!r} is not among the candidates {list(candidates)}")
    for what, number in (("batch", batch), ("threads", threads), ("seconds", seconds)):
        if not number > 0:
            raise InputError(f"{what} must be more than 0, not {number}")
    if not warmup_seconds >= 0:
        raise InputError(f"warmup_seconds must be 0 or more, not {warmup_seconds}")


def _typical_ms(run: Run, cpus: int) -> float:
    """Return the median of all calls that count; infinity where there is none to tell."""
    if run.failed is not None or why_times_are_withheld(run.calls, int(run.kept.sum()), cpus):
        return math.inf
    return float(np.median(run.calls.run_ms[run.kept]))


def _latency(run: Run, runs: Mapping[str, Run], baseline: str | None, batch: int, cpus: int) -> Latency:
    if run.failed is not None:
        return Latency(failed=run.failed)
    kept = int(run.kept.sum())
    costs = Latency(
        engine=run.engine,
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
    told = replace(
        costs,
        p50=p50,
        p90=p90,
        p99=p99,
        cv=float(times.std() / times.mean()),
        drift=float((high - low) / p50),
        samples_per_s=batch * 1e3 / float(times.mean()),
        end_to_end_ms_p50=end_to_end,
        starts=Starts(_medians(run.medians), tuple(run.cpu_ms.tolist())),
        warnings=_doubts_of_times(times, end_to_end),
    )
    return told if baseline is None else _with_speedup(told, run, runs[baseline], baseline, cpus)


def _with_speedup(told: Latency, run: Run, baseline: Run, name: str, cpus: int) -> Latency:
    """Add the speed-up, or why it is withheld, or a warning that there is none."""
    told = replace(told, relative_to=name)
    if baseline.failed is not None:
        doubt = f"no speed-up: the baseline {name!r} could not be measured"
        return replace(told, warnings=[*told.warnings, doubt])
    if run is baseline:
        return replace(told, speedup=Interval(1.0, 1.0, 1.0))
    if why_times_are_withheld(baseline.calls, int(baseline.kept.sum()), cpus):
        reason = f"the times of {name!r}, which it is relative to, are withheld"
        return replace(told, withheld={"speedup": reason})
    starts = _medians(baseline.medians / run.medians)
    if len(starts) < min(STARTS, LEAST_STARTS):
        reason = f"only {len(starts)} of {STARTS} starts had calls that nothing interrupted: {ADVICE}"
        return replace(told, withheld={"speedup": reason})
    told = replace(told, starts=replace(told.starts, speedup=starts))
    interval = repeatable(np.array(starts), least=LEAST_MARGIN)
    cpu = float(np.exp(np.mean(np.log(baseline.cpu_ms / run.cpu_ms))))
    reason = why_speedup_is_withheld(interval.value, cpu)
    return replace(told, withheld={"speedup": reason}) if reason else replace(told, speedup=interval)


def _medians(turns: Floats) -> tuple[float, ...]:
    """Return the geometric median of each start's turns (starts, rounds), but of starts that have none."""
    logs = [np.log(row[np.isfinite(row)]) for row in turns]
    return tuple(float(np.exp(np.median(row))) for row in logs if len(row))


def _doubts_of_times(times: Floats, end_to_end: float) -> list[str]:
    """Return what makes the times doubtful, each with the limit that it passed."""
    doubts = {
        f"p99 rests on {len(times)} runs (fewer than {P99_LEAST}): measure for longer": len(times)
        < P99_LEAST,
        "sampling and conversion take longer than the model: "
        "an app sees end_to_end_ms_p50, and less speed-up": end_to_end > 2 * np.median(times),
    }
    return [doubt for doubt, holds in doubts.items() if holds]
