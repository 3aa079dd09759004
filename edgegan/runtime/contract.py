"""What a generator takes and gives, and how to sample an input from a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Sample:
    """How an input is drawn: `normal`, `uniform` in [low, high), or `labels` in 0..classes-1."""

    kind: Literal["normal", "uniform", "labels"]
    low: float = -1.0
    high: float = 1.0
    classes: int | None = None

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Draw an array of `shape` and `dtype`."""
        if self.kind == "normal":
            return rng.standard_normal(shape, dtype=np.float32).astype(dtype)
        if self.kind == "uniform":
            return rng.uniform(self.low, self.high, shape).astype(dtype)
        return rng.integers(0, self.classes or 1, shape).astype(dtype)


@dataclass(frozen=True)
class Input:
    """An input: `shape` is that of one sample, without the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "int64"] = "float32"
    sample: Sample = field(default_factory=lambda: Sample("normal"))


@dataclass(frozen=True)
class Output:
    """An output: `shape` is that of one sample, without the batch axis; `range` its lowest and highest value.

    `layout` is "CHW" for images (1 or 3 channels), or "" for anything else.
    """

    name: str
    shape: tuple[int, ...]
    range: tuple[float, float] = (-1.0, 1.0)
    layout: Literal["CHW", ""] = "CHW"


@dataclass(frozen=True)
class Contract:
    """What a generator takes and gives.

    The batch axis comes first everywhere and is free.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    def sample(self, n: int, seed: int) -> Arrays:
        """Draw `n` inputs from `seed`; the first `m` of `n` are those of `sample(m, seed)`.

        Each input has a stream of its own: PCG64 seeded with (seed, index of the input).
        """
        if n < 1:
            raise InputError(f"the number of samples must be 1 or more, not {n}")
        if seed < 0:
            raise InputError(f"the seed must be 0 or more, not {seed}")
        return {
            spec.name: spec.sample.draw(np.random.default_rng([seed, index]), (n, *spec.shape), spec.dtype)
            for index, spec in enumerate(self.inputs)
        }

    def check_inputs(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raise `InputError` where `arrays` does not fit: names, shapes, dtypes, label range, batch sizes."""
        names = [spec.name for spec in self.inputs]
        if set(arrays) != set(names):
            raise InputError(f"the inputs must be {names}, not {sorted(arrays)}")
        for spec in self.inputs:
            array = arrays[spec.name]
            if array.shape[1:] != spec.shape or array.ndim != len(spec.shape) + 1:
                raise InputError(f"input {spec.name!r} must have shape (N, *{spec.shape}), not {array.shape}")
            if array.dtype != spec.dtype:
                raise InputError(f"input {spec.name!r} must be {spec.dtype}, not {array.dtype}")
            classes = spec.sample.classes
            if spec.sample.kind == "labels" and classes and array.size and not (
                0 <= array.min() and array.max() < classes
            ):
                raise InputError(f"input {spec.name!r} must be in 0..{classes - 1}")
            if spec.dtype == "float32" and not np.isfinite(array).all():
                raise InputError(f"input {spec.name!r} holds NaN or infinity")
        if len({len(array) for array in arrays.values()}) != 1:
            raise InputError("all inputs must have the same batch size")

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as plain data, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Contract:
        """Rebuild a contract from `to_dict`'s data.

        Raises:
            InputError: a field is unknown, missing or of the wrong form.
        """
        try:
            contract = cls(
                inputs=tuple(
                    Input(
                        **{
                            **spec,
                            "shape": tuple(spec["shape"]),
                            "sample": Sample(**spec.get("sample", {"kind": "normal"})),
                        }
                    )
                    for spec in data["inputs"]
                ),
                outputs=tuple(
                    Output(
                        **{
                            **spec,
                            "shape": tuple(spec["shape"]),
                            "range": tuple(spec.get("range", (-1.0, 1.0))),
                        }
                    )
                    for spec in data["outputs"]
                ),
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(f"the contract is not well formed: {error}") from error
        contract._validate()
        return contract

    def _validate(self) -> None:
        if not self.inputs or not self.outputs:
            raise InputError("a contract needs at least one input and one output")
        names = [spec.name for spec in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names):
            raise InputError(f"the contract's names must differ from each other: {names}")
        for spec in (*self.inputs, *self.outputs):
            if not all(isinstance(size, int) and size > 0 for size in spec.shape):
                raise InputError(f"{spec.name!r}: every size in {spec.shape} must be a positive integer")
        for spec in self.inputs:
            if spec.sample.kind not in ("normal", "uniform", "labels"):
                raise InputError(f"{spec.name!r}: sample kind {spec.sample.kind!r} is not normal, uniform or labels")
            if spec.dtype not in ("float32", "int64"):
                raise InputError(f"{spec.name!r}: dtype {spec.dtype!r} is not float32 or int64")
            if (spec.sample.kind == "labels") != (spec.dtype == "int64"):
                raise InputError(f"{spec.name!r}: labels are int64, and int64 inputs are labels")
            if spec.sample.kind == "labels" and (spec.sample.classes or 0) < 1:
                raise InputError(f"{spec.name!r}: labels need classes: 1 or more")
        for spec in self.outputs:
            low, high = spec.range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise InputError(f"{spec.name!r}: range {spec.range} must be two finite numbers, lowest first")
            if spec.layout == "CHW" and (len(spec.shape) != 3 or spec.shape[0] not in (1, 3)):
                raise InputError(f"{spec.name!r}: layout CHW needs a shape (1 or 3, height, width), not {spec.shape}")


def to_uint8(images: NDArray[Any], value_range: Sequence[float]) -> NDArray[np.uint8]:
    """Map float NCHW images of `value_range` to uint8 NHWC, rounding half to even; uint8 NHWC passes through."""
    if images.dtype == np.uint8:
        return images
    low, high = value_range
    scaled = (images.astype(np.float32) - low) * (255.0 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)
