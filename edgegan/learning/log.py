"""Figures by step, as a CSV file or as JSON lines; on resuming, what is past the resumed step goes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

from edgegan.files import write_text
from edgegan.reading import Unreadable, parse_json, read_text

LARGEST = 1 << 28
Row = dict[str, float]
"""The figures of a step, and under "step" the steps done."""


class Log:
    """The rows so far, in `path`: `.csv`, where all rows have the same figures, or `.jsonl`.

    Of several processes only the first `writes`.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path, self.writes, self.rows = path, writes, list[Row]()

    def resume(self, done: int) -> None:
        """Take up the rows of the file up to step `done`; a damaged file has none: it is for a plot."""
        try:
            text = read_text(self.path, LARGEST) if done else ""
        except Unreadable:
            text = ""
        rows = _csv_rows(text) if self.path.suffix == ".csv" else _json_rows(text)
        self.rows = [row for row in rows if row["step"] <= done]

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a row and write the file.

        Raises:
            StorageError: the file cannot be written.
        """
        self.rows.append({"step": step, **figures})
        if not self.writes:
            return
        if self.path.suffix == ".csv":
            write_text(self.path, _csv(self.rows))
        else:
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv_rows(text: str) -> list[Row]:
    try:
        numbers = [
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(text.splitlines())
        ]
        return [{**row, "step": int(row["step"])} for row in numbers]
    except (csv.Error, ValueError, TypeError, KeyError, OverflowError):
        return []


def _json_rows(text: str) -> list[Row]:
    return [row for line in text.splitlines() if (row := _json_row(line)) is not None]


def _json_row(line: str) -> Row | None:
    try:
        row = parse_json(line)
    except Unreadable:
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None
