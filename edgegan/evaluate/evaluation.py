"""The rows of `figures.json`: what each model of a run costs, and how good its outputs are.

Every model is measured as an ONNX file on one engine. Each row is kept as soon as it is measured, so that a
broken-off evaluation goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegan import forms
from edgegan.evaluate.judge import SEED, Judge, Progress
from edgegan.evaluate.samples import write_samples
from edgegan.files import remove, sha256, write_json
from edgegan.forms import Form
from edgegan.measure.features import Extractor
from edgegan.measure.latency import Latency, noise, side_by_side
from edgegan.measure.machine import machine
from edgegan.measure.metrics import Metric, described
from edgegan.measure.outputs import paired_samples
from edgegan.measure.statistics import Interval
from edgegan.measure.turns import Runnable
from edgegan.reading import Unreadable, read_json, read_npz
from edgegan.run.figures import Figure, Figures, MetricColumn, Protocol, Row
from edgegan.run.typed import from_plain
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact
from edgegan.runtime.contract import Contract
from edgegan.runtime.cpu import processors
from edgegan.runtime.engines.registry import engine_kind, packages

REVISION = 1
"""Raised when the same figures are measured in another way, so that all are measured again."""
SAMPLES_WITHOUT_QUALITY = 1000
MOST_THREADS = 4
SECONDS = 3.0
_WARNINGS = {"warnings": forms.list_of(forms.text)}
_INTERVAL = forms.record(dict.fromkeys(("value", "low", "high"), forms.real))
_FIGURE = forms.maybe(forms.either(forms.real, _INTERVAL))
_TIMES = [key for key, value in Latency().to_dict().items() if value is None]
_QUALITY = forms.record(
    {
        "figures": forms.mapping_of(_FIGURE),
        "failed": forms.mapping_of(forms.text),
        **_WARNINGS,
    }
)
_LATENCIES = forms.mapping_of(
    forms.either(
        forms.record({"failed": forms.text, **_WARNINGS}),
        forms.record(
            {
                **dict.fromkeys(_TIMES, _FIGURE),
                **dict.fromkeys(("iterations", "disturbed"), forms.count),
                "withheld": forms.mapping_of(forms.text),
                **_WARNINGS,
            }
        ),
    )
)

Follow = Callable[[str], Progress]


def usual_threads() -> int:
    """Return how many threads engines run on unless told otherwise: at most four, as devices have."""
    return min(MOST_THREADS, processors())


@dataclass(frozen=True)
class Model:
    """One row to be: an ONNX file on an engine, and what the module that it was made of costs."""

    name: str
    label: str
    stage: str | None
    artifact: Artifact
    params: int
    """Learnable numbers."""
    macs: int
    """Multiply-accumulates of one sample."""
    unmeasured: str | None = None
    """Why it cannot be measured on this machine, where it cannot."""
    engine: str = USUAL_ENGINE

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return Path(self.artifact.file)


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


def _figure(value: Any) -> Figure | None:
    return Interval(**value) if isinstance(value, dict) else value


def _inputs_name(contract: Contract, seen: bool) -> str | None:
    files = [f"{name} {sha256(path)[:8]}" for name, path in contract.stored.items()]
    return ", ".join(files) + ("; the stages drew from them too" if seen else "") if files else None


def _versions(engine: str) -> str:
    """Return what an engine is, as "onnxruntime 1.32.0"."""
    return ", ".join(f"{name} {version}" for name, version in engine_kind(engine).versions().items())


class Evaluation:
    """Measures the models of a run, the first of them being the full one.

    Args:
        models: the full model first.
        contract: what they take and give, and how the inputs are sampled that quality is measured on.
        run: the run folder.
        samples: how many outputs are looked at; no more than there are stored inputs, where all are stored.
        seconds: how long each row's latency is measured.
        extractor: what FID and its kin are measured in.
        reference: the file of the real images' statistics in the extractor's features.
        seen: whether the stages drew from the contract's stored inputs, which the figures then say.
        metrics: what is measured; by default what suits the contract's outputs.

    Raises:
        DataError: the reference is absent, damaged, or is not of the extractor.
    """

    def __init__(
        self,
        models: Sequence[Model],
        contract: Contract,
        run: Path,
        *,
        samples: int | None = None,
        seconds: float | None = None,
        extractor: Extractor | None = None,
        reference: Path | None = None,
        seen: bool = False,
        metrics: Sequence[str | Metric] | None = None,
    ) -> None:
        self.run_folder = run
        self.all, self.models = list(models), [model for model in models if model.unmeasured is None]
        self.folder = run / "evaluation"
        self.contract = contract
        self.threads = usual_threads()
        self.seconds = SECONDS if seconds is None else seconds
        self.judge = Judge(
            self.models[0].path if self.models else None,
            contract,
            samples=samples or SAMPLES_WITHOUT_QUALITY,
            threads=self.threads,
            extractor=extractor,
            reference=reference,
            metrics=metrics,
        )
        self.samples = self.judge.samples
        self.inputs_name = _inputs_name(contract, seen)
        self.checksums = {model.name: sha256(model.path) for model in self.models}
        self.kept: set[Path] = set()

    def run(self, follow: Follow = lambda step: lambda done, total: None) -> Figures:
        """Measure the models and return their figures, with the reason for each figure that failed, and for
        each file that cannot be measured on this machine.

        Args:
            follow: called with "quality" and "latency" as these begin; returns their progress.
        """
        qualities = self._qualities(follow("quality"))
        latencies = self._latencies(follow("latency"))
        for file in self.folder.glob("*.json"):
            if file not in self.kept:
                remove(file)
        rows = tuple(
            self._facts(model)
            if model.unmeasured
            else self._row(model, qualities[model.name], latencies[model.name])
            for model in self.all
        )
        told = {key: from_plain(MetricColumn, each) for key, each in described(self.judge.columns).items()}
        return Figures(replace(self._protocol(), noise=noise(latencies.values())), rows, told)

    def _protocol(self) -> Protocol:
        return Protocol(
            engine=", ".join(_versions(engine) for engine in {model.engine: 0 for model in self.models}),
            threads=self.threads,
            batch=1,
            samples=self.samples,
            paired_samples=paired_samples(self.contract, self.samples),
            seed=SEED,
            inputs=self.inputs_name,
            latency_seconds=self.seconds,
            features=extractor.name if (extractor := self.judge.extractor) else None,
            reference=self.judge.reference_name,
            machine=machine(),
        )

    def _row(self, model: Model, scores: dict[str, Any], latency: dict[str, Any]) -> Row:
        failed = dict(scores["failed"])
        if "failed" in latency:
            failed["latency"] = latency["failed"]
        costs = {
            key: value for key, value in latency.items() if key not in ("failed", "withheld", "warnings")
        }
        measured = {key: _figure(value) for key, value in {**costs, **scores["figures"]}.items()}
        return replace(
            self._facts(model),
            measured=measured,
            withheld=latency.get("withheld", {}),
            warnings=(*latency["warnings"], *scores["warnings"]),
            failed=failed,
        )

    def _facts(self, model: Model) -> Row:
        return Row(
            name=model.name,
            label=model.label,
            stage=model.stage,
            file=model.path.name,
            precision=model.artifact.precision,
            engine=model.engine,
            params=model.params,
            macs=model.macs,
            file_bytes=model.path.stat().st_size,
            unmeasured=model.unmeasured,
        )

    def _qualities(self, progress: Progress) -> dict[str, dict[str, Any]]:
        total = len(self.models) * self.samples
        found: dict[str, dict[str, Any]] = {}
        for index, model in enumerate(self.models):
            cache = self._cache("quality", self._quality_key(model))
            samples = self.run_folder / "samples" / f"{model.name}.npz"
            content = _measured_before(cache, _QUALITY)
            if content is None or not _is_npz(samples):
                base = index * self.samples
                content = self._quality(
                    model, samples, lambda done, _, base=base: progress(base + done, total)
                )
                write_json(cache, content)
            found[model.name] = content
            progress((index + 1) * self.samples, total)
        return found

    def _quality(self, model: Model, samples: Path, progress: Progress) -> dict[str, Any]:
        content, outputs = self.judge.judge(model.artifact, progress, engine=model.engine)
        if outputs is None:
            remove(samples)
        else:
            write_samples(samples, outputs, self.contract)
        return content

    def _quality_key(self, model: Model) -> list[Any]:
        return [
            self.checksums[model.name],
            model.engine,
            self.checksums[self.models[0].name],
            self.contract.to_dict(),
            self.inputs_name,
            self.samples,
            SEED,
            extractor.sha256 if (extractor := self.judge.extractor) else None,
            self.judge.reference_name,
            [(column.name, column.metric.version) for column in self.judge.columns],
        ]

    def _latencies(self, progress: Progress) -> dict[str, dict[str, Any]]:
        """Return the latencies as they were kept; where one was withheld, all are measured again."""
        full = self.models[0].artifact
        names = {model.name: [self.checksums[model.name], model.engine] for model in self.models}
        cache = self._cache("latency", [names, self.threads, self.seconds, machine()])
        content = _measured_before(cache, _LATENCIES) or {}
        if content.keys() != names.keys() or any(latency.get("withheld") for latency in content.values()):
            measured = side_by_side(
                {model.name: Runnable(model.artifact, self.contract, model.engine) for model in self.models},
                baselines=[model.name for model in self.models if model.artifact == full],
                threads=self.threads,
                seconds=self.seconds,
                progress=progress,
            )
            content = {name: latency.to_dict() for name, latency in measured.items()}
            write_json(cache, content)
        return content

    def _cache(self, kind: str, key: Any) -> Path:
        content = json.dumps([key, REVISION, packages()], sort_keys=True)
        path = self.folder / f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"
        self.kept.add(path)
        return path
