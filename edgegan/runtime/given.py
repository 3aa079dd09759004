"""What an app gives as an input, as the array that the model takes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError, OutOfRange
from edgegan.forms import is_row
from edgegan.runtime.contract import Contract, Input
from edgegan.runtime.sampling import one_hot
from edgegan.runtime.specs import DTYPES, all_in
from edgegan.runtime.stored_inputs import scaled

_LARGEST = float(np.finfo(np.float32).max)


def as_input(spec: Input, value: Any) -> NDArray[Any]:
    """Return `value` in the input's dtype, where that loses nothing.

    Labels are integers, as are those that stand for one-hot rows (see `rows`). Where floats are wanted,
    uint8 0..255 becomes the contract's low to high, and other integers are refused, but for plain numbers of
    Python: nothing says what they stand for.

    Raises:
        InputError: it is no array, or of a dtype that does not fit.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"input {spec.name!r} is not an array: {error}") from error
    if array.dtype == DTYPES[spec.dtype]:
        return array
    kinds = "iu" if spec.dtype == "int64" else "iuf"
    if array.size and array.dtype.kind not in kinds:
        raise InputError(f"input {spec.name!r} must be {spec.dtype}, not {array.dtype}")
    if spec.sample.kind == "one_hot" and array.dtype.kind in "iu" and array.ndim <= len(spec.shape):
        return array.astype(np.int64)
    if spec.dtype == "int64" or array.dtype.kind == "f" or array.size == 0 or _is_plain(value):
        return array.astype(spec.dtype)
    low, high = spec.sample.low, spec.sample.high
    if spec.sample.kind in ("normal", "constant", "one_hot"):
        raise InputError(
            f"input {spec.name!r} is drawn as {spec.sample.kind}, which {array.dtype} cannot stand for",
            next=f"give floats: {spec.name}.astype(numpy.float32), scaled as the model was trained",
        )
    if array.dtype != np.uint8:
        raise InputError(
            f"input {spec.name!r} must be float32, or uint8 where 0..255 stands for {low:g} to {high:g}, "
            f"not {array.dtype}",
            next=f"give uint8, or floats from {low:g} to {high:g}",
        )
    return scaled(array, low, high)


def rows(spec: Input, array: NDArray[Any], n: int) -> NDArray[Any]:
    """Return `n` rows of what `as_input` gave: one value is for all, and labels become one-hot where asked.

    Raises:
        InputError: a label is no class.
    """
    every = np.full(n, array) if array.ndim == 0 else array
    if spec.sample.kind != "one_hot" or every.dtype != np.int64:
        return every
    if every.size and not (every.min() >= 0 and every.max() < spec.shape[0]):
        raise InputError(f"input {spec.name!r} must be in 0..{spec.shape[0] - 1}, or one-hot rows")
    return one_hot(every, spec.shape[0])


@dataclass(frozen=True)
class Look:
    """What tells at one look that an array is what the model takes: most are, and need nothing else."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    classes: int
    """Of labels."""
    near: float
    """A sum of squares up to which all floats are finite, and none far from what is drawn."""

    @classmethod
    def of(cls, spec: Input) -> Look:
        """Return the look for an input of fixed sizes."""
        usual = spec.sample.usual
        near = max(0.0, min(usual[1] - 2 * usual[0], 2 * usual[1] - usual[0])) ** 2 if usual else _LARGEST
        return cls(spec.shape, DTYPES[spec.dtype], spec.sample.classes or 0, near)

    def passes(self, array: Any) -> bool:
        """Tell whether an array (N, *shape) is as it should be; what does not pass may be of use, too."""
        if not _is_array(array) or array.dtype != self.dtype or not array.ndim:
            return False
        if array.shape[1:] != self.shape:
            return False
        return all_in(array, self.classes) if self.classes else bool(np.vdot(array, array) <= self.near)


def warn_of_range(contract: Contract, spec: Input, array: NDArray[Any], *, stacklevel: int) -> None:
    """Warn with `OutOfRange` where values lie further out than the width of all that the contract draws.

    The values are finite.
    """
    if spec.sample.usual is None or not _is_far(array, spec.sample.usual):
        return  # without looking at all stored inputs
    usual = contract.usual_range(spec)
    if usual is not None and _is_far(array, usual):
        warnings.warn(
            OutOfRange(
                f"input {spec.name!r} goes from {array.min():g} to {array.max():g}, and the model was made "
                f"for {usual[0]:g} to {usual[1]:g}: scale it, or give uint8 pictures"
            ),
            stacklevel=stacklevel,
        )


def _is_array(value: Any) -> TypeGuard[NDArray[Any]]:
    return isinstance(value, np.ndarray)


def _is_far(array: NDArray[Any], usual: tuple[float, float]) -> bool:
    low, high = usual
    return bool(array.min() < 2 * low - high or array.max() > 2 * high - low)


def _is_plain(value: Any) -> bool:
    """Tell whether `value` is a number of Python, or lists of them."""
    if is_row(value):
        return all(map(_is_plain, value))
    return isinstance(value, (int, float))
