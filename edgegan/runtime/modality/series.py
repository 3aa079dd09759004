"""Series over time, as of sensors: float32 as the model gives it, and `.csv` files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.runtime.modality.base import Modality
from edgegan.runtime.modality.drawing import curves
from edgegan.runtime.modality.tables import write_csv

if TYPE_CHECKING:
    from edgegan.runtime.contract import Output


@dataclass(frozen=True)
class Series(Modality):
    """Values over time; `axis` of a sample's shape is time, the last by default, the others are channels."""

    axis: int = -1

    kind: ClassVar[str] = "series"
    files: ClassVar[tuple[str, ...]] = (".csv",)
    metrics: ClassVar[tuple[str, ...]] = ("psnr_db", "relative_error")

    def __post_init__(self) -> None:
        if type(self.axis) is not int:
            raise InputError(f"axis must be a whole number, not {self.axis!r:.40}")

    def check(self, spec: Output) -> None:
        """Raise `InputError` unless the shape has the axis of time."""
        if not -len(spec.shape) <= self.axis < len(spec.shape):
            raise self.refuse(spec, f"with an axis {self.axis}, that of time")

    def encode(self, array: NDArray[Any], spec: Output) -> NDArray[np.float32]:
        """Return the values as float32."""
        return array.astype(np.float32)

    def preview(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return drawings of the series, a colour a channel."""
        return curves(self._channels(array, spec), *spec.range)

    def write(self, path: Path, array: NDArray[Any], spec: Output) -> None:
        """Write a row for each sample and step of time, with a column for each channel."""
        channels = self._channels(array, spec)
        n, width, steps = channels.shape
        index = np.indices((n, steps)).reshape(2, -1).T
        rows = channels.transpose(0, 2, 1).reshape(-1, width)
        write_csv(path, ("sample", "step", *_names(spec.name, width)), index, rows)

    def _channels(self, array: NDArray[Any], spec: Output) -> NDArray[Any]:
        time = self.axis % len(spec.shape)
        return np.moveaxis(array, 1 + time, -1).reshape(len(array), -1, spec.shape[time])


def _names(name: str, width: int) -> list[str]:
    return [name] if width == 1 else [f"{name}_{channel}" for channel in range(width)]
