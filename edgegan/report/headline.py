"""What a run achieved, in four figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgegan.measure.statistics import Interval
from edgegan.report import format
from edgegan.report.quality import main_metric, title
from edgegan.report.table_view import failure, row_label, withheld
from edgegan.run.figures import Figures, MetricColumn, Protocol, Row

WORDS = {"better": "better", "worse": "worse", "plain": "within the intervals"}


@dataclass(frozen=True)
class Item:
    """One figure: large, what it is, and what stands behind it."""

    figure: str
    what: str
    detail: str
    tone: Literal["better", "worse", "plain"] = "plain"
    """Of the figure against the full model's: only what is better is shown as a success."""


@dataclass(frozen=True)
class Headline:
    """The figures of the row that ships, against the full model."""

    label: str
    items: list[Item]


def shipped_row(rows: Sequence[Row], precision: str | None) -> Row | None:
    """Return the row that the bundle loads by default; the last exported file where no bundle says which."""
    engine = rows[0].engine
    measured = [row for row in rows if row.engine == engine and not row.is_full and not row.unmeasured]
    files = [row for row in measured if not row.stage] or measured
    named = [row for row in files if precision and row.name == precision]
    return (named or files or [None])[-1]


def headline(figures: Figures, precision: str | None = None) -> Headline | None:
    """Sum up the row that ships against the full model; None where one of the two is not there."""
    rows = figures.rows
    full = next((row for row in rows if row.is_full), None)
    row = shipped_row(rows, precision)
    if full is None or row is None:
        return None
    items = [
        _times_less(full, row, "macs", ("fewer MACs", "more MACs"), format.count),
        _times_less(full, row, "file_bytes", ("smaller file", "larger file"), format.size),
        _speed(full, row, figures.protocol),
        _quality(full, row, figures),
    ]
    return Headline(row_label(row), items)


def _times_less(full: Row, row: Row, key: str, words: tuple[str, str], write: Any) -> Item:
    before, after = full.number(key), row.number(key)
    if not before or not after:
        return _gap(row, key, words[0])
    detail = f"{write(before)} → {write(after)}"
    if after > before:
        return Item(format.ratio(after / before), words[1], detail, "worse")
    return Item(format.ratio(before / after), words[0], detail, "better" if after < before else "plain")


def _speed(full: Row, row: Row, protocol: Protocol) -> Item:
    speedup = row.interval("speedup")
    if speedup is None:
        return _gap(row, "speedup", "faster")
    figure, bounds = format.speedup_parts(speedup)
    detail = bounds
    before, after = full.number("latency_ms_p50"), row.number("latency_ms_p50")
    if before is not None and after is not None:
        detail += f", {format.number(before)} → {format.number(after)} ms"
    what = "the speed" if speedup.value < 1 else "faster"
    tone = "worse" if speedup.value < 1 else "better" if speedup.low > 1 else "plain"
    return Item(figure, what if protocol.batch is None else f"{what} at batch {protocol.batch}", detail, tone)


def _quality(full: Row, row: Row, figures: Figures) -> Item:
    found = main_metric(figures)
    if found is None:
        return Item(format.MISSING, "quality", "not measured")
    key, metric = found
    theirs, ours = full.interval(key), row.interval(key)
    if metric.needs == "pair":
        what = f"{metric.unit} {metric.title} to the full model".strip()
        if ours is None:
            return _gap(row, key, what)
        figure, bounds = _parts(ours, metric)
        return Item(figure, what, bounds)
    if theirs is None or ours is None:
        return _gap(row if ours is None else full, key, metric.title)
    (before, low), (after, high) = _parts(theirs, metric), _parts(ours, metric)
    tone = _tone(theirs, ours, metric)
    return Item(f"{before} → {after}", f"{title(metric)}, {WORDS[tone]}", f"{low} → {high}", tone)


def _parts(figure: Interval, metric: MetricColumn) -> tuple[str, str]:
    return format.interval_parts(figure, scale=metric.scale)


def _tone(full: Interval, row: Interval, metric: MetricColumn) -> Literal["better", "worse", "plain"]:
    """Judge by the intervals: where they overlap, neither is better."""
    above, below = row.low > full.high, row.high < full.low
    if metric.better == "higher":
        above, below = below, above
    return "worse" if above else "better" if below else "plain"


def _gap(row: Row, key: str, what: str) -> Item:
    if reason := withheld(row, key):
        return Item("withheld", what, reason)
    if reason := failure(row, key):
        return Item("failed", what, reason, "worse")
    return Item(format.MISSING, what, "not measured")
