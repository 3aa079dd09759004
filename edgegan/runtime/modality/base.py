"""The interface: what an output is decides how it is checked, encoded for an app, shown and written."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError

if TYPE_CHECKING:
    from edgegan.runtime.contract import Output


@dataclass(frozen=True)
class Levels:
    """An encoding that a model's file can do itself: uint8 levels of the output's range, axes turned.

    0..255 stand for the lowest to the highest value of the range; halves are rounded to even.
    """

    order: tuple[int, ...]
    """Where the encoded axes, that of the batch first, are in the model's output: (0, 2, 3, 1) for NCHW.

    The last is that of channels, which are few.
    """

    def shape(self, sample: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one encoded sample of a `sample`'s shape."""
        return tuple(sample[axis - 1] for axis in self.order[1:])


class Modality(ABC):
    """What an output is; subclasses are frozen dataclasses whose fields are its parameters in a contract.

    `edgegan.testing` holds a suite for authors. A package registers its own as an entry point of the group
    `edgegan.modalities`, under its `kind`.
    """

    kind: ClassVar[str]
    """What a contract calls it."""
    files: ClassVar[tuple[str, ...]] = ()
    """Suffixes that `write` knows, beside the `.png` of previews and the `.npy` and `.npz` of any array."""
    one_a_file: ClassVar[bool] = False
    """Whether `write` takes one sample at a time."""
    plays: ClassVar[str | None] = None
    """Which of `files` a browser plays, for the page of a run."""
    metrics: ClassVar[tuple[str, ...]] = ()
    """The metrics that are measured unless a recipe names others, the most telling first."""

    @abstractmethod
    def check(self, spec: Output) -> None:
        """Raise `InputError` where an output of this shape and range cannot be one."""

    @abstractmethod
    def encode(self, array: NDArray[Any], spec: Output) -> NDArray[Any]:
        """Return a model's output (N, *shape), or its own `levels`, as an app gets it, contiguous.

        Raises:
            InputError: a value is NaN or infinite, where the encoding has no place for it.
        """

    @abstractmethod
    def preview(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return a picture of each encoded sample, uint8 (N, height, width, 1 or 3)."""

    def levels(self, spec: Output) -> Levels | None:
        """Return the encoding, where a model's file can do it itself; None where it cannot."""
        return None

    def shares(self, array: NDArray[Any], spec: Output) -> NDArray[np.float32]:
        """Return encoded samples as shares of the output's range: 0 is the lowest value, 1 the highest."""
        low, high = (0.0, 255.0) if array.dtype == np.uint8 else spec.range
        return ((array.astype(np.float32) - low) / (high - low)).astype(np.float32)

    def write(self, path: Path, array: NDArray[Any], spec: Output) -> None:
        """Write encoded samples, atomically, as what the suffix of `path`, one of `files`, says.

        Raises:
            MissingDependency: what writes such files is not installed.
            StorageError: the file cannot be written.
        """
        raise NotImplementedError(f"{self.kind} writes no files")

    def shapes(self, spec: Output, dtype: str) -> list[tuple[int, ...]]:
        """Return the shapes that one sample may have where a model's output is of `dtype`."""
        levels = self.levels(spec)
        if levels is None:
            return [spec.shape]
        if dtype == "uint8":
            return [levels.shape(spec.shape)]
        return [spec.shape] if dtype.startswith("float") else []

    def refuse(self, spec: Output, needs: str) -> InputError:
        """Return the error of an output whose shape is not what this modality needs."""
        return InputError(
            f"{spec.name!r}: {self.kind} needs shape {needs}, not {spec.shape}",
            next="correct `shape` in the contract, or its `modality`",
        )


def to_levels(array: NDArray[Any], value_range: tuple[float, float], levels: Levels) -> NDArray[np.uint8]:
    """Encode floats of `value_range` as uint8 levels, rounding half to even; values past it are clipped.

    What is uint8 already passes through.

    Raises:
        InputError: a value is NaN or infinite.
    """
    if array.dtype == np.uint8:
        return array
    low, high = value_range
    scaled = clipped(array, value_range, "images")
    scaled -= np.float32(low)
    scaled *= np.float32(255.0 / (high - low))
    np.rint(scaled, out=scaled)
    turned = scaled.transpose(levels.order)
    encoded = np.empty(turned.shape, np.uint8)
    for channel in range(turned.shape[-1]):  # rows of a channel are long, and those of pixels are not
        encoded[..., channel] = turned[..., channel]
    return encoded


def clipped(array: NDArray[Any], value_range: tuple[float, float], what: str) -> NDArray[np.float32]:
    """Return finite floats as new float32 within `value_range`; `what` they are is for the error.

    Raises:
        InputError: a value is NaN or infinite.
    """
    if not math.isfinite(np.vdot(array, array)):
        check_finite(array, what)
    low, high = value_range
    return array.astype(np.float32, copy=False).clip(np.float32(low), np.float32(high))


def all_finite(array: NDArray[Any]) -> bool:
    """Tell whether floats hold neither NaN nor infinity; half the time of `isfinite` where they are small."""
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def check_finite(array: NDArray[Any], what: str) -> None:
    """Raise `InputError` where an output holds NaN or infinity."""
    if not all_finite(array):
        raise InputError(
            f"the {what} hold NaN or infinity",
            next="check the model's weights; in FP16, a value past 65504 overflows",
        )
