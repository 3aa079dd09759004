"""What `edgegan bench` prints: the table of a record, its headline, and two records compared."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table
from rich.text import Text

from edgegan.evaluate.compare import Change, Comparison, QualityChange
from edgegan.evaluate.record import BenchRecord, BenchRow, Headline
from edgegan.measure.statistics import Interval
from edgegan.report import format

TIMES = ("latency_ms_p50", "latency_ms_p90", "samples_per_s", "speedup")
TITLES = {"latency_ms_p50": "p50 ms", "latency_ms_p90": "p90 ms", "samples_per_s": "samples/s"}
_STYLES = {
    **dict.fromkeys(("slower", "worse", "lost"), "red"),
    **dict.fromkeys(("faster", "better"), "green"),
    "untold": "yellow",
}


def bench_table(record: BenchRecord) -> Table:
    """Return the rows of a record for the terminal, every gap explained in a note beneath."""
    metrics, notes = _metrics(record), dict[str, int]()
    rows = [[Text(row.label), *_cells(row, (*TIMES, *metrics), notes)] for row in record.rows]
    lines = [f"{_mark(number)} {note}" for note, number in notes.items()]
    lines += [record.protocol.noise] if record.protocol.noise else []
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        caption=Text("\n".join(lines), style="dim") if lines else None,
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    titles = [TITLES.get(key, "speed-up") for key in TIMES]
    for title in (*titles, *(str(record.metrics[key].get("title", key)) for key in metrics)):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _metrics(record: BenchRecord) -> list[str]:
    """Return the most telling metric against reference data, of outputs alone, and against FP32."""
    told = [key for key in record.metrics if any(key in (*row.measured, *row.failed) for row in record.rows)]
    first = {record.metrics[key].get("needs"): key for key in reversed(told)}
    return [first[need] for need in ("reference", "outputs", "pair") if need in first]


def _cells(row: BenchRow, keys: Iterable[str], notes: dict[str, int]) -> Iterable[Text]:
    """Yield a row's figures; where there is none, its mark of a note."""
    for key in keys:
        value = row.get(key)
        if value is not None:
            yield Text(_told(value, "×" if key == "speedup" else ""))
            continue
        kind, reason = _gap(row, key)
        if reason is not None:
            notes.setdefault(reason, len(notes) + 1)
        yield Text(kind + (_mark(notes[reason]) if reason is not None else ""), style="yellow")


def _gap(row: BenchRow, key: str) -> tuple[str, str | None]:
    """Return what stands for a figure that is absent, and why it is."""
    if row.unmeasured:
        return format.MISSING, row.unmeasured
    family = "latency" if key in TIMES else "quality"
    for kind, reasons in (("withheld", row.withheld), ("failed", row.failed)):
        for name in (key, family):
            if name in reasons:
                return kind, reasons[name]
    return ("baseline", None) if row.full and family == "quality" else (format.MISSING, None)


def _told(value: Interval | float, times: str = "") -> str:
    if not isinstance(value, Interval):
        return format.number(value)
    return f"{format.number(value.value)}{times} [{format.number(value.low)}, {format.number(value.high)}]"


def _mark(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def headline(told: Headline) -> str:
    """Say in one sentence what is fastest, or why that is not said."""
    if told.speedup is None:
        return f"no headline: {told.withheld}"
    p90 = f"; 90% of calls within {format.milliseconds(told.latency_ms_p90)}" if told.latency_ms_p90 else ""
    return f"{told.row}: {_told(told.speedup, '×')} as fast as {told.relative_to}{p90}"


def comparison_table(comparison: Comparison) -> Table:
    """Return the rows of two records and what became of them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for title in ("", "speed", "times as fast", "quality"):
        table.add_column(title)
    for change in comparison.changes:
        table.add_row(change.label, _verdict(change.speed), _ratio(change), _qualities(change))
    return table


def _verdict(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def _ratio(change: Change) -> str:
    if change.ratio is None:
        return change.why or ""
    return f"{_told(change.ratio)}, by {'speed-up' if change.by == 'speedup' else 'ms'}"


def _qualities(change: Change) -> Text:
    return Text("; ").join(_quality(key, each) for key, each in change.quality.items())


def _quality(key: str, change: QualityChange) -> Text:
    now = _told(change.new) if change.new else "failed"
    return Text(f"{key} {_told(change.old)} to {now}: ").append_text(_verdict(change.verdict))
