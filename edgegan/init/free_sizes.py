"""Which axes of a network's inputs are free, and what its outputs' follow from, found by trying sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

from torch import nn

from edgegan.init.inputs import Guess
from edgegan.init.trying import outputs, run
from edgegan.runtime.sizes import LARGEST, Axis

NAMES = {1: ("T",), 2: ("H", "W"), 3: ("T", "H", "W")}
"""What the free axes are called, by how many there are."""
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Multiples that are tried, the least first."""
OFFSETS = ((1, 2, 3), (3, 1, 2), (2, 3, 1))
"""How many multiples more than the nominal sizes are tried: all the ways apart from each other."""

LEAST, MOST = 4, 1024
"""Smaller sizes are not tried, and a network that takes the larger is held to have no largest."""
LONGER = 4
"""How many times longer than a nominal size that is near `MOST`, or above it, is tried."""

Path = tuple[str, ...]
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Free:
    """A contract's `sizes`, and the shapes with names in them, of inputs and of outputs by their paths."""

    sizes: dict[str, dict[str, int]]
    inputs: dict[str, list[int | str]]
    outputs: dict[Path, list[int | str]]


def free_sizes(module: nn.Module, inputs: Sequence[Guess], taken: Sequence[Path]) -> Free | None:
    """Return what is free of a network that runs on `inputs` and gives the outputs at `taken`, if anything.

    An output's axis is told as a function of one size, which every trial has to fit. One of shares, as 3*H/2,
    which neither half of a nominal size nor twice as much fits, is none: steps hide in it.
    """
    guess = next((guess for guess in inputs if guess.free), None)
    if guess is None:
        return None
    names = NAMES[len(guess.free)]
    nominal = {name: guess.shape[axis] for name, axis in zip(names, guess.free)}
    axes = {one.name: _axes(one, names, nominal) for one in inputs}
    parts = [axis for shown in axes.values() for axis in shown if axis]
    for step in STEPS:
        if any(size % step for size in nominal.values()):
            continue
        if any(axis.times * step % axis.over for axis in parts):
            continue
        with suppress(Exception):
            found = _told(module, inputs, axes, taken, nominal, step)
            if found is not None:
                return found
    return None


def _axes(guess: Guess, names: Sequence[str], nominal: Sizes) -> list[Axis | None]:
    """Return an input's axes: those free of it that are a multiple or a part of a size."""
    axes: list[Axis | None] = [None] * len(guess.shape)
    if len(guess.free) == len(names):
        for name, place in zip(names, guess.free):
            share = Fraction(guess.shape[place], nominal[name])
            if 1 in (share.numerator, share.denominator):
                axes[place] = Axis(name, share.numerator, share.denominator)
    return axes


def _told(
    module: nn.Module,
    inputs: Sequence[Guess],
    axes: Mapping[str, list[Axis | None]],
    taken: Sequence[Path],
    nominal: Sizes,
    step: int,
) -> Free | None:
    trials = [dict(nominal)]
    for offsets in OFFSETS:
        trials.append({name: size + step * more for (name, size), more in zip(nominal.items(), offsets)})
    shapes = [_shapes(module, inputs, axes, taken, sizes) for sizes in trials]
    told: dict[Path, list[int | str]] = {}
    shares = False
    for path in taken:
        lengths = zip(*(seen[path] for seen in shapes))
        axes_told = [_function(trials, seen) for seen in lengths]
        if None in axes_told:
            return None
        shares |= any(isinstance(axis, Axis) and axis.times > 1 and axis.over > 1 for axis in axes_told)
        told[path] = [axis if isinstance(axis, int) else str(axis) for axis in axes_told if axis is not None]
    if not any(isinstance(entry, str) for shape in told.values() for entry in shape):
        return None
    fits = _Trial(module, inputs, axes, taken, told)
    sizes = {}
    least = next(
        (
            size
            for size in _doubled(-(-LEAST // step) * step, min(nominal.values()))
            if fits(dict.fromkeys(nominal, size))
        ),
        min(nominal.values()),
    )
    for name, size in nominal.items():
        sizes[name] = {"nominal": size, "min": least, **({"multiple": step} if step > 1 else {})}
        longer = list(_doubled(size, max(MOST, LONGER * size) + 1))[1:]
        failed = next(
            (more for more in longer if not fits({**dict.fromkeys(nominal, least), name: more})), None
        )
        if failed == 2 * size and least == min(nominal.values()) and shares:
            return None
        if failed is not None:
            sizes[name]["max"] = max(failed // 2, size + step * max(OFFSETS[0]))
        elif longer[-1] > LARGEST:
            sizes[name]["max"] = longer[-1]
    shown = {
        guess.name: [str(axis) if axis else length for axis, length in zip(axes[guess.name], guess.shape)]
        for guess in inputs
    }
    return Free(sizes, shown, told)


def _doubled(size: int, end: int) -> Iterator[int]:
    while size < end:
        yield size
        size *= 2


@dataclass(frozen=True)
class _Trial:
    """Whether the network gives what is told of it."""

    module: nn.Module
    inputs: Sequence[Guess]
    axes: Mapping[str, list[Axis | None]]
    taken: Sequence[Path]
    told: Mapping[Path, list[int | str]]

    def __call__(self, sizes: Sizes) -> bool:
        try:
            seen = _shapes(self.module, self.inputs, self.axes, self.taken, sizes)
        except Exception:
            return False
        read = {
            path: [Axis.parse(e) if isinstance(e, str) else e for e in of] for path, of in self.told.items()
        }
        wanted = {
            path: tuple(e if isinstance(e, int) else e.at(sizes[e.size]) for e in of)
            for path, of in read.items()
        }
        return seen == wanted and all(min(shape, default=1) > 0 for shape in seen.values())


def _shapes(
    module: nn.Module,
    inputs: Sequence[Guess],
    axes: Mapping[str, list[Axis | None]],
    taken: Sequence[Path],
    sizes: Sizes,
) -> dict[Path, tuple[int, ...]]:
    """Return the shapes of one sample of the outputs at `sizes`."""
    sized = []
    for guess in inputs:
        pairs = zip(axes[guess.name], guess.shape)
        shape = tuple(axis.at(sizes[axis.size]) if axis else length for axis, length in pairs)
        sized.append(replace(guess, shape=shape))
    given = dict(outputs(run(module, tuple(sized), 2), 2))
    return {path: tuple(given[path].shape[1:]) for path in taken}


def _function(trials: Sequence[Sizes], lengths: Sequence[int]) -> Axis | int | None:
    """Return the length, or the function of one size, that all trials fit; None where none is."""
    if len(set(lengths)) == 1:
        return lengths[0]
    for name in trials[0]:
        first, second = trials[0][name], trials[1][name]
        slope = Fraction(lengths[1] - lengths[0], second - first)
        plus = lengths[0] - slope * first
        if slope <= 0 or plus.denominator != 1:
            continue
        axis = Axis(name, slope.numerator, slope.denominator, int(plus))
        if all(axis.at(sizes[name]) == length for sizes, length in zip(trials, lengths)):
            return axis
    return None
