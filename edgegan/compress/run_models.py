"""The models of a run that `edgegan.evaluate` measures: each as an ONNX file, with what it costs."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from edgegan.compress.cost import count
from edgegan.compress.export import Export, export_onnx
from edgegan.compress.stage import Candidate
from edgegan.evaluate.evaluation import Model
from edgegan.files import remove, sha256, write_text
from edgegan.reading import Unreadable, read_text
from edgegan.run.figures import FULL
from edgegan.runtime.artifact import PRECISIONS, USUAL_ENGINE, Artifact
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.registry import engine_kind, engine_kinds, why_not


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
    engines = measuring_engines()
    full = Artifact(FULL, str(_exported(teacher, contract, folder / f"{FULL}.onnx", origin)))
    costs: dict[str, Any] = asdict(count(teacher, contract))
    models = [_on(engine, full, "full model", costs) for engine in engines]
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
        artifact = Artifact(name, str(_exported(student, contract, folder / f"{name}.onnx", key)))
        models.append(Model(name, f"after {stage}", stage, artifact, **asdict(count(student, contract))))
    costs = asdict(count(final.student, contract))
    exported = list(_exports(final.artifacts, engines, f" (after {last})" if last else "", costs))
    return models + sorted(exported, key=lambda model: model.unmeasured is not None)


def measuring_engines() -> list[str]:
    """Return the engines that models are measured on: ONNX Runtime, and others on the CPU that are installed.

    Engines that are built ahead of time are left to `edgegan bench`, on the device that they are built for.
    """
    others = [kind for kind in engine_kinds() if not kind.ahead and kind.name != USUAL_ENGINE]
    return [USUAL_ENGINE, *(kind.name for kind in others if kind.check().runs)]


def _exports(
    artifacts: Sequence[Artifact], engines: Sequence[str], after: str, costs: dict[str, Any]
) -> Iterator[Model]:
    """Yield the rows of the exported files: on each engine that is to run one, or why none is here.

    FP16 is measured on the first engine only: others on the CPU compute it in FP32.
    """
    machine = platform.machine()
    for engine in engines:
        for artifact in sorted(artifacts, key=lambda of: PRECISIONS.index(of.precision)):
            label = artifact.name.upper() + (after if artifact.name == "fp32" else "")
            reasons = {each: why_not(artifact, artifacts, engine=each, machine=machine) for each in engines}
            first = engine == engines[0]
            if first and all(reasons.values()):
                told = f"not measured here: {reasons[engine]}{_missing(artifact.engine)}"
                yield Model(artifact.name, label, None, artifact, **costs, unmeasured=told)
            elif reasons[engine] is None and (first or artifact.precision != "fp16"):
                yield _on(engine, artifact, label, costs)


def _on(engine: str, artifact: Artifact, label: str, costs: dict[str, Any]) -> Model:
    """Return an artifact's row on an engine, which is named where others have a row of it too."""
    if engine == USUAL_ENGINE or artifact.engine == engine:
        return Model(artifact.name, label, None, artifact, **costs, engine=engine)
    label = f"{label} on {engine_kind(engine).title}"
    return Model(f"{artifact.name}-{engine}", label, None, artifact, **costs, engine=engine)


def _missing(engine: str | None) -> str:
    """Return what to type to have an engine that is not installed here."""
    kinds = [kind for kind in engine_kinds() if kind.name == engine and not kind.ahead]
    return "".join(f", which does not run here: {kind.check().next}" for kind in kinds if kind.check().next)


def _same(a: nn.Module, b: nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(
        mine[key].shape == theirs[key].shape and bool((mine[key] == theirs[key]).all()) for key in mine
    )


def _exported(module: nn.Module, contract: Contract, path: Path, key: str) -> Path:
    mark = path.with_suffix(".key")
    key = f"{key} {Export.revision}"
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
