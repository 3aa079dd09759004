"""A file that an engine runs, and what it is; and which of several runs where."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edgegan.errors import InputError
from edgegan.runtime.onnx_file import facts

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

USUAL_ENGINE = "onnxruntime"
"""What runs a bundle where nothing else is asked for, and what files are proved on."""
HALF_FIRST = ("tensorrt",)
"""Engines of GPUs, to which FP16 comes before FP32: on CPUs it is no faster, and coarser."""
_SAME = {"amd64": "x86_64", "arm64": "aarch64", "wasm": "x86_64"}
"""Other words for a kind of CPU; WebAssembly's kernels are those of x86's SSE."""


@dataclass(frozen=True)
class Artifact:
    """An ONNX file, and what it is. What is None or 0 is not bound, or not known."""

    name: str
    """What people call it, as "fp32" or "int8-arm64": one in a bundle. It means nothing to a program."""
    file: str
    """Its path: in a bundle from the bundle's folder on."""
    precision: Precision = "fp32"
    engine: str | None = None
    """The engine that it was written for; None for any that reads ONNX."""
    arch: str | None = None
    """The kind of CPU that it was written for: "x86_64", "aarch64" or "wasm"; None for any, and for GPUs."""
    opset: int = 0
    """The version of ONNX's operators that it uses."""
    uint8_outputs: bool = False
    """Whether it makes its images uint8 (N, H, W, C) by itself."""
    target: str | None = None
    """The device profile that it was written for."""

    @classmethod
    def of(
        cls,
        path: str | Path,
        name: str | None = None,
        *,
        precision: Precision = "fp32",
        engine: str | None = None,
        arch: str | None = None,
        target: str | None = None,
    ) -> Artifact:
        """Describe a file, its opset and outputs as they are in it; its name is the file's unless given.

        Raises:
            InputError: it cannot be read, or is no ONNX model.
        """
        path = Path(path)
        try:
            opset, uint8_outputs = facts(path.read_bytes())
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else f"it is not an ONNX model: {error}"
            raise InputError(f"cannot read: {what}", where=str(path)) from error
        return cls(name or path.stem, str(path), precision, engine, arch, opset, uint8_outputs, target)

    def optimized_by(self, engine: str) -> bool:
        """Whether this engine may rework the graph: not where it stands in for the one that it is for.

        ONNX Runtime's optimizer changes what float16 Q/DQ layers for TensorRT give, by 17 dB in one model.
        """
        return self.engine in (None, engine)


@dataclass(frozen=True)
class Default:
    """What a bundle runs unless asked otherwise: found on this engine and kind of CPU, and true there."""

    name: str
    engine: str
    arch: str

    def holds(self, engine: str, machine: str) -> bool:
        """Whether it was found on such an engine and machine."""
        return self.engine == engine and cpu_family(self.arch) == cpu_family(machine)


def cpu_family(machine: str) -> str:
    """Return the kind of CPU, as "x86_64" or "aarch64", given what `platform.machine()` or a target says."""
    return _SAME.get(machine.lower(), machine.lower())


def choose(
    artifacts: Iterable[Artifact],
    *,
    engine: str,
    machine: str,
    name: str | None = None,
    default: Default | None = None,
) -> Artifact:
    """Return which of a bundle's artifacts an engine is to run on a machine: the one list of preferences.

    1. that of this `name`, whatever it was written for
    2. the bundle's `default`, where it was found on this engine and kind of CPU
    3. what was written for this engine: for this kind of CPU, then for any
    4. the `default`, where it was found on this engine, on another kind of CPU
    5. what was written for this engine, for other CPUs
    6. what is for any engine: FP32, then FP16; on a GPU FP16 first

    Never unasked: what was written for another engine. It is slower there than FP32.

    Args:
        artifacts: of one bundle.
        engine: the engine's name.
        machine: as `platform.machine()` says.
        name: of an artifact, as people type it.
        default: the bundle's.

    Raises:
        InputError: there is none of this name, or all are for other engines.
    """
    artifacts = tuple(artifacts)
    if name is not None:
        return named(artifacts, name)
    halves = ("fp16", "fp32") if engine in HALF_FIRST else ("fp32", "fp16")
    order = ("int8", *halves)

    def rank(artifact: Artifact) -> tuple[int, int]:
        is_default = default is not None and artifact.name == default.name and default.engine == engine
        here = artifact.arch is None or cpu_family(artifact.arch) == cpu_family(machine)
        if is_default and default is not None and default.holds(engine, machine):
            place = 0
        elif artifact.engine == engine and here:
            place = 1 if artifact.arch else 2
        elif is_default:
            place = 3
        else:
            place = 4 if artifact.engine == engine else 5
        return place, order.index(artifact.precision)

    able = [artifact for artifact in artifacts if artifact.engine in (None, engine)]
    if not able:
        others = ", ".join(f"{artifact.name} (for {artifact.engine})" for artifact in artifacts)
        raise InputError(
            f"the bundle has no model for {engine}, only {others}",
            next="choose one of these engines; or name a model to run it here all the same, slowly",
        )
    return min(able, key=rank)


def named(artifacts: Collection[Artifact], name: str) -> Artifact:
    """Return the artifact of this name.

    Raises:
        InputError: there is none.
    """
    for artifact in artifacts:
        if artifact.name == name:
            return artifact
    raise InputError(
        f"the bundle has no model {name!r}",
        next=f"choose one of {', '.join(sorted(artifact.name for artifact in artifacts))}",
    )


def default_of(
    artifacts: Sequence[Artifact],
    machine: str,
    speedups: Mapping[str, Mapping[str, float]] | None = None,
) -> Default:
    """Return what is to be the default of a bundle that is made on this kind of CPU.

    It is what ONNX Runtime is to run there. Where FP32 or FP16 was measured to be surely faster than INT8,
    the faster of the two takes its place: it loses less. Where the intervals overlap, INT8 stays, which is
    smaller; so noise alone does not decide.

    Args:
        artifacts: of the bundle.
        machine: as `platform.machine()` says.
        speedups: of those that were measured there, relative to one and the same: `value`, `low`, `high`.
    """
    able = [artifact for artifact in artifacts if artifact.engine in (None, USUAL_ENGINE)]
    first = choose(able, engine=USUAL_ENGINE, machine=machine) if able else artifacts[0]
    measured, found = speedups or {}, first.name
    if first.precision == "int8" and found in measured:
        finer = [artifact.name for artifact in able if artifact.precision != "int8"]
        faster = [
            name for name in finer if name in measured and measured[name]["low"] > measured[found]["high"]
        ]
        found = max(faster, key=lambda name: measured[name]["value"], default=found)
    return Default(found, USUAL_ENGINE, cpu_family(machine))


def known(name: str, file: str) -> Artifact:
    """Return what a name alone stood for, in schemas 1 and 2 and in `write_bundle`'s mappings of names."""
    precision, engine, arch = _KNOWN.get(name, ("fp32", None, None))
    return Artifact(name, file, precision, engine, arch)


_KNOWN: dict[str, tuple[Precision, str | None, str | None]] = {
    "fp32": ("fp32", None, None),
    "fp16": ("fp16", None, None),
    "int8": ("int8", "onnxruntime", "x86_64"),
    "int8-arm64": ("int8", "onnxruntime", "aarch64"),
    "int8-tensorrt": ("int8", "tensorrt", None),
}
