"""The rows of `figures.json` as a table of texts, with every gap explained in a note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from edgegan.report import format
from edgegan.report.columns import Column, columns
from edgegan.report.quality import OLD, told
from edgegan.run.figures import Figures, MetricColumn, Protocol, Row

OF_LATENCY = ("speedup", "end_to_end_ms_p50", "peak_rss_mib", "load_ms")
OF_SIZE = ("params", "macs", "file_bytes")
BASELINE = "baseline"


@dataclass(frozen=True)
class Cell:
    """One cell; `note` is the number of the note that explains a missing or failed figure."""

    text: str
    detail: str = ""
    kind: Literal["value", "missing", "failed", "withheld"] = "value"
    note: int | None = None


@dataclass(frozen=True)
class RowView:
    """One row; `notes` are the numbers of the notes that hold for the row as a whole."""

    name: str
    label: str
    file: str
    stage: bool
    notes: tuple[int, ...]
    cells: tuple[Cell, ...]


@dataclass
class TableView:
    """Columns, rows, and the notes that they point to (numbered from 1)."""

    columns: list[Column]
    rows: list[RowView]
    notes: list[str]
    absent: list[str]
    """For figures that no row has: one sentence each that says why."""
    noise: str | None
    """How busy the machine was, in one sentence; None where it was quiet."""

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The columns' groups from left to right, with how many columns each spans."""
        return [
            (title, len(list(group))) for title, group in groupby(self.columns, lambda column: column.group)
        ]


@dataclass
class _Notes:
    texts: list[str] = field(default_factory=list)

    def number(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def failure(row: Row, key: str) -> str | None:
    """Return why the figure `key` of a row failed; `latency` and `quality` failed hold for all of theirs."""
    return _reason(row.failed, key)


def withheld(row: Row, key: str) -> str | None:
    """Return why the figure `key` of a row was measured, and is not told."""
    return _reason(row.withheld, key)


def _reason(failed: Mapping[str, str], key: str) -> str | None:
    family = "latency" if key in OF_LATENCY else key
    if "quality" in failed and key not in (*OF_LATENCY, *OF_SIZE) and not key.startswith("latency"):
        return failed["quality"]
    for name, reason in failed.items():
        if key == name or family == name or key.startswith(f"{name}_") or name.startswith(f"{family}_"):
            return reason
    return None


def table_view(figures: Figures, keys: Sequence[str] | None = None) -> TableView:
    """Lay out `figures` as texts.

    Args:
        figures: of a run.
        keys: the columns wanted, by key or by metric (`fid`); all by default.
    """
    rows = figures.rows
    wanted = [column for column in columns(figures) if keys is None or column.key in keys]
    present = [column for column in wanted if any(_has(row, column.key) for row in rows)]
    notes = _Notes()
    views = [_row_view(row, present, notes) for row in rows]
    known = told(figures)
    lacking = [] if keys or figures.metrics else _old_without(known)
    others = []
    for column in wanted:
        if column not in present:
            of_features = column.key in known and known[column.key].needs == "reference"
            (lacking if of_features else others).append(column.title)
    absent = _absent(lacking, others, figures.protocol)
    return TableView(present, views, notes.texts, absent, figures.protocol.noise)


def row_label(row: Row) -> str:
    """Return what a row is called."""
    return row.label or row.name or format.MISSING


def _row_view(row: Row, columns: list[Column], notes: _Notes) -> RowView:
    label = row_label(row)
    own = [f"{label}: {warning}" for warning in row.warnings]
    shown = {column.key for column in columns}
    for name, reason in row.failed.items():
        if not any(failure(Row(failed={name: reason}), key) for key in shown):
            own.append(f"{label}, {name}: failed: {reason}")
    return RowView(
        name=row.name,
        label=label,
        file=row.file,
        stage=bool(row.stage),
        notes=tuple(notes.number(text) for text in own),
        cells=tuple(_cell(row, column, notes) for column in columns),
    )


def _cell(row: Row, column: Column, notes: _Notes) -> Cell:
    value = row.get(column.key)
    if value is not None:
        text, detail = column.write(row, value)
        return Cell(text, detail)
    if row.unmeasured:
        return Cell(format.MISSING, kind="missing", note=notes.number(f"{format.MISSING} {row.unmeasured}"))
    if (reason := withheld(row, column.key)) is not None:
        return Cell("withheld", kind="withheld", note=notes.number(f"withheld: {reason}"))
    if (reason := failure(row, column.key)) is not None:
        return Cell("failed", kind="failed", note=notes.number(f"failed: {reason}"))
    if row.is_full and column.compares:
        return Cell(BASELINE, kind="missing")
    return Cell(
        format.MISSING, kind="missing", note=notes.number(f"{format.MISSING} not measured for this row")
    )


def _has(row: Row, key: str) -> bool:
    return any(found is not None for found in (row.get(key), failure(row, key), withheld(row, key)))


def _old_without(known: Mapping[str, MetricColumn]) -> list[str]:
    """Return the titles of the metrics against a reference that the figures of an older edgegan lack."""
    present = {metric.metric for metric in known.values()}
    return [each.title for each in OLD if each.needs == "reference" and each.metric not in present]


def _absent(of_features: list[str], others: list[str], protocol: Protocol) -> list[str]:
    sentences = []
    if of_features:
        reason = "no row holds them"
        if not protocol.features:
            reason = "the recipe names no feature extractor"
        elif not protocol.reference:
            reason = "the recipe names no reference statistics"
        sentences.append(f"{', '.join(of_features)}: not measured, {reason}.")
    if others:
        sentences.append(f"{', '.join(others)}: not measured, no row holds them.")
    return sentences
