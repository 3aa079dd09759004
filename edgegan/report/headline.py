"""What a run achieved, in four figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgegan.measure.statistics import Interval
from edgegan.report import format
from edgegan.report.table_view import failure, quality_key, row_label, withheld
from edgegan.run.figures import Figures, Protocol, Row

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
        _quality(full, row, rows),
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


def _quality(full: Row, row: Row, rows: Sequence[Row]) -> Item:
    key = quality_key(rows, "fid")
    if key is None:
        return _paired(row)
    what = key.upper().replace("_", "-").replace("K", "k")
    theirs, ours = full.interval(key), row.interval(key)
    if theirs is None or ours is None:
        return _gap(row if ours is None else full, key, what)
    (before, low), (after, high) = map(format.interval_parts, (theirs, ours))
    tone = _fid_tone(theirs, ours)
    return Item(f"{before} → {after}", f"{what}, {WORDS[tone]}", f"{low} → {high}", tone)


def _fid_tone(full: Interval, row: Interval) -> Literal["better", "worse", "plain"]:
    """Judge by the intervals: where they overlap, neither is better."""
    if row.low > full.high:
        return "worse"
    return "better" if row.high < full.low else "plain"


def _paired(row: Row) -> Item:
    what = "dB PSNR to the full model"
    psnr = row.interval("psnr_db")
    if psnr is None:
        return _gap(row, "psnr_db", what)
    figure, bounds = format.interval_parts(psnr)
    return Item(figure, what, bounds)


def _gap(row: Row, key: str, what: str) -> Item:
    if reason := withheld(row, key):
        return Item("withheld", what, reason)
    if reason := failure(row, key):
        return Item("failed", what, reason, "worse")
    return Item(format.MISSING, what, "not measured")
