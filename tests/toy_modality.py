"""A modality of somebody else's, as a package would add it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgegan.errors import InputError
from edgegan.runtime.contract import Output
from edgegan.runtime.modality import Modality


@dataclass(frozen=True)
class Heights(Modality):
    """A toy of a modality: terrain, in whole metres for an app."""

    metres: float = 100.0
    kind: ClassVar[str] = "heights"
    files: ClassVar[tuple[str, ...]] = (".xyz",)
    metrics: ClassVar[tuple[str, ...]] = ("relative_error",)

    def check(self, spec: Output) -> None:
        if len(spec.shape) != 2:
            raise self.refuse(spec, "(height, width)")

    def encode(self, array: np.ndarray, spec: Output) -> np.ndarray:
        if not np.isfinite(array).all():
            raise InputError("the heights hold NaN or infinity", next="check the model's weights")
        return np.ascontiguousarray(np.rint(array * self.metres).astype(np.int32))

    def preview(self, array: np.ndarray, spec: Output) -> np.ndarray:
        return np.clip(array + 128, 0, 255).astype(np.uint8)[..., None]

    def write(self, path: Path, array: np.ndarray, spec: Output) -> None:
        path.write_text("\n".join(map(str, array.ravel().tolist())))
