"""`record.json` of `edgegan bench`: what was measured, how, on which machine, and what can be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

from edgegan.errors import DataError, StorageError
from edgegan.files import storage_errors, write_bytes, write_json
from edgegan.forms import anything, list_of, mapping_of, record, text
from edgegan.measure.latency import Starts
from edgegan.measure.statistics import Interval
from edgegan.reading import Unreadable, read_json
from edgegan.run.figures import Protocol, Row
from edgegan.run.typed import check_schema, from_plain
from edgegan.runtime.engines.layer_times import LayerTime

KIND = "edgegan bench"
SCHEMA = 1


@dataclass(frozen=True)
class BenchRow(Row):
    """One artifact on one engine at one batch size; `name` is the artifact's."""

    bundle: str = ""
    """The bundle's name; "" of a bare ONNX file."""
    engine: str = ""
    engine_version: str | None = None
    batch: int = 1
    sha256: str = ""
    """Of the file."""
    full: bool = False
    """Whether its outputs are those that the others of the bundle are compared with."""
    relative_to: str | None = None
    """The label of the row that the speed-up is over."""
    starts: Starts = field(default_factory=Starts)
    """What each start of the process gave, for comparing two records."""
    layers: tuple[LayerTime, ...] = ()
    """Where a call's time goes, where that was asked for."""
    no_layers: str | None = None
    """Why the engine does not tell."""

    @property
    def is_full(self) -> bool:
        """Whether it is what the others are compared with."""
        return self.full

    @property
    def ran(self) -> bool:
        """Whether the engine ran it here."""
        return self.unmeasured is None and "latency" not in self.failed

    KEY: ClassVar[tuple[str, ...]] = ("bundle", "name", "engine", "batch")


@dataclass(frozen=True)
class Headline:
    """The one sentence: the fastest artifact against FP32; or why it cannot be said."""

    withheld: str | None = None
    row: str | None = None
    """The label of the fastest row."""
    relative_to: str | None = None
    """The label of the row that it is faster than."""
    speedup: Interval | None = None
    latency_ms_p90: float | None = None
    """Of one call, as MLPerf's single stream tells it; None on a busy machine, where only ratios hold."""


@dataclass(frozen=True)
class BenchRecord:
    """What `edgegan.bench` measured."""

    protocol: Protocol
    metrics: Mapping[str, Mapping[str, Any]]
    """Of each figure of quality: title, unit, which way is `better`, and what it needs."""
    rows: tuple[BenchRow, ...]
    headline: Headline
    created_by: str
    made: str
    """When, in UTC, as ISO 8601 writes it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data, fit for JSON."""
        head = {"kind": KIND, "schema": SCHEMA, "created_by": self.created_by, "made": self.made}
        rows = [row.to_dict() for row in self.rows]
        return {
            **head,
            "headline": asdict(self.headline),
            "protocol": asdict(self.protocol),
            "metrics": dict(self.metrics),
            "rows": rows,
        }

    @classmethod
    def from_dict(cls, data: Any) -> BenchRecord:
        """Read a record's plain data.

        Raises:
            Unreadable: it is no record, or of a later schema.
        """
        record({})(data, "")
        if data.get("kind") != KIND:
            raise Unreadable(f"it is no record of {KIND}")
        check_schema(data, SCHEMA)
        metric = record({"better": text}, {"title": text, "needs": text})
        needed = {"rows": list_of(anything), "metrics": mapping_of(metric)}
        record({**needed, "protocol": anything, "headline": anything})(data, "")
        rows = [
            cast("BenchRow", BenchRow.from_dict(row, f"rows[{index}]"))
            for index, row in enumerate(data["rows"])
        ]
        return cls(
            protocol=from_plain(Protocol, data["protocol"], "protocol"),
            metrics=data["metrics"],
            rows=tuple(rows),
            headline=from_plain(Headline, data["headline"], "headline"),
            created_by=from_plain(str, data.get("created_by", ""), "created_by"),
            made=from_plain(str, data.get("made", ""), "made"),
        )

    @classmethod
    def read(cls, path: str | Path) -> BenchRecord:
        """Read a record.

        Raises:
            DataError: the file is absent, damaged, or no record.
        """
        try:
            return cls.from_dict(read_json(Path(path)))
        except Unreadable as error:
            raise DataError(
                f"the record cannot be read: {error}",
                where=str(path),
                next="make one with edgegan bench BUNDLE --out FILE",
            ) from error

    def write(self, path: Path) -> None:
        """Write the record to `path`, in place of another record or of nothing.

        Raises:
            StorageError: there is another file, or it cannot be written.
        """
        check_free(path)
        write_json(path, self.to_dict())


def check_free(path: Path) -> None:
    """Raise `StorageError` where no record can be at `path`: before hours of work."""
    with storage_errors(path):
        there = path.exists()
    if there:
        try:
            BenchRecord.read(path)
        except DataError as error:
            raise StorageError(
                "there is a file of this name that is no record of edgegan bench",
                where=str(path),
                next="give another --out",
            ) from error
    else:
        write_bytes(path, b"")
        path.unlink()
