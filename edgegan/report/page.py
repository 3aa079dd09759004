"""One self-contained page for a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path

from edgegan.errors import MissingDependency
from edgegan.files import write_text
from edgegan.owned import held
from edgegan.report import format, plot, strips
from edgegan.report.headline import headline
from edgegan.report.lineage import Pairs, flat, lineage
from edgegan.report.sensitivity import Sweep, sweeps
from edgegan.report.table_view import row_label, table_view
from edgegan.run.folder import PAGE, RunFolder, StageFolder, read_run


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
    path = run / PAGE
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
    for row in folder.figures.rows:
        images = folder.samples.get(row.name)
        strip = None if images is None else strips.strip(images[: strips.columns(images)])
        rows.append(
            GridRow(row_label(row), strip, row.unmeasured or folder.gaps.get(f"samples/{row.name}", ""))
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
    run = folder.run
    facts = {"profile": run.profile, "seed": run.seed, "edgegan": run.edgegan, "started": _time(run.started)}
    return [(name, format.plain(fact)) for name, fact in facts.items() if fact not in (None, "")]


def _time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return text


def _protocol(folder: RunFolder) -> Pairs:
    protocol = asdict(folder.figures.protocol)
    del protocol["machine"]
    return flat({key: value for key, value in protocol.items() if value is not None})


def _machine(folder: RunFolder) -> Pairs:
    return flat(folder.figures.protocol.machine or folder.run.machine)


def _origin(folder: RunFolder) -> str | None:
    """Say of which recipe, by its hash, and of which edgegan the run is; None where it holds neither."""
    run = folder.run
    parts = [f"the recipe's SHA-256 is {run.recipe_sha256}"] if run.recipe_sha256 else []
    parts += [f"made by edgegan {run.edgegan}"] if run.edgegan else []
    result = folder.figures.result_sha256
    parts += [f"the result's SHA-256, times apart, is {result}"] if result else []
    sentence = ", ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else None
