"""Video: float frames in a model, uint8 (N, frames, height, width, channels) for an app, and `.gif` files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError, MissingDependency
from edgegan.files import atomic_path
from edgegan.runtime.grid import image_grid
from edgegan.runtime.modality.base import Levels, Modality, to_levels
from edgegan.runtime.modality.drawing import side_by_side
from edgegan.runtime.numbers import is_number

if TYPE_CHECKING:
    from edgegan.runtime.contract import Output

_ORDERS = {"CTHW": (0, 2, 3, 4, 1), "TCHW": (0, 1, 3, 4, 2)}
_SHOWN = 8
_LEAST_MS = 20
"""Viewers of GIFs take less for a mistake, and play slowly."""


@dataclass(frozen=True)
class Video(Modality):
    """Frames at `fps` a second; `layout` says where their axis is: CTHW as of Conv3d, or TCHW."""

    fps: float
    layout: Literal["CTHW", "TCHW"] = "CTHW"

    kind: ClassVar[str] = "video"
    files: ClassVar[tuple[str, ...]] = (".gif",)
    plays: ClassVar[str | None] = ".gif"
    metrics: ClassVar[tuple[str, ...]] = ("psnr_db", "ssim", "flicker")

    def __post_init__(self) -> None:
        if not is_number(self.fps) or not 0 < self.fps <= 1000:
            raise InputError(
                f"fps must be frames a second, more than 0 and at most 1000, not {self.fps!r:.40}"
            )
        layout: Any = self.layout
        if not isinstance(layout, str) or layout not in _ORDERS:
            raise InputError(f"a video's layout must be CTHW or TCHW, not {layout!r:.40}")

    def check(self, spec: Output) -> None:
        """Raise `InputError` unless the shape is that of frames of 1 or 3 channels."""
        if len(spec.shape) != 4 or spec.shape[self.layout.index("C")] not in (1, 3):
            needs = {"CTHW": "(1 or 3, frames, height, width)", "TCHW": "(frames, 1 or 3, height, width)"}
            raise self.refuse(spec, needs[self.layout])

    def levels(self, spec: Output) -> Levels:
        """Return the turn to (N, frames, height, width, channels)."""
        return Levels(_ORDERS[self.layout])

    def encode(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return uint8 (N, frames, height, width, channels), as images are encoded.

        Raises:
            InputError: a value is NaN or infinite.
        """
        return to_levels(array, spec.range, self.levels(spec))

    def preview(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return up to 8 frames of each clip side by side."""
        chosen = np.linspace(0, array.shape[1] - 1, min(_SHOWN, array.shape[1])).round().astype(int)
        return side_by_side(array[:, chosen])

    def write(self, path: Path, array: NDArray[Any], spec: Output) -> None:
        """Write the clips as one `.gif` that repeats, all of them in a grid."""
        try:
            from PIL import Image
        except ImportError as error:
            raise MissingDependency("pillow", extra="onnxruntime", purpose="writing a GIF") from error
        grids = [image_grid(np.ascontiguousarray(array[:, frame])) for frame in range(array.shape[1])]
        frames = [Image.fromarray(grid[..., 0] if grid.shape[2] == 1 else grid) for grid in grids]
        with atomic_path(path) as temporary:
            frames[0].save(
                temporary,
                format="GIF",
                save_all=True,
                append_images=frames[1:],
                duration=max(_LEAST_MS, round(1000 / self.fps)),
                loop=0,
            )
