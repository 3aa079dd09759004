"""Sequences of tokens, as of text: scores in a model, int32 ids for an app, and `.csv` files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.runtime.modality.base import Modality, check_finite
from edgegan.runtime.modality.drawing import coloured
from edgegan.runtime.modality.tables import write_csv

if TYPE_CHECKING:
    from edgegan.runtime.contract import Output


@dataclass(frozen=True)
class Tokens(Modality):
    """Scores of a vocabulary for each place of a sequence: of shape (length, vocabulary).

    `axis` is that of the vocabulary: -1 by default, 0 for (vocabulary, length).
    """

    axis: int = -1

    kind: ClassVar[str] = "tokens"
    files: ClassVar[tuple[str, ...]] = (".csv",)
    metrics: ClassVar[tuple[str, ...]] = ("token_agreement",)

    def __post_init__(self) -> None:
        if type(self.axis) is not int or self.axis not in (-2, -1, 0, 1):
            raise InputError(f"axis of tokens must be 0 or -1, not {self.axis!r:.40}")

    def check(self, spec: Output) -> None:
        """Raise `InputError` unless the shape is of two axes, with a vocabulary of 2 or more."""
        if len(spec.shape) != 2 or spec.shape[self.axis] < 2:
            raise self.refuse(spec, "(length, vocabulary), or with `axis: 0` (vocabulary, length)")

    def encode(self, array: NDArray[Any], spec: Output) -> NDArray[np.int32]:
        """Return the id of the highest score at each place, int32 (N, length); of equal ones the first.

        Raises:
            InputError: a score is NaN or infinite.
        """
        check_finite(array, "scores")
        return array.argmax(axis=1 + self.axis % 2).astype(np.int32)

    def preview(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return a colour for each token, in rows."""
        return coloured(array, spec.shape[self.axis])

    def write(self, path: Path, array: NDArray[Any], spec: Output) -> None:
        """Write a row of ids for each sample."""
        places = (f"token_{place}" for place in range(array.shape[1]))
        write_csv(path, ("sample", *places), np.arange(len(array))[:, None], array)
