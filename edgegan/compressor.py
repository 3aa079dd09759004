"""The main job, end to end: a recipe in; a bundle, its figures and a page out."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgegan.compress.generator import load_generator
from edgegan.compress.int8_findings import int8_findings, slow_int8
from edgegan.compress.int8_targets import for_targets, untold_targets
from edgegan.compress.lint import Finding, lint
from edgegan.compress.load import load_module
from edgegan.compress.pipeline import Pipeline
from edgegan.compress.recipe_quality import RecipeQuality, evaluation_of
from edgegan.compress.run_models import models_of
from edgegan.compress.stage import Candidate, Context, Progress, Stage
from edgegan.compress.stages import build_stages, renamed_settings
from edgegan.errors import ModelError, RecipeError, did_you_mean, some
from edgegan.evaluate.evaluation import Model
from edgegan.files import remove, sha256, write_text
from edgegan.measure.machine import machine
from edgegan.module_copy import copy_of
from edgegan.owned import HeldFolder, held
from edgegan.processes import is_first_process
from edgegan.reading import Unreadable, read_json, read_npz, read_text
from edgegan.recipe import LatencySpec, ModelSpec, Recipe
from edgegan.run.figures import Figures
from edgegan.run.folder import (
    BUNDLE,
    FIGURES,
    PAGE,
    RECIPE,
    RUN,
    SAMPLES,
    STAGES,
    write_description,
    write_figures,
    write_findings,
)
from edgegan.run.records import Description, Findings
from edgegan.run.result import result_sha256
from edgegan.runtime.contract import Contract
from edgegan.runtime.sizes import read_sizes
from edgegan.version import __version__

First = tuple[Candidate, str, list[Finding]]
"""The candidate before any stage, what stands for all that it is made of, and what to say of it."""
RESULTS = (FIGURES, PAGE, BUNDLE, SAMPLES)


@dataclass(frozen=True)
class Run:
    """What a run left; `figures`, `bundle` and `report` are None where it was told to stop before them."""

    folder: Path
    stages: tuple[str, ...]
    figures: Figures | None = None
    bundle: Path | None = None
    report: Path | None = None
    following: str | None = None
    """The command that goes on where this one was told to stop."""


class Follower:
    """Told of what a run does; this one keeps quiet."""

    def findings(self, findings: Sequence[Finding]) -> None:
        """Take what lint found."""

    def say(self, text: str) -> None:
        """Take a line that the step at work has to say."""

    def begin(self, step: str, index: int, count: int, restored: bool) -> Progress:
        """Take note that step `index` of `count` begins, or is restored; return its progress."""
        return lambda done, total: None


def compress_generator(
    recipe: Recipe | str | Path,
    *,
    profile: str | None = None,
    out: str | Path | None = None,
    until: str | None = None,
    latency_seconds: float | None = None,
    targets: Sequence[str] = (),
    follower: Follower | None = None,
) -> Run:
    """Compress the generator of `recipe`, and measure and bundle the result.

    A run that was broken off goes on where it was: stages that finished are not run again, and weights, files
    and samples are, bit for bit, those of an unbroken run; only what is measured in seconds differs,
    and latencies that were withheld are measured again. Run folders can be moved: a stage may be run on
    another machine.
    Under `torchrun` all processes distil, and the first does the rest.

    Args:
        recipe: its folder, or a recipe that was read (then without `profile`).
        profile: whose overrides to apply; by default the recipe's first.
        out: the run folder: absent, empty, or a run's; by default `runs/<name>`, with `-<profile>` where that
            is not the first.
        until: the stage to stop after; by default all of it is done.
        latency_seconds: how long the latency of each row is measured; by default what the recipe says.
        targets: what to write INT8 files for, in place of the recipe's.
        follower: told of each step.

    Raises:
        RecipeError: the recipe is not well formed, or names missing files.
        ModelError: the generator cannot be built, or lint found that it cannot be compressed.
        InputError: the contract's stored inputs cannot be used.
        CheckpointError: its weights cannot be used.
        StageError: a stage failed; the run can be gone on with.
        StorageError: the disk is full, the folder is in use for something else or may not be written, or
            another process is writing it.
    """
    given = {"--profile": profile, "--out": out, "--until": until, "--latency-seconds": latency_seconds}
    words = [*given.items(), *(("--target", target) for target in targets)]
    read = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe, profile)
    read = for_targets(read, targets) if targets else read
    stages = build_stages(read)
    names = [stage.name for stage in stages]
    if until is not None and until not in names:
        raise RecipeError(
            f"the recipe has no stage {until!r}{did_you_mean(until, names)}",
            next=f"its stages: {', '.join(names)}",
        )
    if latency_seconds is not None:
        read = read.model_copy(update={"latency": LatencySpec.of(latency_seconds)})
    read.require_files()
    for contract in (read.contract, read.judged):
        contract.check_stored()
    folder = default_folder(read) if out is None else out
    apart = [read.folder, *(path for _, path in read.files())]
    with held(folder, "run", apart=apart) if is_first_process() else nullcontext() as holder:
        job = Job(read, Path(folder), follower or Follower(), until, len(stages), holder)
        run = job.run(stages, _command(recipe, read, words))
    left = [word for word in words if word[0] != "--until"]
    return replace(run, following=shlex.join(_command(recipe, read, left))) if until else run


def default_folder(recipe: Recipe) -> Path:
    """Return where a run goes unless told otherwise: each profile but the first has a folder of its own."""
    first = next(iter(recipe.profiles), None)
    return Path("runs") / (recipe.name if recipe.profile == first else f"{recipe.name}-{recipe.profile}")


def _command(recipe: Any, read: Recipe, given: Sequence[tuple[str, Any]]) -> list[str]:
    source = read.folder if isinstance(recipe, Recipe) else recipe
    options = [word for name, value in given if value is not None for word in (name, str(value))]
    return ["edgegan", "compress", str(source), *options]


class Job:
    """A run: lint, stages, evaluation, bundle and page, in a folder that is held."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        follower: Follower,
        until: str | None,
        n_stages: int,
        holder: HeldFolder | None,
    ) -> None:
        self.recipe, self.folder, self.follower, self.until = recipe, folder, follower, until
        self.holder = holder
        self.count = n_stages + (1 if until else 5)
        self.index = 0

    def run(self, stages: Sequence[Stage], command: list[str], first: First | None = None) -> Run:
        """Do what is left to do; `first` takes the place of the recipe's generator."""
        candidate, origin, said = first or _first_candidate(self.recipe)
        if self.holder:
            for name in (FIGURES, PAGE, BUNDLE):
                self.holder.check(self.folder / name)
            self._describe(command)
            self._lint(candidate, stages, said)
        pipeline = Pipeline(stages, origin=origin, follow=self._begin)
        quality, say = RecipeQuality(self.recipe), self.follower.say
        context = Context(self.folder / STAGES, self.recipe.seed, quality=quality, say=say)
        if is_first_process() and not all(
            step.finished for step in pipeline.steps(context.folder, context.seed, candidate)
        ):
            self._drop_results()
        after: list[tuple[str, str, Any]] = []
        final = candidate
        for final, step in pipeline.walk(candidate, context):
            after.append((step.stage.name, step.key, final.student))
            if step.stage.name == self.until:
                break
        names = tuple(name for name, *_ in after)
        self.follower.findings([*_left_out(final), *int8_findings(final.lineage)])
        if self.until or not is_first_process():
            return Run(self.folder, names)
        models = models_of(candidate.teacher, after, final, self.folder / "evaluation", origin=origin)
        figures = evaluation_of(self.recipe, models, self.folder).run(self._begin)
        figures = replace(figures, result_sha256=_result(final, figures))
        write_figures(self.folder, figures)
        bundle = self._bundle(final, figures, models) if final.artifacts else None
        return Run(self.folder, names, figures, bundle, self._report())

    def _begin(self, step: str, restored: bool = False) -> Progress:
        self.index += 1
        return self.follower.begin(step, self.index, self.count, restored)

    def _describe(self, command: list[str]) -> None:
        """Write `run.json`, with the time of the first start of this very recipe, and the resolved recipe."""
        resolved, file = self.recipe.to_yaml(), self.folder / RECIPE
        started = _started(self.folder / RUN, file, resolved) or datetime.now(timezone.utc).isoformat(
            timespec="seconds"
        )
        described = Description(
            name=self.recipe.name,
            description=self.recipe.description,
            profile=self.recipe.profile,
            seed=self.recipe.seed,
            command=tuple(command),
            recipe_sha256=hashlib.sha256(resolved.encode()).hexdigest(),
            edgegan=__version__,
            started=started,
            machine=machine(),
        )
        write_text(file, resolved)
        write_description(self.folder, described)

    def _lint(self, candidate: Candidate, stages: Sequence[Stage], said: Sequence[Finding]) -> None:
        self._begin("lint")
        findings = [
            *lint(candidate.teacher, candidate.contract, stages=stages),
            *said,
            *untold_targets(stages),
            *renamed_settings(self.recipe),
        ]
        write_findings(self.folder, Findings(tuple(findings)))
        self.follower.findings(findings)
        errors = [finding for finding in findings if finding.level == "error"]
        if errors:
            raise ModelError(
                some([f"{error.what}: {error.why}" for error in errors], "; "),
                where=", ".join(error.layer for error in errors if error.layer) or None,
                next=errors[0].next,
            )

    def _drop_results(self) -> None:
        for name in RESULTS:
            remove(self.folder / name)

    def _bundle(self, final: Candidate, figures: Figures, models: Sequence[Model]) -> Path:
        from edgegan.runtime.artifact import default_of
        from edgegan.runtime.bundle import write_bundle

        self._begin("bundle")
        measured = {
            row.name: speedup.to_dict() for row in figures.rows if (speedup := row.interval("speedup"))
        }
        default = default_of(final.artifacts, platform.machine(), measured)
        self.follower.findings(slow_int8(default.name, measured, final.artifacts))
        folder = self.folder / BUNDLE
        grid = self._grid(default.name)
        write_bundle(
            folder,
            name=self.recipe.name,
            contract=_with_halos(final),
            models=final.artifacts,
            default=default,
            lineage=[asdict(record) for record in final.lineage],
            figures=figures.to_dict(),
            extra_files={"samples.png": grid} if grid else {},
        )
        return folder

    def _grid(self, row: str) -> Path | None:
        from edgegan.runtime.grid import image_grid, write_png

        samples = self.folder / SAMPLES / f"{row}.npz"
        if not samples.is_file():
            return None
        path = samples.with_name("samples.png")
        write_png(path, image_grid(read_npz(samples, ["images"])["images"]))
        return path

    def _report(self) -> Path:
        from edgegan.report import write_report

        self._begin("report")
        return write_report(self.folder)


def _result(final: Candidate, figures: Figures) -> str:
    """Return the hash of what the run made."""
    paths = {**final.contract.stored, **{path.name: path for path in final.files.values()}}
    files = {name: sha256(path) for name, path in paths.items()}
    return result_sha256(_with_halos(final).to_dict(), files, final.lineage, figures)


def _with_halos(final: Candidate) -> Contract:
    """Return the contract with what `export` found out of tiles."""
    found = [record.changed["sizes"] for record in final.lineage if "sizes" in record.changed]
    return replace(final.contract, sizes=read_sizes(found[-1])) if found else final.contract


def _left_out(candidate: Candidate) -> list[Finding]:
    """Return what to say of files that were to be written and do not ship."""
    return [
        Finding("warning", f"model.{key}.onnx", "left out", f"the file {reason}", "the other files are whole")
        for record in candidate.lineage
        for key, reason in record.changed.get("left_out", {}).items()
    ]


def _first_candidate(recipe: Recipe) -> First:
    teacher, said = load_generator(recipe.model, recipe.contract, recipe.folder)
    discriminator = load_module(recipe.discriminator, recipe.folder) if recipe.discriminator else None
    specs = [_identity(spec, recipe.folder) for spec in (recipe.model, recipe.discriminator) if spec]
    stored = {name: sha256(path) for name, path in recipe.contract.stored.items()}
    content = json.dumps([specs, recipe.contract.to_dict(), stored], sort_keys=True)
    student = copy_of(teacher)
    candidate = Candidate(student, teacher, recipe.contract, discriminator)
    return candidate, hashlib.sha256(content.encode()).hexdigest(), said


def _identity(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """What a module rests on, without where it lies: its description, and its files by content."""
    source = folder / spec.callable.rpartition(":")[0]
    plain = {name for name in ("call", "noise", "outputs") if not getattr(spec, name)}
    return {
        **spec.model_dump(mode="json", exclude=plain),
        "checkpoint": sha256(folder / spec.checkpoint),
        "source": sha256(source) if source.suffix == ".py" else None,
    }


def _started(described: Path, file: Path, resolved: str) -> str | None:
    """Return when the run of the `resolved` recipe began; None where it has not, or its files are damaged."""
    try:
        same = read_text(file) == resolved
        return Description.from_dict(read_json(described)).started or None if same else None
    except Unreadable:
        return None
