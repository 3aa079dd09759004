"""Two records of `edgegan bench`, row by row: faster, slower or noise; better, worse or same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgegan.errors import InputError
from edgegan.evaluate.record import BenchRecord, BenchRow
from edgegan.measure.disturbance import why_speedup_is_withheld
from edgegan.measure.statistics import Interval, ratio_of

Speed = Literal["faster", "slower", "noise", "untold", "lost", "new"]
Quality = Literal["better", "worse", "same", "lost"]

LEAST_CHANGE = {"speedup": 0.05, "ms": 0.10}
"""A smaller change of speed is noise, however sure: machines drift between two measurements, times most."""

LEAST_STARTS = 2
WORSE, UNDECIDED = 1, 3
"""Exit codes, beside 0 where nothing is slower or worse, and 2 for what the user can mend."""

_SAME_MACHINE = ("cpu", "board", "cores", "flags")
_SAME_QUALITY = ("seed", "inputs", "features", "reference")


@dataclass(frozen=True)
class QualityChange:
    """One metric of a row in both records."""

    verdict: Quality
    """"lost": measured in the old record, and failed in the new one."""
    old: Interval
    new: Interval | None


@dataclass(frozen=True)
class Change:
    """One row of two records."""

    label: str
    speed: Speed
    """"lost": measured in the old record, and absent or failed in the new one; "untold": withheld in one."""
    ratio: Interval | None = None
    """How many times faster the new one is."""
    by: Literal["speedup", "ms"] | None = None
    """What the ratio is of: speed-ups over one and the same baseline, or times."""
    why: str | None = None
    """Why the speed is untold or lost."""
    quality: Mapping[str, QualityChange] = field(default_factory=dict)
    """By the figure's key."""


@dataclass(frozen=True)
class Comparison:
    """What two records say of each other."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    """What else differs between them: versions, and metrics that cannot be compared."""

    @property
    def exit_code(self) -> int:
        """0: nothing is slower, worse or lost. 1: something is. 3: nothing is, but something is untold."""
        verdicts = {change.speed for change in self.changes}
        verdicts |= {each.verdict for change in self.changes for each in change.quality.values()}
        if verdicts & {"slower", "worse", "lost"}:
            return WORSE
        return UNDECIDED if "untold" in verdicts else 0


def compare(old: str | Path | BenchRecord, new: str | Path | BenchRecord) -> Comparison:
    """Compare two records of `edgegan bench`.

    A row is faster or slower where the 95% interval of the ratio leaves out 1, and the change is more than
    `LEAST_CHANGE`. Where both records hold the same baseline, file and engine, speed-ups over it are
    compared, and what the machine did between the two days cancels; elsewhere times are. The baseline itself,
    unchanged and run by the same edgegan, can change by noise alone. A figure of quality is better or worse
    where the two intervals do not meet.

    Raises:
        DataError: a record is damaged.
        InputError: the records are of different machines or numbers of threads.
    """
    old = old if isinstance(old, BenchRecord) else BenchRecord.read(old)
    new = new if isinstance(new, BenchRecord) else BenchRecord.read(new)
    _check_machines(old, new)
    single = len({row.bundle for row in old.rows}) == len({row.bundle for row in new.rows}) == 1
    olds, news = _by_key(old, single), _by_key(new, single)
    failed = {row.label: row.failed.get("latency") or row.unmeasured for row in new.rows if not row.ran}
    incomparable = [key for key in _SAME_QUALITY if getattr(old.protocol, key) != getattr(new.protocol, key)]
    changes: list[Change] = []
    for key, row in olds.items():
        if key in news:
            quality = {} if incomparable else dict(_qualities(row, news[key], new.metrics))
            changes.append(_speed(row, news[key], old, new, quality))
        else:
            why = failed.get(row.label) or "the new record has no such row"
            changes.append(Change(row.label, "lost", why=why))
    changes += [Change(row.label, "new") for key, row in news.items() if key not in olds]
    return Comparison(tuple(changes), tuple(_notes(old, new, incomparable)))


def _by_key(record: BenchRecord, single: bool) -> dict[tuple[Any, ...], BenchRow]:
    """Return the rows by what they are of; a bundle's name is no part of it where each record has one."""
    keys = [key for key in BenchRow.KEY if not (single and key == "bundle")]
    return {tuple(getattr(row, key) for key in keys): row for row in record.rows if row.ran}


def _baseline(row: BenchRow, record: BenchRecord) -> BenchRow | None:
    return next((each for each in record.rows if each.label == row.relative_to), None)


def _speed(
    before: BenchRow,
    after: BenchRow,
    old: BenchRecord,
    new: BenchRecord,
    quality: Mapping[str, QualityChange],
) -> Change:
    def untold(why: str) -> Change:
        return Change(before.label, "untold", why=why, quality=quality)

    for when, row in (("old", before), ("new", after)):
        if "latency" in row.withheld:
            return untold(f"withheld in the {when} record: {row.withheld['latency']}")
    over, now_over = _baseline(before, old), _baseline(after, new)
    anchor = over is not None and now_over is not None and _same_file(over, now_over)
    anchored = anchor and before is not over and after is not now_over
    unmoved = anchor and not anchored and old.created_by == new.created_by
    if anchored:
        for when, row in (("old", before), ("new", after)):
            if "speedup" in row.withheld:
                return untold(f"withheld in the {when} record: {row.withheld['speedup']}")
    by = "speedup" if anchored else "ms"
    values = [np.array(getattr(row.starts, by)) for row in (before, after)]
    cpus = [] if anchored else [np.array(row.starts.cpu_ms) for row in (before, after)]
    if min(map(len, [*values, *cpus])) < LEAST_STARTS:
        return untold("too few starts had calls that nothing interrupted")
    ratio = ratio_of(*(values[::-1] if anchored else values))
    if cpus and (reason := why_speedup_is_withheld(ratio.value, ratio_of(*cpus).value)):
        return untold(reason)
    sure = ratio.low > 1 or ratio.high < 1
    large = max(ratio.value, 1 / ratio.value) > 1 + LEAST_CHANGE[by]
    changed = sure and large and not unmoved
    verdict: Speed = "noise" if not changed else "faster" if ratio.value > 1 else "slower"
    return Change(before.label, verdict, ratio, by, quality=quality)


def _same_file(a: BenchRow, b: BenchRow) -> bool:
    return (a.sha256, a.engine_version) == (b.sha256, b.engine_version)


def _qualities(
    before: BenchRow, after: BenchRow, metrics: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, QualityChange]]:
    for key, old in before.measured.items():
        if key not in metrics or not isinstance(old, Interval):
            continue
        higher = metrics[key]["better"] == "higher"
        new = after.interval(key)
        if new is None and {key, "quality"} & set(after.failed):
            yield key, QualityChange("lost", old, None)
        elif new is not None:
            verdict: Quality = "same"
            if new.low > old.high or new.high < old.low:
                verdict = "better" if (new.value > old.value) == higher else "worse"
            yield key, QualityChange(verdict, old, new)


def _check_machines(old: BenchRecord, new: BenchRecord) -> None:
    before, after = old.protocol.machine, new.protocol.machine
    for key in _SAME_MACHINE:
        ours, theirs = before.get(key), after.get(key)
        if ours != theirs:
            raise InputError(
                f"the records are of different machines: {key} {ours!r:.60} and {theirs!r:.60}",
                where="protocol.machine",
                next="run edgegan bench for both on one machine: times of two do not compare",
            )
    if old.protocol.threads != new.protocol.threads:
        raise InputError(
            f"the records are of {old.protocol.threads} and {new.protocol.threads} threads",
            where="protocol.threads",
            next="measure both with the same --threads",
        )


def _packages(record: BenchRecord) -> Mapping[str, Any]:
    found = record.protocol.machine.get("packages")
    return found if isinstance(found, Mapping) else {}


def _notes(old: BenchRecord, new: BenchRecord, incomparable: list[str]) -> Iterator[str]:
    before, after = old.protocol.machine, new.protocol.machine
    packages = [_packages(record) for record in (old, new)]
    said = [(key, before.get(key), after.get(key)) for key in ("os", "python")]
    names = sorted({*packages[0], *packages[1]})
    said += [(name, *(each.get(name) for each in packages)) for name in names]
    said += [("made by", old.created_by, new.created_by)]
    yield from (f"{key}: {one} before, {other} now" for key, one, other in said if one != other)
    for key in incomparable:
        one, other = getattr(old.protocol, key), getattr(new.protocol, key)
        yield f"quality is not compared: {key} was {one}, and is {other}"
