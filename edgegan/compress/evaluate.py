"""The rows of `figures.json`: what each model of a run costs, and how good its outputs are.

Every model is measured as an ONNX file on one engine. Each row is kept as soon as it is measured, so that a
broken-off evaluation goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from edgegan import forms
from edgegan.compress.cost import Cost, count
from edgegan.compress.export import export_onnx
from edgegan.compress.inception import extractor_of
from edgegan.compress.stage import Candidate, FileFid, Progress
from edgegan.errors import DataError, EdgeganError
from edgegan.files import atomic_path, remove, sha256, write_json, write_text
from edgegan.forms import Form
from edgegan.measure import quality
from edgegan.measure.features import Extractor, Reference
from edgegan.measure.fid import Statistics, fid
from edgegan.measure.latency import measure_latency, noise
from edgegan.measure.machine import machine
from edgegan.reading import Unreadable, read_json, read_npz, read_text
from edgegan.recipe import Recipe
from edgegan.runtime.contract import Contract
from edgegan.runtime.cpu import processors
from edgegan.runtime.engine_choice import TENSORRT_ONLY, int8_precisions
from edgegan.version import __version__

SEED = 1
"""Of the latents that models are compared on: not the run's own, which stages may have learned from."""
CHOOSING_SEED = 2
"""Of the latents that a stage may choose by: not those of the report."""
SAMPLES_WITHOUT_QUALITY = 1000
SHOWN = 64
MOST_THREADS = 4
SECONDS = 3.0
_WARNINGS = {"warnings": forms.list_of(forms.text)}
_QUALITY = forms.record(
    {
        "figures": forms.mapping_of(forms.anything),
        "failed": forms.mapping_of(forms.text),
        **_WARNINGS,
    }
)
_LATENCIES = forms.mapping_of(forms.record(_WARNINGS))
FULL = "full"

Follow = Callable[[str], Progress]


@dataclass(frozen=True)
class Model:
    """One row to be: an ONNX file, and the module that it was made of."""

    name: str
    label: str
    stage: str | None
    path: Path
    precision: str
    cost: Cost
    unmeasured: str | None = None
    """Why it cannot be measured on this machine, where it cannot."""


def models_of(
    teacher: nn.Module,
    after: Sequence[tuple[str, str, nn.Module]],
    final: Candidate,
    folder: Path,
    *,
    origin: str,
) -> list[Model]:
    """Return the models of a run: the full one, the student after each stage that changed it, the exports.

    The last changed student has no row of its own where the FP32 export is that student.

    Args:
        teacher: the full model.
        after: (stage, key, student) for each stage, in order; the key stands for the student.
        final: the last candidate, with the exported files.
        folder: where files of models that were not exported go.
        origin: stands for the teacher.
    """
    contract = final.contract
    path = _exported(teacher, contract, folder / f"{FULL}.onnx", origin)
    models = [Model(FULL, "full model", None, path, "fp32", count(teacher, contract))]
    changed = [
        entry
        for entry, before in zip(after, [teacher, *(s for *_, s in after)])
        if not _same(entry[2], before)
    ]
    last = changed[-1][0] if changed else None
    for index, (stage, key, student) in enumerate(changed):
        if index == len(changed) - 1 and "fp32" in final.files:
            continue
        name = stage if stage not in {model.name for model in models} else f"{stage}-{index + 1}"
        path = _exported(student, contract, folder / f"{name}.onnx", key)
        models.append(Model(name, f"after {stage}", stage, path, "fp32", count(student, contract)))
    cost = count(final.student, contract)
    for precision, unmeasured in _files(final.files, platform.machine()):
        label = precision.upper() + (f" (after {last})" if precision == "fp32" and last else "")
        models.append(Model(precision, label, None, final.files[precision], precision, cost, unmeasured))
    return models


def _files(files: Collection[str], machine: str) -> list[tuple[str, str | None]]:
    """Return the exported files: those that ONNX Runtime is to run here, then those that it is not, and why.

    One INT8 file is measured: that for this processor, or that for another where it stands alone.
    """
    own, other = int8_precisions(machine)
    first = [name for name in ("fp32", "fp16", own, other) if name in files]
    reasons: dict[str, str | None] = dict.fromkeys((*first, *files))
    for name in files:
        if name.endswith(TENSORRT_ONLY):
            reasons[name] = "not measured here: it is for TensorRT on an NVIDIA GPU"
        elif name == other and own in files:
            cpus = "arm64" if name == "int8-arm64" else "x64"
            reasons[name] = f"not measured here: it is for ONNX Runtime on {cpus} CPUs, and this is {machine}"
    return sorted(reasons.items(), key=lambda item: item[1] is not None)


def _same(a: nn.Module, b: nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(
        mine[key].shape == theirs[key].shape and bool((mine[key] == theirs[key]).all()) for key in mine
    )


def _exported(module: nn.Module, contract: Contract, path: Path, key: str) -> Path:
    mark = path.with_suffix(".key")
    key = f"{key} {__version__}"
    if not (path.is_file() and _text(mark) == f"{key} {sha256(path)}"):
        remove(mark)
        export_onnx(module, contract, path)
        write_text(mark, f"{key} {sha256(path)}")
    return path


def _text(path: Path) -> str | None:
    try:
        return read_text(path)
    except Unreadable:
        return None


def _measured_before(path: Path, form: Form) -> dict[str, Any] | None:
    """Return what was kept of a measurement; None where that is absent or damaged, and is measured again."""
    try:
        content = read_json(path)
        form(content, "")
        return content
    except Unreadable:
        return None


def _is_npz(samples: Path) -> bool:
    try:
        return bool(read_npz(samples, ["images"]))
    except Unreadable:
        return False


class Evaluation:
    """Measures the models of a run, the first of them being the full one.

    Args:
        recipe: its contract and its quality.
        models: the full model first.
        run: the run folder.

    Raises:
        DataError: the extractor or the reference is absent, damaged, or they don't belong together.
    """

    def __init__(self, recipe: Recipe, models: Sequence[Model], run: Path) -> None:
        self.recipe, self.run_folder = recipe, run
        self.all, self.models = list(models), [model for model in models if model.unmeasured is None]
        self.folder = run / "evaluation"
        self.contract = recipe.judged
        self.threads = min(MOST_THREADS, processors())
        self.seconds = recipe.latency.seconds if recipe.latency else SECONDS
        wanted = recipe.quality
        asked, most = wanted.samples if wanted else SAMPLES_WITHOUT_QUALITY, self.contract.distinct()
        self.samples = asked if most is None else min(asked, most)
        self.extractor = extractor_of(recipe, threads=self.threads)
        self.reference = (
            Reference.load(recipe.path(wanted.reference), self.extractor)
            if wanted and wanted.reference and self.extractor
            else None
        )
        self.reference_name = self._reference_name()
        self.inputs_name = self._inputs_name()
        self.checksums = {model.name: sha256(model.path) for model in self.models}
        self.kept: set[Path] = set()

    def run(self, follow: Follow = lambda step: lambda done, total: None) -> dict[str, Any]:
        """Measure the models and return the content of `figures.json`, with the reason for each figure that
        failed, and for each file that cannot be measured on this machine.

        Args:
            follow: called with "quality" and "latency" as these begin; returns their progress.
        """
        qualities = self._qualities(follow("quality"))
        latencies = self._latencies(follow("latency"))
        for file in self.folder.glob("*.json"):
            if file not in self.kept:
                remove(file)
        rows = [
            {
                **self._facts(model),
                "unmeasured": model.unmeasured,
                "warnings": [],
                "failed": {},
                "withheld": {},
            }
            if model.unmeasured
            else self._row(model, qualities[model.name], latencies[model.name])
            for model in self.all
        ]
        return {"protocol": {**self._protocol(), "noise": noise(latencies.values())}, "rows": rows}

    def _protocol(self) -> dict[str, Any]:
        return {
            "engine": f"onnxruntime {metadata.version('onnxruntime')} CPU",
            "threads": self.threads,
            "batch": 1,
            "samples": self.samples,
            "paired_samples": quality.paired_samples(self.contract, self.samples),
            "seed": SEED,
            "inputs": self.inputs_name,
            "latency_seconds": self.seconds,
            "features": self.extractor.name if self.extractor else None,
            "reference": self.reference_name,
            "machine": machine(),
        }

    def _reference_name(self) -> str | None:
        if self.reference is None or self.recipe.quality is None or self.recipe.quality.reference is None:
            return None
        file = self.recipe.path(self.recipe.quality.reference)
        return f"{file.name} {sha256(file)[:8]} ({self.reference.statistics.n} images)"

    def _inputs_name(self) -> str | None:
        files = [f"{name} {sha256(path)[:8]}" for name, path in self.contract.stored.items()]
        seen = "; the stages drew from them too" if self.contract == self.recipe.contract else ""
        return ", ".join(files) + seen if files else None

    def _row(self, model: Model, scores: dict[str, Any], latency: dict[str, Any]) -> dict[str, Any]:
        failed = dict(scores["failed"])
        if "failed" in latency:
            failed["latency"] = latency["failed"]
        costs = {key: value for key, value in latency.items() if key not in ("failed", "warnings")}
        return {
            **self._facts(model),
            "withheld": {},
            **costs,
            **scores["figures"],
            "warnings": [*latency["warnings"], *scores["warnings"]],
            "failed": failed,
        }

    def _facts(self, model: Model) -> dict[str, Any]:
        return {
            "name": model.name,
            "label": model.label,
            "stage": model.stage,
            "file": model.path.name,
            "precision": model.precision,
            "params": model.cost.params,
            "macs": model.cost.macs,
            "file_bytes": model.path.stat().st_size,
        }

    def _qualities(self, progress: Progress) -> dict[str, dict[str, Any]]:
        total = len(self.models) * self.samples
        found: dict[str, dict[str, Any]] = {}
        for index, model in enumerate(self.models):
            cache = self._cache("quality", self._quality_key(model))
            samples = self.run_folder / "samples" / f"{model.name}.npz"
            content = _measured_before(cache, _QUALITY)
            if content is None or not (self.contract.outputs[0].layout != "CHW" or _is_npz(samples)):
                base = index * self.samples
                content = self._quality(
                    model, samples, lambda done, _, base=base: progress(base + done, total)
                )
                write_json(cache, content)
            found[model.name] = content
            progress((index + 1) * self.samples, total)
        return found

    def _quality(self, model: Model, samples: Path, progress: Progress) -> dict[str, Any]:
        try:
            outputs = self._collect(model, self.reference is not None, progress)
            full = None if model.name == FULL else self._full
        except EdgeganError as error:
            remove(samples)
            return {"figures": {}, "failed": {"quality": error.what}, "warnings": []}
        if model.name == FULL:
            self.__dict__.setdefault("_full", outputs)
        if outputs.kept.dtype == np.uint8:
            with atomic_path(samples) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, images=outputs.kept[:SHOWN])
        scores = quality.score(
            outputs, full, self.reference, samples=self.samples, wanted=self.reference is not None
        )
        return {"figures": scores.figures, "failed": scores.failed, "warnings": scores.warnings}

    @cached_property
    def _full(self) -> quality.Outputs:
        return self._collect(self.models[0], False, lambda done, total: None)

    def _collect(self, model: Model, features: bool, progress: Progress) -> quality.Outputs:
        return quality.collect(
            model.path,
            self.contract,
            samples=self.samples,
            seed=SEED,
            extractor=self.extractor if features else None,
            threads=self.threads,
            progress=progress,
        )

    def _quality_key(self, model: Model) -> list[Any]:
        return [
            self.checksums[model.name],
            self.checksums[self.models[0].name],
            self.contract.to_dict(),
            self.inputs_name,
            self.samples,
            SEED,
            self.extractor.sha256 if self.extractor else None,
            self.reference_name,
        ]

    def _latencies(self, progress: Progress) -> dict[str, dict[str, Any]]:
        """Return the latencies as they were kept; where one was withheld, all are measured again."""
        names = {model.name: self.checksums[model.name] for model in self.models}
        cache = self._cache("latency", [names, self.threads, self.seconds, machine()])
        content = _measured_before(cache, _LATENCIES) or {}
        if content.keys() != names.keys() or any(latency.get("withheld") for latency in content.values()):
            measured = measure_latency(
                {model.name: model.path for model in self.models},
                self.contract,
                baseline=self.models[0].name,
                threads=self.threads,
                seconds=self.seconds,
                progress=progress,
            )
            content = {name: latency.to_dict() for name, latency in measured.items()}
            write_json(cache, content)
        return content

    def _cache(self, kind: str, key: Any) -> Path:
        content = json.dumps([key, __version__, metadata.version("onnxruntime")], sort_keys=True)
        path = self.folder / f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"
        self.kept.add(path)
        return path


def file_fid(recipe: Recipe) -> FileFid | None:
    """Return what measures the FID that stages choose by; None where the recipe has no reference.

    Raises (when called, not here):
        DataError: the extractor or the reference is absent, damaged, or they don't belong together, or the
            outputs are no images.
        ModelError: ONNX Runtime cannot load or run the file.
    """
    wanted = recipe.quality
    if wanted is None or wanted.reference is None:
        return None
    threads, file = min(MOST_THREADS, processors()), recipe.path(wanted.reference)

    @cache
    def measure() -> tuple[Extractor, Reference]:
        extractor = extractor_of(recipe, threads=threads)
        assert extractor is not None
        return extractor, Reference.load(file, extractor)

    def score(path: Path, samples: int, optimized: bool) -> float:
        extractor, reference = measure()
        outputs = quality.collect(
            path,
            recipe.contract,
            samples=samples,
            seed=CHOOSING_SEED,
            extractor=extractor,
            threads=threads,
            optimized=optimized,
        )
        if outputs.features is None:
            raise DataError("the first output is not an image, so it has no FID", where="contract")
        return fid(Statistics.of(outputs.features), reference.statistics)

    return score
