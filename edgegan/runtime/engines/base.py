"""The two interfaces of all engines: a kind of engine, which opens artifacts; and one that is open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from edgegan.errors import InputError, ModelError
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Arrays, Bounds
from edgegan.runtime.engines.layer_times import LayerTime

if TYPE_CHECKING:
    from edgegan.runtime.manifest import EngineEntry


@dataclass(frozen=True)
class Port:
    """An input or an output of a model; `shape` includes the batch axis and has None where a size is free."""

    dtype: str
    shape: tuple[int | None, ...]


class Engine(ABC):
    """A model that is loaded and ready to run; it knows names and arrays, and nothing of GANs."""

    name: str
    """The engine's name and version, as figures cite it: "onnxruntime 1.32.0 CPU"."""

    inputs: dict[str, Port]
    outputs: dict[str, Port]
    """The model's ports by name, in the model's order."""

    @abstractmethod
    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run one batch."""

    def layer_times(self) -> tuple[LayerTime, ...]:
        """Return what each layer took in the calls so far, of an engine that was opened to be profiled.

        Later calls are not told. Nothing where the engine does not tell of its layers.
        """
        return ()

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds; it cannot be called again."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fitted(inputs: Mapping[str, NDArray[Any]], ports: Mapping[str, Port]) -> Arrays:
    """Return `inputs` as they are, where names, types and shapes are those of the ports.

    Raises:
        InputError: the names are others.
        ModelError: a type or a shape is another, or the batches differ.
    """
    if set(inputs) != set(ports):
        raise InputError(f"the model's inputs are {sorted(ports)}, not {sorted(inputs)}")
    for name, port in ports.items():
        array = inputs[name]
        sizes = zip(port.shape[1:], array.shape[1:])
        fits = array.ndim == len(port.shape) and all(mine in (None, size) for mine, size in sizes)
        if array.dtype != port.dtype or not fits:
            raise ModelError(
                f"the model cannot run on these inputs: {name!r} is {array.dtype} {array.shape}, "
                f"not {port.dtype} {port.shape}"
            )
    counts = {name: len(array) for name, array in inputs.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise ModelError(f"the model cannot run on batches of {counts}")
    return dict(inputs)


@dataclass(frozen=True)
class Check:
    """A kind of engine on this machine.

    Args:
        engine: its name.
        version: the module and its version, as "tensorrt 10.3.0"; None where it cannot be imported.
        builds: it can make what it runs from a bundle's ONNX file.
        runs: it can run it too.
        detail: what it runs on, or what is in the way.
        next: what to type to get more of it; None where there is nothing more.
    """

    engine: str
    version: str | None
    builds: bool
    runs: bool
    detail: str
    next: str | None = None


@dataclass(frozen=True)
class Options:
    """How to open an artifact; a kind of engine takes what is for it, and passes over the rest."""

    threads: int | None = None
    """Of the CPU, within an operator; by default one for each processor that this process may use."""
    shapes: Mapping[str, Bounds] = field(default_factory=dict[str, Bounds])
    """Input to its shapes, for engines that are built for some."""
    profiled: bool = False
    """Keep what each layer takes, for `Engine.layer_times`. A call then takes a little longer."""


class EngineKind(ABC):
    """What can run artifacts: found by name in `edgegan.runtime.engines.registry`.

    Making one, and `check`, must be possible where what it needs is not installed.
    """

    name: ClassVar[str]
    """As it is typed, and as artifacts are written for it: lower-case letters and digits."""
    title: ClassVar[str]
    """As people call it: "ONNX Runtime"."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What its results rest on, as the package index calls it."""
    ahead: ClassVar[bool] = False
    """It is built ahead of time, which takes long: so a bundle can keep what was built for a machine, and
    where it cannot run a bundle falls back on another engine."""

    @abstractmethod
    def check(self) -> Check:
        """Say whether this machine can run it; brings its module into the process where that is installed."""

    def versions(self) -> dict[str, str]:
        """Return those of its `packages` that are installed, with their versions; imports none of them."""
        found: dict[str, str] = {}
        for package in self.packages:
            with suppress(metadata.PackageNotFoundError):
                found[package] = metadata.version(package)
        return found

    @abstractmethod
    def open(self, artifact: Artifact, content: bytes | Path, options: Options = Options()) -> Engine:
        """Load an artifact.

        Args:
            artifact: what it is; one that was written for another engine is run operator by operator, as it
                stands, so far as this engine can.
            content: its bytes; or its path, so that tensors may lie in other files.
            options: how.

        Raises:
            MissingDependency: what it needs is not installed.
            InputError: an option cannot be, or there is no such device.
            ModelError: it cannot load the model.
        """

    def fits(self, built: EngineEntry) -> bool:
        """Whether an engine in a bundle was built for what this very machine has."""
        return False

    def load(self, plan: bytes) -> Engine:
        """Load what was built ahead of time. It is code, and runs: only for bytes that one trusts.

        Raises:
            ModelError: it cannot be loaded.
        """
        raise ModelError(f"{self.title} builds nothing ahead of time")
