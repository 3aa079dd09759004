"""`figures.json`: what each model of a run costs and how good its outputs are, and how that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from edgegan.forms import anything, at_least_one, inside, list_of, mapping_of, maybe, positive, text
from edgegan.measure.statistics import Interval
from edgegan.run.typed import Count, check_schema, from_plain, to_plain

SCHEMA = 2
"""Of what is written. Version 1, of edgegan 0.1.0, says no version, and is read as well."""
FULL = "full"
"""The name of the full model's row."""

Figure = float | Interval


@dataclass(frozen=True)
class Row:
    """One model: which file it is, what it costs, and what was measured of it."""

    name: str = ""
    label: str = ""
    """What the tables call it."""
    stage: str | None = None
    """The stage after which the model was measured; None for the full model and for exported files."""
    file: str = ""
    precision: str = ""
    engine: str | None = None
    """What it was measured on; edgegan 0.1.0, which measured on one engine, did not say it."""
    params: Count | None = None
    """Learnable numbers."""
    macs: Count | None = None
    """Multiply-accumulates of one sample."""
    file_bytes: Count | None = None
    unmeasured: str | None = None
    """Why the file cannot be measured on this machine, where it cannot."""
    warnings: tuple[str, ...] = ()
    """What makes its figures doubtful."""
    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Figure, or "latency" or "quality" for all of these, to the reason why it could not be measured."""
    withheld: Mapping[str, str] = field(default_factory=dict[str, str])
    """Figure, or "latency", to the reason why what was measured is not told."""
    measured: Mapping[str, Figure | None] = field(default_factory=dict[str, "Figure | None"])
    """Figures by the name that carries their protocol: "latency_ms_p50", "fid_10k"."""

    @property
    def is_full(self) -> bool:
        """Whether this is the full model."""
        return self.name == FULL

    def get(self, key: str) -> Figure | None:
        """Return a figure or a cost; None where the row does not have it."""
        return getattr(self, key) if key in ("params", "macs", "file_bytes") else self.measured.get(key)

    def number(self, key: str) -> float | None:
        """Return a figure's value without its interval."""
        figure = self.get(key)
        return figure.value if isinstance(figure, Interval) else figure

    def interval(self, key: str) -> Interval | None:
        """Return a figure with its interval, which is empty where it was measured without one."""
        figure = self.get(key)
        return figure if figure is None or isinstance(figure, Interval) else Interval(figure, figure, figure)

    @classmethod
    def from_dict(cls, data: Any, place: str = "") -> Row:
        """Read a row of `figures.json`: its facts and its figures stand side by side.

        Raises:
            Unreadable: it is no row.
        """
        mapping_of(anything)(data, place)
        names = {each.name for each in fields(cls)} - {"measured"}
        facts = from_plain(cls, {key: value for key, value in data.items() if key in names}, place)
        figures = {key: value for key, value in data.items() if key not in names}
        row = replace(facts, measured=from_plain(dict[str, Figure | None], figures, place))
        if speedup := row.interval("speedup"):
            for bound, value in asdict(speedup).items():
                positive(value, inside(inside(place, "speedup"), bound))
        return row

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data, fit for JSON."""
        data = to_plain(self)
        measured = data.pop("measured")
        return {**data, **measured}


@dataclass(frozen=True)
class MetricColumn:
    """What the figures say of one metric, under the name that its figure has in the rows."""

    metric: str
    title: str
    better: Literal["higher", "lower"]
    needs: str = "pair"
    """"pair", the full model's outputs, "reference", features of real ones, or "outputs", nothing beside."""
    unit: str = ""
    scale: float = 1.0
    """What figures are multiplied by to be shown in the unit."""
    output: str = ""
    """The output that it is measured of."""


@dataclass(frozen=True)
class Protocol:
    """How the figures were measured."""

    engine: str | None = None
    threads: int | None = None
    batch: int | None = None
    samples: int | None = None
    """Outputs that quality is of."""
    paired_samples: int | None = None
    """Of these, those that are compared with the full model's one by one."""
    seed: int | None = None
    inputs: str | None = None
    """The stored inputs that quality is measured on."""
    latency_seconds: float | None = None
    """How long each row's latency was measured."""
    features: str | None = None
    """The feature extractor, and the first digits of its hash."""
    reference: str | None = None
    """The reference statistics, and the first digits of their hash."""
    machine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    noise: str | None = None
    """How busy the machine was, in one sentence; None where it was quiet."""


@dataclass(frozen=True)
class Figures:
    """The rows of a run, the full model first, and their protocol."""

    protocol: Protocol
    rows: tuple[Row, ...]
    metrics: Mapping[str, MetricColumn] = field(default_factory=dict[str, MetricColumn])
    """What was measured of quality, the most telling first; edgegan 0.1.0 did not say it."""
    result_sha256: str | None = None
    """Of all that two runs of one recipe on one machine have in common; see `edgegan.run.result`."""

    @classmethod
    def from_dict(cls, data: Any, place: str = "") -> Figures:
        """Read the content of `figures.json`, or a manifest's figures.

        Raises:
            Unreadable: it is of another form, or of a later schema.
        """
        check_schema(data, SCHEMA, place)
        rows = data.get("rows")
        list_of(anything)(rows, inside(place, "rows"))
        at_least_one(rows, inside(place, "rows"))
        protocol = from_plain(Protocol, data.get("protocol") or {}, inside(place, "protocol"))
        at = inside(place, "rows")
        made = tuple(Row.from_dict(row, f"{at}[{index}]") for index, row in enumerate(rows))
        result = data.get("result_sha256")
        maybe(text)(result, inside(place, "result_sha256"))
        metrics = from_plain(dict[str, MetricColumn], data.get("metrics", {}), inside(place, "metrics"))
        return cls(protocol, made, metrics, result)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, fit for JSON."""
        return {
            "schema": SCHEMA,
            "result_sha256": self.result_sha256,
            "protocol": to_plain(self.protocol),
            "metrics": to_plain(self.metrics),
            "rows": [row.to_dict() for row in self.rows],
        }

    def row(self, name: str) -> Row | None:
        """Return the row of that name."""
        return next((row for row in self.rows if row.name == name), None)
