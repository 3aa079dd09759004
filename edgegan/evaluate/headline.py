"""The one sentence of a record, and when it cannot be said."""

from __future__ import annotations

from collections.abc import Sequence

from edgegan.evaluate.record import BenchRow, Headline


def headline_of(rows: Sequence[BenchRow], noise: str | None) -> Headline:
    """Return the fastest row of the smallest batch against FP32; or why that cannot be said.

    It is not said where a row that might be faster still is withheld, where no row is surely faster than
    FP32, or where nothing is known of the fastest row's outputs.

    Args:
        rows: of a record.
        noise: how busy the machine was; None where it was quiet.
    """
    batch = min(row.batch for row in rows)
    single = [row for row in rows if row.batch == batch and row.ran]
    baselines = {row.relative_to for row in single} - {None}
    contenders = [row for row in single if row.label not in baselines]
    if not baselines or not contenders:
        return Headline("there is nothing to compare: it takes FP32 and another artifact or engine")
    for row in single:
        if reason := row.withheld.get("latency") or row.withheld.get("speedup"):
            return Headline(f"{row.label}: {reason}")
    told = [(speedup, row) for row in contenders if (speedup := row.interval("speedup"))]
    if not told:
        return Headline("no row has a speed-up: FP32 could not be measured")
    speedup, best = max(told, key=lambda each: each[0].value)
    if speedup.low <= 1:
        return Headline(f"nothing is surely faster than {best.relative_to}")
    if reason := best.failed.get("quality"):
        return Headline(f"the outputs of the fastest, {best.label}, could not be judged: {reason}")
    return Headline(
        row=best.label,
        relative_to=best.relative_to,
        speedup=speedup,
        latency_ms_p90=None if noise else best.number("latency_ms_p90"),
    )
