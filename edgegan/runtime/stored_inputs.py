"""Real inputs that a contract draws from: rows of `.npz` files that lie beside a recipe or in a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.reading import LARGEST_ARRAYS, read_npz, refusing

Arrays = dict[str, NDArray[Any]]
Shapes = Mapping[str, tuple[int | None, ...]]
"""Input to the shape of one sample of it, None where a size is free."""

_NEXT = "np.savez_compressed(FILE, **{INPUT: images}) with images of shape (M, *shape), uint8 or float32"


@dataclass(frozen=True)
class Source:
    """Where files lie, and what gives the bytes of one by its name; by default as it lies in the folder."""

    folder: Path
    read: Callable[[str], bytes] | None = None


class Stored:
    """The files that inputs are drawn from, each read once, when it is first drawn from.

    Args:
        source: where they lie.
        shapes: file to the inputs that are drawn from it.
    """

    def __init__(self, source: Source, shapes: Mapping[str, Shapes]) -> None:
        self.folder, self._shapes = source.folder, shapes
        self._read_file: Callable[[str], bytes | Path] = source.read or self._in_folder
        self._arrays: dict[str, Arrays] = {}

    def rows(self, file: str) -> Arrays:
        """Return the arrays (M, *shape) of a file by input, uint8 or float32, of one M.

        Raises:
            InputError: the file is missing or damaged, or an array is missing, does not fit or is not finite.
        """
        if file not in self._arrays:
            where = str(self.folder / file)
            taken = sum(array.nbytes for arrays in self._arrays.values() for array in arrays.values())
            with refusing(InputError, "the stored inputs cannot be read", where=where, next=_NEXT):
                arrays = read_npz(self._read_file(file), self._shapes[file], LARGEST_ARRAYS - taken)
            for name, array in arrays.items():
                _check(name, array, self._shapes[file][name], where)
            counts = {name: len(array) for name, array in arrays.items()}
            if len(set(counts.values())) != 1:
                raise InputError(
                    f"the inputs must have as many rows as each other, not {counts}",
                    where=where,
                    next=_NEXT,
                )
            self._arrays[file] = arrays
        return self._arrays[file]

    def count(self, file: str) -> int:
        """Return the number of a file's rows."""
        return len(next(iter(self.rows(file).values())))

    def _in_folder(self, file: str) -> Path:
        return self.folder / file


def scaled(rows: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Return `rows` as float32: uint8 0..255 mapped to `low`..`high`, float32 as it is."""
    if rows.dtype == np.float32:
        return rows
    return rows.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)


def shuffled(rng: np.random.Generator, count: int) -> Iterator[int]:
    """Yield row numbers below `count` without end: all of them in one random order, then in another."""
    while True:
        yield from rng.permutation(count)


def _check(name: str, array: NDArray[Any], shape: tuple[int | None, ...], where: str) -> None:
    problem = None
    fits = array.ndim == len(shape) + 1 and all(
        mine in (None, size) for mine, size in zip(shape, array.shape[1:])
    )
    if array.dtype not in (np.dtype(np.uint8), np.dtype(np.float32)):
        problem = f"must be uint8 or float32, not {array.dtype}"
    elif not fits:
        sizes = ("any" if size is None else str(size) for size in shape)
        problem = f"must have shape ({', '.join(('M', *sizes))}), not {array.shape}"
    elif len(array) == 0:
        problem = "has no rows"
    elif array.dtype == np.float32 and not np.isfinite(array).all():
        problem = "holds NaN or infinity"
    if problem:
        raise InputError(f"the stored input {name!r} {problem}", where=where, next=_NEXT)
