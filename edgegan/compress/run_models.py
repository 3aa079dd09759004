"""The models of a run that `edgegan.evaluate` measures: each as an ONNX file, with what it costs."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import nn

from edgegan.compress.cost import count
from edgegan.compress.export import export_onnx
from edgegan.compress.stage import Candidate
from edgegan.evaluate.evaluation import FULL, Model
from edgegan.files import remove, sha256, write_text
from edgegan.reading import Unreadable, read_text
from edgegan.runtime.artifact import PRECISIONS, USUAL_ENGINE, Artifact
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.registry import why_not
from edgegan.version import __version__


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
    models = [Model(FULL, "full model", None, path, "fp32", **asdict(count(teacher, contract)))]
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
        costs = asdict(count(student, contract))
        models.append(Model(name, f"after {stage}", stage, path, "fp32", **costs))
    costs = asdict(count(final.student, contract))
    for artifact, unmeasured in _measured_first(final.artifacts, platform.machine()):
        name, path = artifact.name, Path(artifact.file)
        label = name.upper() + (f" (after {last})" if name == "fp32" and last else "")
        models.append(Model(name, label, None, path, name, **costs, unmeasured=unmeasured))
    return models


def _measured_first(artifacts: Sequence[Artifact], machine: str) -> list[tuple[Artifact, str | None]]:
    """Return the artifacts that ONNX Runtime is to run here, then those that it is not, and why."""
    reasons = {
        artifact: why_not(artifact, artifacts, engine=USUAL_ENGINE, machine=machine)
        for artifact in sorted(artifacts, key=lambda artifact: PRECISIONS.index(artifact.precision))
    }
    told = {of: f"not measured here: {reason}" if reason else None for of, reason in reasons.items()}
    return sorted(told.items(), key=lambda item: item[1] is not None)


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
