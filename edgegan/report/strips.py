"""Strips of sample images as PNG data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import MissingDependency

LARGEST_SIDE = 128
SHOWN_SIDE = 72
GAP = 2


@dataclass(frozen=True)
class Strip:
    """A row of images as one PNG; sizes are in CSS pixels."""

    uri: str
    n: int
    width: int
    height: int
    pixelated: bool
    shrunk_from: str
    """The images' own size, such as `256 x 256`, where they are shown smaller; otherwise empty."""


def columns(images: NDArray[np.uint8]) -> int:
    """Return how many images of this size a row of the grid holds."""
    return 12 if max(images.shape[1:3]) <= SHOWN_SIDE else 8


def strip(images: NDArray[np.uint8]) -> Strip:
    """Put `images` (uint8 NHWC, 1 or 3 channels) side by side, large ones shrunk, small ones magnified."""
    height, width = images.shape[1:3]
    shrink = max(1.0, max(height, width) / LARGEST_SIDE)
    scale = max(1, SHOWN_SIDE // max(height, width))
    tiles = [_tile(image, shrink) for image in images]
    tile_width, tile_height = tiles[0].size
    tile_width, tile_height = tile_width * scale, tile_height * scale
    canvas = _pillow().new("RGBA", (len(tiles) * (tile_width + GAP) - GAP, tile_height))
    for index, tile in enumerate(tiles):
        canvas.paste(tile.resize((tile_width, tile_height), 0), (index * (tile_width + GAP), 0))
    shrunk = f"{width} x {height}" if shrink > 1 else ""
    return Strip(_png(canvas), len(tiles), canvas.width, canvas.height, scale > 1, shrunk)


def _tile(image: NDArray[np.uint8], shrink: float) -> Any:
    pillow = _pillow()
    tile = pillow.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGBA")
    if shrink == 1:
        return tile
    size = (max(1, round(tile.width / shrink)), max(1, round(tile.height / shrink)))
    return tile.resize(size, pillow.Resampling.LANCZOS)


def _png(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency("pillow", extra="onnxruntime", purpose="the page of a run") from error
    return Image
