"""Which kinds of engines there are: ours, and those of installed packages.

A package adds one by a class of `EngineKind` without arguments, in its pyproject.toml:

    [project.entry-points."edgegan.engines"]
    mine = "my_package.engine:MyEngineKind"
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from edgegan.errors import InputError, ModelError, did_you_mean
from edgegan.runtime.artifact import USUAL_ENGINE, Artifact, choose
from edgegan.runtime.engines.base import Check, Engine, EngineKind, Options

GROUP = "edgegan.engines"
_CPUS = {"x86_64": "x64", "aarch64": "arm64"}
_OURS = {
    "onnxruntime": "edgegan.runtime.engines.onnxruntime:OnnxRuntime",
    "openvino": "edgegan.runtime.engines.openvino:OpenVino",
    "tensorrt": "edgegan.runtime.engines.tensorrt.kind:TensorRTKind",
}


def engine_names() -> list[str]:
    """Return the names of all kinds of engines, in the order in which they are asked whether they can run."""
    return [*_OURS, *_others()]


def engine_kinds() -> list[EngineKind]:
    """Return all kinds of engines, in the order of `engine_names`."""
    return [engine_kind(name) for name in engine_names()]


@cache
def engine_kind(name: str) -> EngineKind:
    """Return the kind of engine of this name.

    Raises:
        InputError: there is none.
    """
    if name in _OURS:
        module, _, kind = _OURS[name].partition(":")
        return getattr(importlib.import_module(module), kind)()
    others = _others()
    if name not in others:
        names = ["auto", *_OURS, *others]
        raise InputError(
            f"there is no engine {name!r:.80}{did_you_mean(name, names)}",
            next=f"choose one of {', '.join(names)}",
        )
    try:
        return others[name].load()()
    except Exception as error:  # whatever a stranger's package raises; the doctor tells of it
        return _Broken(name, others[name].value, f"{type(error).__name__}: {error}")


def open_artifact(
    file: Artifact | str | Path, engine: str = USUAL_ENGINE, *, threads: int | None = None
) -> Engine:
    """Load a file where it lies; a plain path is a model for any engine.

    Raises:
        InputError: there is no such engine, or see `EngineKind.open`.
        MissingDependency: see `EngineKind.open`, as for the others.
        ModelError: it cannot be loaded.
    """
    path = Path(file.file if isinstance(file, Artifact) else file)
    artifact = file if isinstance(file, Artifact) else Artifact(path.stem, str(path))
    return engine_kind(engine).open(artifact, path, Options(threads))


def why_not(artifact: Artifact, artifacts: Iterable[Artifact], *, engine: str, machine: str) -> str | None:
    """Return why an engine is not to run one of a bundle's `artifacts` on a machine; None where it is to.

    What is for another kind of CPU is to run where there is no other of its precision for this engine.
    """
    cpus = f" on {_CPUS.get(artifact.arch, artifact.arch)} CPUs" if artifact.arch else ""
    if artifact.engine not in (None, engine):
        return f"it is for {_title(artifact.engine)}{cpus}"
    kind = (artifact.engine, artifact.precision)
    rivals = [other for other in artifacts if (other.engine, other.precision) == kind]
    if artifact.arch is None or choose(rivals, engine=engine, machine=machine) == artifact:
        return None
    return f"it is for {_title(engine)}{cpus}, and this is {machine}"


def _title(engine: str | None) -> str:
    """Return what people call an engine; its name, where no installed package knows it."""
    return engine_kind(engine).title if engine in engine_names() else str(engine)


def packages() -> dict[str, str]:
    """Return the packages of all kinds of engines that are installed, with their versions."""
    return {name: version for kind in engine_kinds() for name, version in kind.versions().items()}


def _others() -> dict[str, metadata.EntryPoint]:
    found = {point.name: point for point in metadata.entry_points(group=GROUP)}
    return {name: found[name] for name in sorted(found) if name not in _OURS}


class _Broken(EngineKind):
    """Stands for a package's engine that cannot be imported, and says why."""

    def __init__(self, name: str, place: str, why: str) -> None:
        self.name = self.title = name  # pyright: ignore[reportAttributeAccessIssue]
        self.what = f"{place} cannot be imported: {why}"

    def check(self) -> Check:
        return Check(self.name, None, False, False, self.what)

    def open(self, artifact: Artifact, content: bytes | Path, options: Options = Options()) -> Engine:  # noqa: B008
        raise ModelError(self.what, where=self.name, next="install that package anew, or remove it")
