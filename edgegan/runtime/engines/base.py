"""The one interface of all engines: arrays in, arrays out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgegan.runtime.contract import Arrays


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

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds; it cannot be called again."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
