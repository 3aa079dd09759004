"""Large inputs in tiles: each goes through the model with as much of its neighbours as decides its output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from edgegan.errors import InputError
from edgegan.runtime.contract import Arrays, Contract
from edgegan.runtime.sizes import Axes, Axis, Size

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Span:
    """A tile along one size: what goes into the model, and the part of it that is kept."""

    start: int
    stop: int
    low: int
    high: int
    last: bool

    def given(self, axis: Axis) -> slice:
        """Return what of an input's axis goes in."""
        return slice(_place(axis, self.start), _place(axis, self.stop) + axis.plus)

    def kept(self, axis: Axis, length: int) -> slice:
        """Return where on an output's axis of `length`, that of the whole, the tile's part lies."""
        high = length if self.last else min(length, _place(axis, self.high))
        return slice(min(_place(axis, self.low), high), high)

    def taken(self, axis: Axis, length: int) -> slice:
        """Return where that part lies on the axis of the tile's own output."""
        kept, start = self.kept(axis, length), _place(axis, self.start)
        return slice(kept.start - start, kept.stop - start)


Tile = Mapping[str, Span]


def given(axes: Axes, shape: Sequence[int], tile: Tile) -> Slices:
    """Return what of an input (N, *shape) goes into a tile."""
    return _slices(axes, [tile[axis.size].given(axis) if axis else slice(None) for axis in axes], len(shape))


def kept(axes: Axes, shape: Sequence[int], tile: Tile) -> Slices:
    """Return where in an output (N, *shape) a tile's part lies."""
    parts = [tile[a.size].kept(a, length) if a else slice(None) for a, length in zip(axes, shape)]
    return _slices(axes, parts, len(shape))


def taken(axes: Axes, shape: Sequence[int], tile: Tile) -> Slices:
    """Return where in the tile's own output that part lies; `shape` is that of the whole's."""
    parts = [tile[a.size].taken(a, length) if a else slice(None) for a, length in zip(axes, shape)]
    return _slices(axes, parts, len(shape))


def tiles(contract: Contract, lengths: Mapping[str, int], asked: int | Mapping[str, int]) -> Iterator[Tile]:
    """Yield the tiles of inputs whose free sizes are `lengths`, padded to their multiples.

    Args:
        contract: of the model, with the halo of each size.
        lengths: each free size.
        asked: the largest size of a tile, its neighbours' part included; or each size's.

    Raises:
        InputError: the model has no tiles, or they are too small or too large.
    """
    spans = [
        _spans(size, lengths[size.name], asked if isinstance(asked, int) else asked.get(size.name))
        for size in contract.sizes
    ]
    for chosen in product(*spans):
        yield {size.name: span for size, span in zip(contract.sizes, chosen)}


def cut(contract: Contract, arrays: Arrays, tile: Tile) -> Arrays:
    """Return what of the inputs (N, ...) goes into a tile."""
    return {
        spec.name: arrays[spec.name][given(spec.axes, spec.shape, tile)] if spec.axes else arrays[spec.name]
        for spec in contract.inputs
    }


def _spans(size: Size, length: int, asked: int | None) -> list[Span]:
    if asked is None or length <= asked:
        return [Span(0, length, 0, length, last=True)]
    if size.halo is None:
        why = size.no_tiles or "its halo was not found out"
        raise InputError(
            f"this model has no tiles along {size.name}: {why}", next="leave `tile` out, and give the whole"
        )
    most = min(asked, size.max) // size.multiple * size.multiple
    core = most - 2 * size.halo
    if core < size.multiple or most < size.padded(size.min):
        least = max(2 * size.halo + size.multiple, size.padded(size.min))
        more = f", and at most {size.max}" if least <= size.max else ""
        raise InputError(
            f"tiles of {size.name} = {asked} are too small: {size.halo} on both sides are their neighbours'",
            next=f"ask for {least} at least{more}; larger ones take more memory and less time",
        )
    found: list[Span] = []
    for low in range(0, length, core):
        high = min(length, low + core)
        start, stop = max(0, low - size.halo), min(length, high + size.halo)
        start = max(0, min(start, stop - size.padded(size.min)))
        found.append(Span(start, stop, low, high, last=high == length))
    return found


def _place(axis: Axis, position: int) -> int:
    return axis.times * position // axis.over


def _slices(axes: Axes, parts: Sequence[slice], rank: int) -> Slices:
    return (slice(None), *(parts if axes else [slice(None)] * rank))
