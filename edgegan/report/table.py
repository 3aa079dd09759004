"""The rows of `figures.json` for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from edgegan.report.columns import DROPPED_FIRST, SHORT, Column
from edgegan.report.quality import main_metric
from edgegan.report.table_view import Cell, TableView, table_view
from edgegan.run.figures import Figures


class FittingTable(Table):
    """A table of rows that leaves out its less telling columns, one by one, until it fits the console."""

    def __init__(self, view: TableView, dropped: Sequence[str] = ()) -> None:
        super().__init__(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
            caption=_caption(view),
            caption_justify="left",
        )
        self._view = view
        kept = [index for index, column in enumerate(view.columns) if column.key not in dropped]
        self.add_column("", no_wrap=True)
        for index in kept:
            self.add_column(_title(view.columns[index]), justify="right", no_wrap=True)
        for row in view.rows:
            label = Text(row.label).append(f" {_marks(row.notes)}" if row.notes else "", style="yellow")
            self.add_row(label, *(_text(row.cells[index]) for index in kept))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table: Table = self
        unbounded = options.update(max_width=10_000)
        for n in range(1, len(DROPPED_FIRST) + 1):
            if Measurement.get(console, unbounded, table).maximum <= options.max_width:
                break
            table = FittingTable(self._view, DROPPED_FIRST[:n])
        yield from Table.__rich_console__(table, console, options)


def rows_table(figures: Figures) -> Table:
    """Return the rows of `figures` for the terminal.

    Everything fits 120 columns; a narrower console loses columns, less telling ones first.
    """
    return FittingTable(_view(figures))


def markdown_table(figures: Figures, keys: Sequence[str] = SHORT) -> str:
    """Return the rows of `figures` as a Markdown table, notes beneath: the columns `keys` and quality."""
    view = _view(figures, keys)
    titles = list(map(_title, view.columns))
    lines = ["| | " + " | ".join(titles) + " |", "| --- |" + " ---: |" * len(titles)]
    for row in view.rows:
        cells = [_escaped(row.label) + _superscripts(row.notes)]
        cells += [
            _escaped(_joined(cell)) + _superscripts((cell.note,) if cell.note else ()) for cell in row.cells
        ]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"<sup>{number}</sup> {_escaped(note)}" for number, note in enumerate(view.notes, 1)]
    notes += map(_escaped, _sentences(view))
    return "\n".join([*lines, *(line for note in notes for line in ("", note))]) + "\n"


def _view(figures: Figures, keys: Sequence[str] = SHORT) -> TableView:
    """Lay out the columns of the short tables, of quality the most telling metric."""
    found = main_metric(figures)
    return table_view(figures, (*keys, found[0]) if found else keys)


def _title(column: Column) -> str:
    return f"{column.title} ms" if column.key.startswith("latency") else column.title


def _sentences(view: TableView) -> list[str]:
    return [*view.absent, *([view.noise] if view.noise else [])]


def _caption(view: TableView) -> Text | None:
    lines = [f"{_raised(number)} {note}" for number, note in enumerate(view.notes, 1)] + _sentences(view)
    return Text("\n".join(lines), style="dim") if lines else None


def _text(cell: Cell) -> Text:
    style = {"value": "", "missing": "dim", "failed": "red", "withheld": "yellow"}[cell.kind]
    text = Text(cell.text, style=style)
    if cell.detail.startswith("["):
        text.append(f" {cell.detail}", style="dim")
    return text.append(_marks((cell.note,) if cell.note else ()), style="yellow")


def _joined(cell: Cell) -> str:
    return f"{cell.text} {cell.detail}" if cell.detail.startswith("[") else cell.text


def _marks(notes: tuple[int, ...]) -> str:
    return " ".join(map(_raised, notes))


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _superscripts(notes: tuple[int, ...]) -> str:
    return "".join(f" <sup>{number}</sup>" for number in notes)


def _escaped(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(character, entity)
    return text
