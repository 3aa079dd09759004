"""One self-contained page for a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from edgegan.errors import MissingDependency
from edgegan.files import write_text
from edgegan.owned import held
from edgegan.report import format, plot, strips
from edgegan.report.folder import RunFolder, StageFolder, read_run
from edgegan.report.headline import headline
from edgegan.report.lineage import Pairs, flat, lineage, words
from edgegan.report.sensitivity import Sweep, sweeps
from edgegan.report.table_view import row_label, table_view


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder, and return its path.

    The page holds everything that it shows: no network, no other file. Equal folders give equal bytes.

    Args:
        run: a finished run folder: run.json, figures.json, and what there is of lint.json, stages/,
            samples/ and bundle/.

    Raises:
        UserError: it is no run folder, the run has not finished, or a file of it is damaged.
        StorageError: the page cannot be written, or there is a report.html that edgegan did not write.
        MissingDependency: Jinja2, Matplotlib or Pillow is not installed.
    """
    folder = read_run(run)
    path = run / "report.html"
    page = _render(folder)
    with held(run, "run", adopt=True):
        write_text(path, page)
    return path


@dataclass(frozen=True)
class GridRow:
    """One candidate's strip of samples, or the reason why there is none."""

    label: str
    strip: strips.Strip | None
    gap: str


@dataclass(frozen=True)
class LossPlot:
    """The loss curves of one stage."""

    stage: str
    svgs: list[str]


@dataclass(frozen=True)
class SweepPlot:
    """What each layer alone in INT8 costs, of one file."""

    sweep: Sweep
    svgs: list[str]


def _render(folder: RunFolder) -> str:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise MissingDependency("jinja2", extra="compress", purpose="the page of a run") from error
    environment = Environment(
        loader=PackageLoader("edgegan.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["svg"] = Markup
    style = resources.files("edgegan.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    tradeoff = plot.tradeoff(folder.figures)
    return environment.get_template("report.html.j2").render(
        run=folder,
        style=Markup(style),
        headline=headline(folder.figures, folder.shipped),
        table=table_view(folder.figures),
        tradeoff=tradeoff,
        tradeoff_svgs=[plot.tradeoff_svg(tradeoff, size) for size in (plot.WIDE, plot.NARROW)]
        if tradeoff
        else [],
        grid=_grid(folder),
        stages=lineage(folder.stages),
        sensitivities=[_sensitivities(index, stage) for index, stage in enumerate(folder.stages)],
        losses=_losses(folder),
        facts=_facts(folder),
        protocol=_protocol(folder),
        machine=_machine(folder),
        origin=_origin(folder),
        MISSING=format.MISSING,
    )


def _grid(folder: RunFolder) -> list[GridRow]:
    rows = []
    for row in folder.figures["rows"]:
        name = str(row.get("name"))
        images = folder.samples.get(name)
        strip = None if images is None else strips.strip(images[: strips.columns(images)])
        rows.append(
            GridRow(row_label(row), strip, row.get("unmeasured") or folder.gaps.get(f"samples/{name}", ""))
        )
    return rows


def _sensitivities(index: int, stage: StageFolder) -> list[SweepPlot]:
    return [
        SweepPlot(
            sweep,
            [
                plot.sensitivity_svg(sweep, size, f"sensitivity-{index}-{nth}")
                for size in (plot.WIDE, plot.NARROW)
            ],
        )
        for nth, sweep in enumerate(sweeps(stage))
    ]


def _losses(folder: RunFolder) -> list[LossPlot]:
    return [
        LossPlot(
            stage.folder,
            [plot.losses_svg(stage.losses, size, f"losses-{index}") for size in (plot.WIDE, plot.NARROW)],
        )
        for index, stage in enumerate(folder.stages)
        if stage.losses
    ]


def _facts(folder: RunFolder) -> Pairs:
    shown = ("profile", "seed", "edgegan", "edgegan_version", "version", "started")
    return [(words(key), _fact(key, folder.run[key])) for key in shown if folder.run.get(key) is not None]


def _fact(key: str, value: Any) -> str:
    if key != "started":
        return format.plain(value)
    try:
        return datetime.fromisoformat(value).strftime("%Y-%m-%d %H:%M %Z").strip()
    except (TypeError, ValueError):
        return format.plain(value)


def _protocol(folder: RunFolder) -> Pairs:
    protocol: Mapping[str, Any] = folder.figures.get("protocol") or {}
    return flat({key: value for key, value in protocol.items() if key != "machine"})


def _machine(folder: RunFolder) -> Pairs:
    protocol = folder.figures.get("protocol") or {}
    return flat(protocol.get("machine") or folder.run.get("machine") or {})


def _origin(folder: RunFolder) -> str | None:
    """Say of which recipe, by its hash, and of which edgegan the run is; None where it holds neither."""
    run = folder.run
    recipe = run.get("recipe_sha256")
    parts = [f"the recipe's SHA-256 is {recipe}"] if recipe else []
    parts += [f"made by edgegan {run['edgegan']}"] if run.get("edgegan") else []
    sentence = ", ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else None
