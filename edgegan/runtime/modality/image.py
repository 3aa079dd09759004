"""Images: float (N, channels, height, width) in a model, uint8 (N, height, width, channels) for an app."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError
from edgegan.runtime.modality.base import Levels, Modality, to_levels

if TYPE_CHECKING:
    from edgegan.runtime.contract import Output

_LEVELS = Levels((0, 2, 3, 1))


@dataclass(frozen=True)
class Image(Modality):
    """An image of 1 (grey) or 3 (RGB) channels."""

    kind: ClassVar[str] = "image"
    metrics: ClassVar[tuple[str, ...]] = ("fid", "kid", "precision", "recall", "psnr_db", "ssim")

    def check(self, spec: Output) -> None:
        """Raise `InputError` unless the shape is (1 or 3, height, width)."""
        if len(spec.shape) != 3 or spec.shape[0] not in (1, 3):
            raise InputError(
                f"{spec.name!r}: layout CHW needs shape (1 or 3, height, width), not {spec.shape}",
                next="correct `shape`, or say what else the output is: `modality: tensor`",
            )

    def levels(self, spec: Output) -> Levels:
        """Return the turn from NCHW to NHWC."""
        return _LEVELS

    def encode(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return uint8 (N, height, width, channels); see `to_uint8`."""
        return to_uint8(array, spec.range)

    def preview(self, array: NDArray[Any], spec: Output) -> NDArray[np.uint8]:
        """Return the images themselves."""
        return array


def to_uint8(images: NDArray[Any], value_range: Sequence[float]) -> NDArray[np.uint8]:
    """Map float NCHW images of `value_range` to uint8 NHWC, rounding half to even.

    Values past the range are clipped. Images that are uint8 (N, H, W, C) already pass through.

    Raises:
        InputError: a value is NaN or infinite.
    """
    low, high = value_range
    return to_levels(images, (low, high), _LEVELS)
