"""Artifacts on engines, measured: how good, how fast, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegan.errors import EdgeganError
from edgegan.evaluate.judge import SEED, Judge, Progress
from edgegan.evaluate.record import BenchRow
from edgegan.evaluate.sources import Source
from edgegan.files import sha256
from edgegan.measure.latency import Latency, side_by_side
from edgegan.measure.turns import Runnable
from edgegan.reading import Unreadable
from edgegan.run.figures import Figure
from edgegan.run.typed import from_plain
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.engines.base import Options
from edgegan.runtime.engines.layer_times import WARMUP
from edgegan.runtime.engines.registry import engine_kind

Content = dict[str, Any]
MOST_PROFILED = 200
"""Calls that layers are told of, at most."""


@dataclass(frozen=True)
class Candidate:
    """An artifact on an engine; or one that no engine is to run here."""

    source: Source
    artifact: Artifact
    engine: str
    prefix: str = ""
    """What tells its bundle from others, in labels."""
    unmeasured: str | None = None
    """Why it is not measured here."""

    @property
    def full(self) -> bool:
        """Whether it is the FP32, or first file, that speed-ups can be relative to."""
        return self.artifact == self.source.full

    def label(self, batch: int) -> str:
        """Return what its row is called."""
        name = self.prefix + self.artifact.name
        return name if self.unmeasured else f"{name} on {self.engine}, batch {batch}"

    def row(
        self,
        batch: int,
        *,
        latency: Latency | None = None,
        scores: Mapping[str, Any] | None = None,
        layers: Mapping[str, Any] | None = None,
        full: bool = False,
    ) -> BenchRow:
        """Return its row at a batch size: what was measured, and the reasons of all gaps.

        Args:
            batch: samples in a call.
            latency: how fast it is.
            scores: as `Judge.judge` tells how good it is.
            layers: `layers`, or `no_layers`, which says why there are none.
            full: whether the others of its bundle are compared with its outputs.
        """
        told = latency.to_dict() if latency else {}
        judged = scores or {"figures": {}, "failed": {}, "warnings": []}
        figures = {key: told[key] for key in told if key not in ("failed", "withheld", "warnings")}
        path = Path(self.artifact.file)
        measured, absurd = _checked({**figures, **judged["figures"]})
        failed = {"latency": told["failed"]} if "failed" in told else {}
        return BenchRow(
            name=self.artifact.name,
            label=self.label(batch),
            file=path.name,
            precision=self.artifact.precision,
            file_bytes=path.stat().st_size,
            unmeasured=self.unmeasured,
            warnings=(*told.get("warnings", ()), *judged["warnings"]),
            failed={**judged["failed"], **failed, **absurd},
            withheld=told.get("withheld", {}),
            measured=measured,
            bundle=self.source.name,
            engine=self.engine,
            engine_version=latency.engine if latency else None,
            batch=batch,
            sha256=sha256(path),
            full=full,
            relative_to=latency.relative_to if latency else None,
            **({"starts": latency.starts} if latency else {}),
            **(layers or {}),
        )


def _checked(figures: Mapping[str, Any]) -> tuple[dict[str, Figure | None], dict[str, str]]:
    """Return the figures that a record can hold, and why the others are none."""
    measured: dict[str, Figure | None] = {}
    absurd: dict[str, str] = {}
    for key, value in figures.items():
        try:
            measured |= from_plain(dict[str, Figure | None], {key: value})
        except Unreadable as error:
            absurd[key] = str(error)
    return measured, absurd


def candidates_of(sources: Sequence[Source], engines: Sequence[str]) -> list[Candidate]:
    """Return what to measure; and of each artifact that no engine is to run, one that says why."""
    found = []
    for source in sources:
        prefix = f"{source.name} " if source.name and len(sources) > 1 else ""
        for artifact in source.wanted:
            reasons = {engine: source.unmeasured(artifact, engine) for engine in engines}
            able = [engine for engine, reason in reasons.items() if reason is None]
            found += [Candidate(source, artifact, engine, prefix) for engine in able]
            if not able:
                why = reasons.get(artifact.engine or "") or next(iter(reasons.values()))
                why = f"not measured here: {why}"
                found.append(Candidate(source, artifact, artifact.engine or "", prefix, why))
    return found


def qualities(
    candidates: Sequence[Candidate], judges: Mapping[str, Judge], progress: Progress
) -> list[Content]:
    """Return what the judges, by bundle, say of each candidate's outputs."""
    total, base = sum(judges[candidate.source.name].samples for candidate in candidates), 0
    found: list[Content] = []
    for candidate in candidates:
        judge = judges[candidate.source.name]
        content, _ = judge.judge(
            candidate.artifact,
            lambda done, _, base=base: progress(base + done, total),
            engine=candidate.engine,
        )
        found.append(content)
        base += judge.samples
        progress(base, total)
    return found


def latencies(
    candidates: Sequence[Candidate],
    first: Source,
    batches: Sequence[int],
    *,
    threads: int,
    seconds: float,
    progress: Progress,
) -> dict[str, Latency]:
    """Measure each batch size by itself, all candidates side by side; return what they take by label.

    Speed-ups are relative to FP32 of the `first` bundle, on the engine that runs it fastest.
    """
    found: dict[str, Latency] = {}
    for index, batch in enumerate(batches):
        labels = {candidate.label(batch): candidate for candidate in candidates}
        runnables = {
            label: Runnable(candidate.artifact, candidate.source.contract, candidate.engine)
            for label, candidate in labels.items()
        }
        found |= side_by_side(
            runnables,
            baselines=[label for label, each in labels.items() if each.full and each.source == first],
            batch=batch,
            threads=threads,
            seconds=seconds,
            progress=lambda done, total, index=index: progress(index * total + done, len(batches) * total),
        )
    return found


def layers(candidate: Candidate, batch: int, *, threads: int, seconds: float) -> Content:
    """Return `layers`, where a call's time goes by the engine's own profiler; or `no_layers`, why not."""
    contract = candidate.source.contract
    try:
        kind = engine_kind(candidate.engine)
        path = Path(candidate.artifact.file)
        with kind.open(candidate.artifact, path, Options(threads, profiled=True)) as engine:
            end = time.monotonic() + seconds
            for call in range(MOST_PROFILED):
                engine(contract.sample(batch, SEED + call))
                if call >= WARMUP and time.monotonic() > end:
                    break
            times = engine.layer_times()
    except EdgeganError as error:
        return {"no_layers": error.what}
    return {"layers": times} if times else {"no_layers": f"{kind.title} does not tell where its time goes"}
