"""The columns of the tables: what each is called, and how its values are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgegan.measure.statistics import Interval
from edgegan.report import format
from edgegan.report.quality import title, told
from edgegan.run.figures import Figures, MetricColumn, Row

SHORT = ("params", "macs", "file_bytes", "latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "speedup")
"""Those of the tables for the terminal and for Markdown, beside the most telling metric."""
DROPPED_FIRST = ("latency_ms_p99", "latency_ms_p90", "params", "macs", "file_bytes")
"""Those that a narrow terminal does without, in that order."""

Texts = tuple[str, str]
"""What a cell says, and the smaller text beneath it: an interval, or nothing."""


@dataclass(frozen=True)
class Column:
    """One column: the key of the figure in a row, its title, and how a value is written."""

    key: str
    title: str
    group: str
    write: Callable[[Row, Any], Texts]
    compares: bool = False
    """Whether it compares with the full model, which has none of its own."""


def columns(figures: Figures) -> list[Column]:
    """Return the columns that a table of these figures may have, from left to right."""
    return [
        Column("params", "params", "size", lambda _, value: (format.count(value), "")),
        Column("macs", "MACs", "size", lambda _, value: (format.count(value), "")),
        Column("file_bytes", "file", "size", lambda _, value: (format.size(value), "")),
        Column("latency_ms_p50", "p50", "latency, ms", _median),
        Column("latency_ms_p90", "p90", "latency, ms", _number),
        Column("latency_ms_p99", "p99", "latency, ms", _number),
        Column("speedup", "speed-up", "latency, ms", _speedup, True),
        Column("end_to_end_ms_p50", "end to end p50", "latency, ms", _number),
        *(_quality_column(key, metric) for key, metric in told(figures).items()),
        Column("peak_rss_mib", "memory, MiB", "process", _number),
        Column("load_ms", "load, ms", "process", _number),
    ]


def _quality_column(key: str, metric: MetricColumn) -> Column:
    def write(_: Row, value: Any) -> Texts:
        return _interval(value, scale=metric.scale)

    return Column(key, title(metric), "quality", write, metric.needs == "pair")


def _number(_: Row, value: Any) -> Texts:
    return format.number(value.value if isinstance(value, Interval) else value), ""


def _speedup(_: Row, value: Any) -> Texts:
    if not isinstance(value, Interval):
        return format.ratio(value), ""
    return format.speedup_parts(value)


def _median(row: Row, value: Any) -> Texts:
    spread = row.number("latency_cv")
    return _number(row, value)[0], "" if spread is None else f"cv {format.number(100 * spread, 2)}%"


def _interval(value: Any, scale: float = 1.0) -> Texts:
    if not isinstance(value, Interval):
        return format.number(value * scale), ""
    return format.interval_parts(value, scale=scale)
