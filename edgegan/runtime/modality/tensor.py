"""Plain tensors, which nothing more is known of: float32 as the model gives them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgegan.runtime.modality.base import Modality
from edgegan.runtime.modality.drawing import flat
from edgegan.runtime.modality.tables import write_csv

if TYPE_CHECKING:
    from edgegan.runtime.contract import Output


@dataclass(frozen=True)
class Tensor(Modality):
    """Values of any shape."""

    kind: ClassVar[str] = "tensor"
    files: ClassVar[tuple[str, ...]] = (".csv",)
    metrics: ClassVar[tuple[str, ...]] = ("psnr_db", "relative_error")

    def check(self, spec: Output) -> None:
        """Take any shape."""

    def encode(self, array: NDArray[Any], spec: Output) -> NDArray[np.float32]:
        """Return the values as float32."""
        return array.astype(np.float32)

    def preview(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return the values as shades of grey: black is the lowest of the range, white the highest."""
        shades = np.nan_to_num(np.clip(self.shares(array, spec), 0, 1)) * 255
        return flat(np.rint(shades).astype(np.uint8))[..., None]

    def write(self, path: Path, array: NDArray[Any], spec: Output) -> None:
        """Write a row for each sample, with all its values in C order."""
        rows = array.reshape(len(array), -1)
        titles = (f"{spec.name}_{index}" for index in range(rows.shape[1]))
        write_csv(path, ("sample", *titles), np.arange(len(array))[:, None], rows)
