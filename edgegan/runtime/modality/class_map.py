"""Maps of classes, as of tiles or of segments: scores in a model, int32 ids for an app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgegan.runtime.modality.base import Modality, check_finite
from edgegan.runtime.modality.drawing import coloured

if TYPE_CHECKING:
    from edgegan.runtime.contract import Output


@dataclass(frozen=True)
class ClassMap(Modality):
    """Scores of classes for each place of a map: of shape (classes, *places), as (13, 32, 32)."""

    kind: ClassVar[str] = "class_map"
    metrics: ClassVar[tuple[str, ...]] = ("class_agreement", "mean_iou")

    def check(self, spec: Output) -> None:
        """Raise `InputError` unless the shape is (2 classes or more, at least one axis of places)."""
        if len(spec.shape) < 2 or spec.shape[0] < 2:
            raise self.refuse(spec, "(2 classes or more, height, width)")

    def encode(self, array: NDArray[Any], spec: Output) -> NDArray[np.int32]:
        """Return the id of the highest score at each place, int32 (N, *places); of equal ones the first.

        Raises:
            InputError: a score is NaN or infinite.
        """
        check_finite(array, "scores")
        return array.argmax(axis=1).astype(np.int32)

    def preview(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return the map with a colour for each class."""
        return coloured(array, spec.shape[0])
