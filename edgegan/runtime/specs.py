"""The inputs and outputs of a contract: what each is, and whether an array fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.forms import is_row
from edgegan.runtime import modality, sizes
from edgegan.runtime.modality import Modality
from edgegan.runtime.modality.base import all_finite
from edgegan.runtime.modality.registry import LAYOUTS
from edgegan.runtime.numbers import is_range
from edgegan.runtime.sampling import Sample
from edgegan.runtime.sizes import Axes, Size

DTYPES = {name: np.dtype(name) for name in ("float32", "int64")}
_FEW = 16


@dataclass(frozen=True)
class Input:
    """An input: `shape` is that of one sample, without the batch axis. Labels are int64, all else float32.

    Where `axes` are free, `shape` is that at the contract's nominal sizes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "int64"] = "float32"
    sample: Sample = field(default_factory=lambda: Sample("normal"))
    axes: Axes = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the input as plain data, fit for JSON, without None."""
        data = asdict(self, dict_factory=_without_nones)
        del data["axes"]
        return {**data, "shape": sizes.write_shape(self.shape, self.axes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], free: Sequence[Size]) -> Input:
        """Read an entry of a contract's `inputs`; `free` are the contract's free sizes.

        Raises:
            InputError: what it says cannot be.
            TypeError, KeyError, ValueError: a field is unknown, missing or of another form.
        """
        data = with_axes(data, free)
        sample = Sample(**data.get("sample", {"kind": "normal"}))
        fields: dict[str, Any] = {**data, "shape": tuple(data["shape"]), "sample": sample}
        return cls(**fields)

    def validate(self) -> None:
        """Raise `InputError` where the input is not well formed."""
        if self.dtype not in DTYPES:
            raise InputError(f"{self.name!r}: dtype {self.dtype!r} is not float32 or int64")
        self.sample.validate(self.name, self.shape, self.dtype)

    def check(self, array: NDArray[Any]) -> None:
        """Raise `InputError` where a batch (N, *shape) does not fit: its shape, dtype or values."""
        if array.shape[1:] != self.shape or array.ndim != len(self.shape) + 1:
            expected = ", ".join(map(str, ("N", *self.shape)))
            raise InputError(
                f"input {self.name!r} must have shape ({expected}), not {array.shape}",
                next=_layout_advice(self.shape, array.shape),
            )
        if array.dtype != DTYPES[self.dtype]:
            raise InputError(f"input {self.name!r} must be {self.dtype}, not {array.dtype}")
        if self.sample.kind == "labels" and not all_in(array, self.sample.classes or 0):
            raise InputError(f"input {self.name!r} must be in 0..{(self.sample.classes or 0) - 1}")
        if self.dtype == "float32" and not all_finite(array):
            raise InputError(f"input {self.name!r} holds NaN or infinity")


@dataclass(frozen=True)
class Output:
    """An output: `shape` is that of one sample, without the batch axis; `range` its lowest and highest value.

    Where `axes` are free, `shape` is that at the contract's nominal sizes. `modality` is what it is, an image
    by default. `layout` is the older way to say it: "CHW" for images, "" for plain tensors.
    """

    name: str
    shape: tuple[int, ...]
    range: tuple[float, float] = (-1.0, 1.0)
    layout: InitVar[Literal["CHW", ""] | None] = None
    modality: Modality = LAYOUTS["CHW"]
    axes: Axes = ()

    def __post_init__(self, layout: Any) -> None:
        if layout is None:
            return
        if not isinstance(layout, str) or layout not in LAYOUTS:
            raise InputError(
                f"{self.name!r}: layout {layout!r:.40} is not 'CHW' (images) or '' (anything else)",
                next="say what else it is with `modality`",
            )
        object.__setattr__(self, "modality", LAYOUTS[layout])

    def to_dict(self) -> dict[str, Any]:
        """Return the output as plain data, fit for JSON."""
        return {
            "name": self.name,
            "shape": sizes.write_shape(self.shape, self.axes),
            "range": self.range,
            **modality.spelled(self.modality),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], free: Sequence[Size]) -> Output:
        """Read an entry of a contract's `outputs`; `free` are the contract's free sizes.

        Raises:
            InputError: what it says cannot be.
            TypeError, KeyError, ValueError: a field is unknown, missing or of another form.
        """
        data = with_modality(with_axes(data, free))
        low, high = data.get("range", (-1.0, 1.0))
        fields: dict[str, Any] = {**data, "shape": tuple(data["shape"]), "range": (low, high)}
        return cls(**fields)

    def validate(self) -> None:
        """Raise `InputError` where the output is not well formed."""
        if not is_range(*self.range):
            raise InputError(
                f"{self.name!r}: range {self.range!r:.80} must be two finite numbers, lowest first"
            )
        self.modality.check(self)


def with_axes(data: Mapping[str, Any], free: Sequence[Size]) -> dict[str, Any]:
    """Return an input's or output's entry with its shape at nominal sizes, and its free axes, if any.

    Raises:
        InputError: its shape names a size that there is not.
    """
    if "axes" in data:
        raise InputError(
            f"{data.get('name')!r:.80}: unknown field 'axes'", next="write free axes in its shape"
        )
    given = data.get("shape")
    if not is_row(given) or not any(isinstance(entry, str) for entry in given):
        return dict(data)
    try:
        shape, axes = sizes.read_shape(given, free)
    except InputError as error:
        raise InputError(f"{data.get('name')!r:.80}: {error.what}", next=error.next) from error
    return {**data, "shape": shape, "axes": axes}


def with_modality(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an output's entry with its `modality` read, where it has one.

    Raises:
        InputError: there is no such modality, its parameters do not fit, or there is a `layout` as well.
    """
    if "modality" not in data:
        return dict(data)
    if "layout" in data:
        raise InputError(f"{data.get('name')!r:.80}: an output has a modality or a layout, not both")
    try:
        return {**data, "modality": modality.read(data["modality"])}
    except InputError as error:
        raise InputError(f"{data.get('name')!r:.80}: {error.what}", next=error.next) from error


def _without_nones(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if value is not None}


def _layout_advice(shape: tuple[int, ...], given: tuple[int, ...]) -> str | None:
    """Return how an array comes into the shape of a sample (C, H, W), where it is a picture in another."""
    if given == shape:
        return "a batch of one: give array[None]"
    if len(shape) != 3:
        return None
    turned = (*shape[1:], shape[0])
    if given == turned:
        return "channels come first: give array.transpose(2, 0, 1)[None]"
    if given[1:] == turned:
        return "channels come first: give array.transpose(0, 3, 1, 2)"
    if shape[0] == 1 and given == shape[1:]:
        return "a batch of one with one channel: give array[None, None]"
    return None


def all_in(array: NDArray[Any], classes: int) -> bool:
    """Tell whether all labels are classes, from 0."""
    if array.size <= _FEW:  # faster than two reductions
        labels = array.ravel().tolist()
        return not labels or (min(labels) >= 0 and max(labels) < classes)
    return bool(array.min() >= 0 and array.max() < classes)
