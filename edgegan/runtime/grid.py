"""Many images as one picture, and that picture as a PNG file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError, MissingDependency
from edgegan.files import atomic_path

_GAP = 2
_WHITE = 255


def image_grid(images: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Lay uint8 images (N, H, W, C) out row by row, two white pixels apart.

    Args:
        images: C is 1 (grey) or 3 (RGB).
        columns: images in a row; by default as many as make the grid about square.

    Returns:
        One uint8 image (height, width, C); places that no image fills are white.

    Raises:
        InputError: the images are not uint8 (N, H, W, 1 or 3), there is none, or `columns` is less than 1.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not len(images):
        raise InputError(
            f"the images must be uint8 (N, height, width, 1 or 3), not {images.dtype} {images.shape}"
        )
    if columns is None:
        columns = math.ceil(math.sqrt(len(images)))
    if columns < 1:
        raise InputError(f"the number of columns must be 1 or more, not {columns}")
    n, height, width, channels = images.shape
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    down, across = height + _GAP, width + _GAP
    grid = np.full((rows * down - _GAP, columns * across - _GAP, channels), _WHITE, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * down, index % columns * across
        grid[top : top + height, left : left + width] = image
    return grid


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a uint8 image (height, width, 1 or 3) as PNG, atomically.

    Raises:
        MissingDependency: Pillow is not installed.
        StorageError: the file cannot be written.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency("pillow", extra="onnxruntime", purpose="writing a PNG") from error
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")
