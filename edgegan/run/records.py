"""What a run says of itself beside its figures: its description, lint's findings, a record of each stage."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, cast

from edgegan import forms
from edgegan.run.typed import check_schema, from_plain, to_plain
from edgegan.runtime.artifact import Artifact, known

SCHEMA = 2
"""Of a run folder. Version 1, of edgegan 0.1.0, says no version, and is read as well."""
Level = Literal["info", "warning", "error"]
PROGRAM = ["edgegan", "compress"]

_DATA = forms.mapping_of(forms.anything)
_LAYER = forms.record({"layer": forms.text, "macs_share": forms.number, "psnr_db": forms.number})


def _layer(value: Any, place: str) -> None:
    """Take what one layer alone in INT8 costs."""
    _LAYER(value, place)
    for key, item in value.items():
        if key.startswith("fid_"):
            forms.maybe(forms.number)(item, forms.inside(place, key))


def _proof(value: Any, place: str) -> None:
    """Take what is proved of one file: anything, or an object, perhaps with a table of its layers."""
    if isinstance(value, dict):
        known = {"sensitivity": forms.list_of(_layer), "int8_macs_share": forms.number}
        forms.record({}, known)(value, place)


def _changed(value: Any, place: str) -> None:
    """Take what was changed of one file: anything, or an object, perhaps with its layers' precisions."""
    if isinstance(value, dict):
        forms.record({}, {"precisions": forms.maybe(_DATA)})(value, place)


@dataclass(frozen=True)
class StageRecord:
    """What one stage did: plain data, fit for JSON."""

    stage: str
    settings: dict[str, Any]
    changed: Annotated[dict[str, Any], forms.mapping_of(_changed), forms.record({}, {"widths": _DATA})]
    """What it changed: layer to kept channels, layer to scale, file to opset, and the like."""
    proof: Annotated[dict[str, Any], forms.mapping_of(_proof)]
    """What was checked of the result, and the figures of that check."""
    seconds: float = 0.0


@dataclass(frozen=True)
class KeptRecord(StageRecord):
    """A stage's `record.json`: what it did, and the files that stand for its result."""

    sha256: dict[str, str] = field(kw_only=True)
    """File to SHA-256, of all that the result is made of."""
    artifacts: tuple[Artifact, ...] = field(default=(), kw_only=True)
    """The exported models so far, their files relative to the stage's folder."""
    files: dict[str, str] = field(default_factory=dict[str, str], kw_only=True)
    """Of edgegan 0.1.0, in place of `artifacts`: name to file."""

    @property
    def exported(self) -> tuple[Artifact, ...]:
        """The exported models, whichever way they were written down."""
        return self.artifacts or tuple(known(name, file) for name, file in self.files.items())

    @property
    def record(self) -> StageRecord:
        """What the stage did, without its files."""
        return StageRecord(**{each.name: getattr(self, each.name) for each in fields(StageRecord)})


@dataclass(frozen=True)
class Finding:
    """One thing that will not prune, quantize or deploy well.

    `layer` names the layers that it is about, the first three spelled out, or is "" where it is about the
    whole model; `layers` holds the names of all where there are more.
    """

    level: Level
    layer: str
    what: str
    why: str
    next: str
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """`lint.json`: what lint and the loading of the model said."""

    findings: tuple[Finding, ...] = ()

    @classmethod
    def from_dict(cls, data: Any) -> Findings:
        """Read the content of `lint.json`; that of edgegan 0.1.0 is a list.

        Raises:
            Unreadable: it is of another form, or of a later schema.
        """
        found = cast("Any", {"findings": data} if isinstance(data, list) else data)
        check_schema(found, SCHEMA)
        return from_plain(cls, found)

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as plain data, fit for JSON."""
        return {"schema": SCHEMA, **to_plain(self)}


@dataclass(frozen=True)
class Description:
    """`run.json`: what a run is of, and what began it."""

    name: str = ""
    """The recipe's."""
    description: str = ""
    profile: str | None = None
    seed: int | None = None
    command: tuple[str, ...] = ()
    """The words of the command that does it again."""
    recipe_sha256: str = ""
    """Of `recipe.yaml`, the recipe with its profile applied."""
    edgegan: str = ""
    """The version."""
    started: str = ""
    """In ISO 8601."""
    machine: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def shell_command(self) -> str | None:
        """The command, its words quoted; None where it is none of edgegan's, for no other is handed on."""
        return shlex.join(self.command) if list(self.command[:2]) == PROGRAM else None

    @classmethod
    def from_dict(cls, data: Any) -> Description:
        """Read the content of `run.json`.

        Raises:
            Unreadable: it is of another form, or of a later schema.
        """
        check_schema(data, SCHEMA)
        return from_plain(cls, data)

    def to_dict(self) -> dict[str, Any]:
        """Return the description as plain data, fit for JSON."""
        return {"schema": SCHEMA, **to_plain(self)}
