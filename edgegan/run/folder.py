"""The files of a run folder: their names, how they are written, and reading what is there of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import UserError
from edgegan.files import write_json
from edgegan.forms import LARGEST, record, text
from edgegan.reading import Unreadable, parse_json, read_json, read_npz, read_text, refusing
from edgegan.run.figures import Figures
from edgegan.run.records import Description, Finding, Findings, StageRecord
from edgegan.run.typed import from_plain

RUN, FIGURES, LINT, RECIPE, PAGE = "run.json", "figures.json", "lint.json", "recipe.yaml", "report.html"
STAGES, SAMPLES, BUNDLE = "stages", "samples", "bundle"
RECORD = "record.json"
"""In the folder of a stage."""
REPAIR = "delete this file and run the same edgegan compress command again"

MOST_SAMPLES, LARGEST_SAMPLES = 64, 256 << 20
"""Images of one model, and bytes of those of all models together."""

T = TypeVar("T")
Losses = dict[str, list[float]]
"""Column to its values; `step` is the horizontal axis."""


@dataclass(frozen=True)
class StageFolder:
    """One stage's folder; `record` is None where the stage has not finished."""

    folder: str
    record: StageRecord | None
    losses: Losses | None


@dataclass(frozen=True)
class RunFolder:
    """What a run folder holds. `gaps` says, by part, why that part is missing."""

    path: Path
    run: Description
    figures: Figures
    lint: tuple[Finding, ...] | None
    stages: list[StageFolder]
    samples: dict[str, NDArray[np.uint8]]
    shipped: str | None
    """The precision that the bundle loads by default."""
    gaps: dict[str, str]

    @property
    def name(self) -> str:
        """What the recipe is called."""
        return self.run.name or self.path.name


def write_description(folder: Path, description: Description) -> None:
    """Write a run's `run.json`."""
    write_json(folder / RUN, description.to_dict())


def write_findings(folder: Path, findings: Findings) -> None:
    """Write a run's `lint.json`."""
    write_json(folder / LINT, findings.to_dict())


def write_figures(folder: Path, figures: Figures) -> None:
    """Write a run's `figures.json`."""
    write_json(folder / FIGURES, figures.to_dict())


def read_run(path: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        UserError: it is no run folder, the run has not finished, or a file of it is damaged.
    """
    if not path.is_dir():
        raise UserError("there is no such run folder", where=str(path), next="edgegan compress RECIPE")
    if not (path / RUN).is_file():
        raise UserError(
            "this is not a run folder: it has no run.json",
            where=str(path),
            next="edgegan compress RECIPE, then edgegan report on the run folder that it names",
        )
    run = _read(path / RUN, Description.from_dict)
    stages = [_stage(folder) for folder in sorted((path / STAGES).glob("*")) if folder.is_dir()]
    if not (path / FIGURES).is_file():
        _unfinished(path, stages)
    figures = _read(path / FIGURES, Figures.from_dict)
    gaps: dict[str, str] = {}
    samples = _samples(path / SAMPLES, [row.name for row in figures.rows], gaps)
    return RunFolder(path, run, figures, _lint(path, gaps), stages, samples, _shipped(path), gaps)


def _unfinished(path: Path, stages: list[StageFolder]) -> NoReturn:
    done = [stage.folder for stage in stages if stage.record]
    finished = f"finished stages: {', '.join(done)}" if done else "no stage has finished"
    raise UserError(
        f"the run has not finished: it has no figures.json yet ({finished})",
        where=str(path),
        next="give the edgegan compress command that began it again: it goes on where it stopped",
    )


def _read(path: Path, made: Callable[[Any], T]) -> T:
    with refusing(UserError, f"cannot read {path.name}", where=str(path), next=REPAIR):
        return made(read_json(path))


def _lint(path: Path, gaps: dict[str, str]) -> tuple[Finding, ...] | None:
    if not (path / LINT).is_file():
        gaps["lint"] = "the run folder has no lint.json"
        return None
    return _read(path / LINT, Findings.from_dict).findings


def _shipped(path: Path) -> str | None:
    def default(manifest: Any) -> str:
        record({"default": text})(manifest, "")
        return manifest["default"]

    manifest = path / BUNDLE / "manifest.json"
    return _read(manifest, default) if manifest.is_file() else None


def _stage(folder: Path) -> StageFolder:
    path = folder / RECORD
    made = _read(path, lambda data: from_plain(StageRecord, data)) if path.is_file() else None
    return StageFolder(folder.name, made, _losses(folder))


def _losses(folder: Path) -> Losses | None:
    for path, read in ((folder / "losses.csv", _csv_rows), (folder / "losses.jsonl", _jsonl_rows)):
        if path.is_file():
            try:
                return _columns(read(read_text(path)))
            except (Unreadable, csv.Error):
                return None
    return None


def _csv_rows(content: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(content.splitlines()))


def _jsonl_rows(content: str) -> list[dict[str, Any]]:
    rows = [parse_json(line) for line in content.splitlines() if line.strip()]
    return [row for row in rows if isinstance(row, dict)]


def _columns(rows: list[dict[str, Any]]) -> Losses | None:
    if len(rows) < 2:
        return None
    columns = {
        key: [float(row[key]) for row in rows]
        for key in rows[0]
        if all(_is_number(row.get(key)) for row in rows)
    }
    columns.setdefault("step", [float(index) for index in range(len(rows))])
    return columns if len(columns) > 1 else None


def _is_number(value: Any) -> bool:
    try:
        number = abs(float(value))
    except (TypeError, ValueError):
        return False
    return number <= LARGEST


def _samples(folder: Path, names: list[str], gaps: dict[str, str]) -> dict[str, NDArray[np.uint8]]:
    found = {path.stem: path for path in sorted(folder.glob("*.npz"))}
    samples: dict[str, NDArray[np.uint8]] = {}
    for name in names:
        if name not in found:
            gaps[f"samples/{name}"] = f"no samples/{name}.npz in the run folder"
            continue
        images = _images(found[name])
        if images is None:
            gaps[f"samples/{name}"] = f"samples/{name}.npz holds no uint8 images (N, H, W, 1 or 3)"
        elif images.nbytes + sum(kept.nbytes for kept in samples.values()) > LARGEST_SAMPLES:
            gaps[f"samples/{name}"] = f"the images of samples/{name}.npz are too large to show"
        else:
            samples[name] = images
    return samples


def _images(path: Path) -> NDArray[np.uint8] | None:
    """Return as many images as the page shows of one model."""
    try:
        images = read_npz(path, ["images"], 2 * LARGEST_SAMPLES)["images"]
    except Unreadable:
        return None
    fits = images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] in (1, 3) and images.size
    return np.array(images[:MOST_SAMPLES], np.uint8) if fits else None
