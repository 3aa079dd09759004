"""Where the time of a call goes: by layer, by kind of operator, and what INT8 leaves out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from rich import box
from rich.table import Table

from edgegan.evaluate.record import BenchRow
from edgegan.report import format
from edgegan.runtime.engines.layer_times import LayerTime

SHOWN = 12
"""Layers in the table, the longest first; the record has all of them."""
NAMED = 6
"""Kinds of operators in a line."""


def layer_report(row: BenchRow) -> Iterator[str | Table]:
    """Yield what to print of the layers of a row: a line, a table, lines beneath it; or why not."""
    if not row.layers:
        if row.no_layers:
            yield f"{row.label}: {row.no_layers}"
        return
    total = sum(layer.ms for layer in row.layers) or 1.0
    yield f"{row.label}: {len(row.layers)} layers take {format.milliseconds(total)}"
    yield _table(row.layers, total)
    yield f"by operator   {_operators(row.layers, total)}"
    if row.precision == "int8":
        int8 = [layer for layer in row.layers if layer.kind == "int8"]
        yield f"in INT8       {_share(int8, total)}: {_operators(int8, total)}"
        for kind, title in (("float", "not in INT8"), ("conversion", "conversions")):
            left = [layer for layer in row.layers if layer.kind == kind]
            yield f"{title:<12}  {_share(left, total)}: {_operators(left, total)}"


def _table(layers: Iterable[LayerTime], total: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("layer", no_wrap=True)
    table.add_column("operator")
    table.add_column("kind")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    longest = sorted(layers, key=lambda layer: layer.ms, reverse=True)
    for layer in longest[:SHOWN]:
        share = format.percent(layer.ms / total)
        table.add_row(layer.name, layer.operator, layer.kind, format.number(layer.ms), share)
    if rest := longest[SHOWN:]:
        ms = sum(layer.ms for layer in rest)
        table.add_row(f"{len(rest)} others", "", "", format.number(ms), format.percent(ms / total))
    return table


def _share(layers: Iterable[LayerTime], total: float) -> str:
    return format.percent(sum(layer.ms for layer in layers) / total)


def _operators(layers: Iterable[LayerTime], total: float) -> str:
    times: defaultdict[str, float] = defaultdict(float)
    for layer in layers:
        times[layer.operator] += layer.ms
    longest = sorted(times.items(), key=lambda item: item[1], reverse=True)
    told = [f"{operator} {format.percent(ms / total)}" for operator, ms in longest[:NAMED]]
    return ", ".join([*told, *(["and others"] if len(times) > NAMED else [])]) or "none"
