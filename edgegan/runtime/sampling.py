"""How inputs are drawn from a seed: by kind, from the streams of random numbers that README.md specifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.runtime.numbers import is_integer, is_number, is_range
from edgegan.runtime.safe_filenames import is_safe

NEWEST = 2
"""The version of contracts that are written now."""
Kind = Literal["normal", "uniform", "labels", "one_hot", "constant", "stored"]
KINDS: tuple[str, ...] = get_args(Kind)


def stream(seed: int, index: int, version: int = NEWEST) -> np.random.Generator:
    """Return the stream of input number `index`, from 0, of `seed`, 0 or more.

    Version 1 put the words of the seed before the index, so that input 1 of seed 7 and input 0 of seed
    2**32 + 7 drew the same numbers. Version 2 puts the index after the lowest word: seeds below 2**32 draw
    what they did.
    """
    words = [seed >> shift & 0xFFFFFFFF for shift in range(0, max(1, seed.bit_length()), 32)]
    words.insert(len(words) if version == 1 else 1, index)
    entropy = np.array(words, np.uint32)  # numpy takes its time to make that of a list
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


@dataclass(frozen=True)
class Sample:
    """How an input is drawn.

    Standard `normal`, `uniform` from low to high, `labels` in 0..classes-1, `one_hot`: a 1 among zeros along
    the first axis, `constant`: always `value`, or `stored`: real inputs, rows of the array that has the
    input's name in the .npz `file`, where uint8 0..255 stands for low to high.
    """

    kind: Kind
    low: float = -1.0
    high: float = 1.0
    classes: int | None = None
    file: str | None = None
    """Of stored inputs: the name of a file beside the recipe, or in the bundle."""
    value: float | None = None

    @property
    def usual(self) -> tuple[float, float] | None:
        """The lowest and the highest value that is drawn; of stored inputs, of those that uint8 stands for.

        None for labels, and for constants, which an app sets as it likes. A normal's are 6 deviations.
        """
        if self.kind in ("labels", "constant"):
            return None
        return {"normal": (-6.0, 6.0), "one_hot": (0.0, 1.0)}.get(self.kind, (self.low, self.high))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Draw an array of `shape` and `dtype`; stored inputs are drawn by `Contract.batches`."""
        if self.kind == "stored":
            raise InputError("stored inputs are drawn from their contract", next="call Contract.sample")
        if self.kind == "normal":
            return rng.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False)
        if self.kind == "uniform":
            return rng.uniform(self.low, self.high, shape).astype(dtype)
        if self.kind == "constant":
            return np.full(shape, self.value, dtype)
        if self.kind == "one_hot":
            return one_hot(rng.integers(0, shape[1], (shape[0], *shape[2:])), shape[1])
        if shape == (1,):  # for which numpy takes a third of the time
            return np.array([rng.integers(0, self.classes or 1)], dtype)
        return rng.integers(0, self.classes or 1, shape).astype(dtype, copy=False)

    def validate(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """Raise `InputError` where input `name`, of this `shape` and `dtype`, cannot be drawn so."""
        kind, classes = self.kind, self.classes
        if kind not in KINDS:
            raise InputError(f"{name!r}: sample kind {kind!r} is none of {', '.join(KINDS)}")
        self._validate_file(name)
        if (kind == "labels") != (dtype == "int64"):
            raise InputError(f"{name!r}: labels are int64, and int64 inputs are labels")
        if kind == "labels" and not (is_integer(classes) and 0 < classes < 2**63):
            raise InputError(f"{name!r}: labels need classes: 1 or more, not {classes}")
        if kind != "labels" and classes is not None:
            raise InputError(f"{name!r}: only labels have classes")
        if kind == "one_hot" and not shape:
            raise InputError(f"{name!r}: one_hot needs a shape whose first size is the number of classes")
        if (kind == "constant") != is_number(self.value):
            raise InputError(f"{name!r}: a constant, and nothing else, has a value: a finite number")
        if not is_range(self.low, self.high):
            raise InputError(f"{name!r}: low and high must be two finite numbers, lowest first")

    def _validate_file(self, name: str) -> None:
        file, stored = self.file, self.kind == "stored"
        if not stored and file is not None:
            raise InputError(f"{name!r}: only stored inputs have a file")
        if stored and not (isinstance(file, str) and is_safe(file) and file.endswith(".npz")):
            raise InputError(
                f"{name!r}: stored inputs need a file: the plain name of an .npz beside the recipe, as in "
                f"inputs.npz, not {file!r:.80}"
            )


def one_hot(labels: NDArray[np.integer], classes: int) -> NDArray[np.float32]:
    """Return labels (N, ...) as (N, classes, ...): 1 at the label's place, 0 elsewhere."""
    return np.moveaxis(np.eye(classes, dtype=np.float32)[labels], -1, 1)
