"""Free sizes: axes that an app chooses the length of, within bounds, and lengths that follow from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.forms import is_mapping
from edgegan.runtime.numbers import is_integer

MOST = 1 << 24
"""No size may be larger."""
LARGEST = 4096
"""The largest that a size may be, where the contract does not say."""
TERM = re.compile(r"(?:(\d{1,6})\*)?([A-Za-z][A-Za-z0-9_]{0,31})(?:/(\d{1,6}))?(?:([+-])(\d{1,8}))?")


@dataclass(frozen=True)
class Size:
    """A size that is free: from `min` to `max`; the model itself takes multiples of `multiple`.

    Other sizes are padded to the next multiple, and what comes out of it is cropped. Stages work at
    `nominal`.
    """

    name: str
    nominal: int
    min: int = 1
    max: int = LARGEST
    multiple: int = 1
    halo: int | None = None
    """How much of its neighbours a tile needs for the whole's output, found on the host; None: not known."""
    no_tiles: str | None = None
    """Why there are no tiles, found on the host: the layer that sees the whole."""

    @classmethod
    def from_dict(cls, name: Any, data: Any) -> Size:
        """Read an entry of a contract's `sizes`.

        Raises:
            InputError: it is not well formed.
        """
        where = f"the size {name!r:.40}"
        if not isinstance(name, str) or not (found := TERM.fullmatch(name)) or found[2] != name:
            raise InputError(f"{where} must have a name of letters and digits, as H")
        if name.casefold() in ("n", "batch"):
            raise InputError(f"{where} has the name of the batch axis", next="call it H, W or T")
        if not is_mapping(data) or "nominal" not in data:
            raise InputError(f"{where} needs its `nominal` size, as in {{nominal: 64}}")
        if unknown := sorted(set(map(str, data)) - set(cls.__dataclass_fields__) | {"name"} & set(data)):
            raise InputError(f"{where} has the unknown field {unknown[0]!r:.40}")
        try:
            size = cls(name, **data)
        except TypeError as error:
            raise InputError(f"{where} is not well formed: {error}") from error
        numbers: list[Any] = [size.nominal, size.min, size.max, size.multiple, size.halo or 0]
        if not all(is_integer(n) and 0 <= n <= MOST for n in numbers):
            raise InputError(f"{where} must be of whole numbers up to {MOST}, not {dict(data)!r:.100}")
        if not (size.multiple > 0 and 0 < size.min <= size.nominal <= size.max):
            raise InputError(f"{where} must have 1 <= min <= nominal <= max, and a multiple of 1 or more")
        if size.padded(size.min) >= size.max // size.multiple * size.multiple:
            raise InputError(f"{where} leaves the model one size", next="write it as a number in the shapes")
        if size.nominal % size.multiple:
            raise InputError(f"{where}: nominal must be a multiple of {size.multiple}, not {size.nominal}")
        if not isinstance(data.get("no_tiles", ""), str | None):
            raise InputError(f"{where}: `no_tiles` must be text")
        return size

    def to_dict(self) -> dict[str, Any]:
        """Return all but the name as plain data, fit for JSON."""
        return {key: value for key, value in asdict(self).items() if key != "name" and value is not None}

    def padded(self, length: int) -> int:
        """Return the next multiple: what the model is run at for `length`."""
        return -(-length // self.multiple) * self.multiple

    def __str__(self) -> str:
        """Say what it may be, as "H from 16 to 4096"."""
        return f"{self.name} from {self.min} to {self.max}"


@dataclass(frozen=True)
class Axis:
    """The length of an axis as a function of a size: times * size / over + plus."""

    size: str
    times: int = 1
    over: int = 1
    plus: int = 0

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Read what `str` writes: `H`, `4*H`, `H/4`, `256*T-12`.

        Raises:
            InputError: it is none of these.
        """
        found = TERM.fullmatch(text.replace(" ", ""))
        if not found or found[1] == "0" or not int(found[3] or 1):
            raise InputError(f"{text!r:.40} is no size: write a name, as H, or 4*H, H/4, 256*T-12")
        plus = int(found[5] or 0) * (-1 if found[4] == "-" else 1)
        return cls(found[2], int(found[1] or 1), int(found[3] or 1), plus)

    def at(self, size: int) -> int:
        """Return the length for a size."""
        return self.times * size // self.over + self.plus

    def solve(self, length: int) -> int | None:
        """Return the least size that gives `length`; None where none does."""
        size = -(-(length - self.plus) * self.over // self.times)
        return size if size > 0 and self.at(size) == length else None

    def __str__(self) -> str:
        """Write it as a contract does."""
        times = f"{self.times}*" if self.times != 1 else ""
        over = f"/{self.over}" if self.over != 1 else ""
        return f"{times}{self.size}{over}{self.plus:+d}" if self.plus else f"{times}{self.size}{over}"


Axes = tuple[Axis | None, ...]
"""The axes of one sample, None where the length is fixed; () where all are."""


def read_sizes(data: Any) -> tuple[Size, ...]:
    """Read a contract's `sizes`, name to entry.

    Raises:
        InputError: it is not well formed.
    """
    if not is_mapping(data):
        raise InputError("`sizes` must be names with their bounds, as in {H: {nominal: 64}}")
    return tuple(Size.from_dict(name, entry) for name, entry in data.items())


def read_shape(shape: Any, sizes: Iterable[Size]) -> tuple[tuple[Any, ...], Axes]:
    """Return the shape at nominal sizes, and its axes.

    Raises:
        InputError: it names a size that there is not.
    """
    known = {size.name: size.nominal for size in sizes}
    axes = tuple(Axis.parse(entry) if isinstance(entry, str) else None for entry in shape)
    for axis in axes:
        if axis and axis.size not in known:
            raise InputError(
                f"the size {axis.size!r} is not among the contract's sizes",
                next=f"say what it may be, beside `inputs`: sizes: {{{axis.size}: {{nominal: 64}}}}",
            )
    fixed = tuple(axis.at(known[axis.size]) if axis else entry for axis, entry in zip(axes, shape))
    return fixed, axes if any(axes) else ()


def write_shape(shape: tuple[int, ...], axes: Axes) -> tuple[int | str, ...]:
    """Return a shape as `read_shape` reads it."""
    return tuple(str(axis) if axis else length for axis, length in zip(axes, shape)) if axes else shape


def at(shape: tuple[int, ...], axes: Axes, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape at `sizes`."""
    if not axes:
        return shape
    return tuple(axis.at(sizes[axis.size]) if axis else length for axis, length in zip(axes, shape))


def check_sizes(sizes: Sequence[Size], inputs: Sequence[tuple[str, Axes]], outputs: Sequence[Axes]) -> None:
    """Raise `InputError` where a size cannot be told from the inputs, or lengths are no whole numbers."""
    names = [size.name for size in sizes]
    if len(set(names)) != len(names):
        raise InputError(f"sizes have one name each, not {names}")
    given = {axis.size for _, axes in inputs for axis in axes if axis}
    for size in sizes:
        if size.name not in given:
            raise InputError(f"no input has the free size {size.name!r}, so nothing would tell it")
        for axis in (axis for axes in (*(of for _, of in inputs), *outputs) for axis in axes if axis):
            if axis.size != size.name:
                continue
            if axis.times * size.multiple % axis.over:
                raise InputError(
                    f"{axis} is no whole number for all multiples of {size.multiple}",
                    next=f"give {size.name} a multiple of {axis.over}",
                )
            if axis.at(size.padded(size.min)) < 1:
                raise InputError(f"{axis} is less than 1 for {size.name} = {size.min}", next="raise its min")


def sizes_of(
    sizes: Sequence[Size], inputs: Iterable[tuple[str, Axes]], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, int]:
    """Return each size as the given arrays (N, ...) have it; nominal where none has it.

    Raises:
        InputError: two inputs disagree, or a length is none that its axis can have.
    """
    found: dict[str, tuple[int, str]] = {}
    axes = [
        (axis, arrays[name].shape[place + 1], name)
        for name, of in inputs
        if name in arrays and arrays[name].ndim == len(of) + 1
        for place, axis in enumerate(of)
        if axis
    ]
    for axis, length, name in sorted(axes, key=lambda entry: entry[0].over > entry[0].times):
        size = axis.solve(length)
        if axis.size in found and axis.at(found[axis.size][0]) == length:
            continue
        if size is None or axis.size in found:
            other = f" for {axis.size} = {found[axis.size][0]} of {found[axis.size][1]!r}"
            raise InputError(
                f"input {name!r} has an axis of {length}, and it must be {axis}"
                + (other if axis.size in found else "")
            )
        found[axis.size] = (size, name)
    return {size.name: found.get(size.name, (size.nominal, ""))[0] for size in sizes}


def check_bounds(sizes: Iterable[Size], given: Mapping[str, int], *, tiled: bool = False) -> None:
    """Raise `InputError` where a size is not within its bounds; tiles may make up more than the largest."""
    for size in sizes:
        length = given[size.name]
        if length < size.min or (length > size.max and not tiled):
            raise InputError(
                f"{size.name} = {length} is not a size that the model takes: {size}",
                next="ask for tiles of less, as in tile=512, or --tile 512" if length > size.max else None,
            )


def with_nominal(sizes: Iterable[Size], given: Mapping[str, int]) -> tuple[Size, ...]:
    """Return the sizes with `given` in the place of the nominal ones."""
    return tuple(replace(size, nominal=given.get(size.name, size.nominal)) for size in sizes)


def resized(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return `array` (N, ...) with samples of `shape`: what is over is cut off, what lacks is mirrored."""
    cut = array[(slice(None), *(slice(length) for length in shape))]
    lacks = [(0, length - have) for length, have in zip(shape, cut.shape[1:])]
    return np.pad(cut, [(0, 0), *lacks], mode="symmetric") if any(more for _, more in lacks) else cut
