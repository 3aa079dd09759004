"""Pictures in files, as the uint8 arrays that a generator takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError, MissingDependency

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def find(path: Path) -> list[Path]:
    """Return the picture at `path`, or those in the folder at `path` and below, by their names.

    Raises:
        DataError: there are none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(
            "there are no pictures here", where=str(path), next=f"give a folder with {', '.join(SUFFIXES)}"
        )
    return found


def read(path: Path, shape: Sequence[int | None], *, resize: bool) -> NDArray[np.uint8]:
    """Return a picture as uint8 `shape` (1 or 3, height, width), turned as its camera was held.

    Args:
        path: the file.
        shape: colour for 3 channels, grey for 1; None where the height or the width is free.
        resize: scale and crop a picture of another size; without, it is refused.

    Raises:
        DataError: it cannot be read, or is of another size.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingDependency("pillow", extra="onnxruntime", purpose="reading pictures") from error
    channels, height, width = shape
    try:
        opened = Image.open(path)
        with opened:
            turned = ImageOps.exif_transpose(opened).convert("RGB" if channels == 3 else "L")
    except Exception as error:  # a damaged picture makes Pillow raise almost anything
        raise DataError(
            f"the picture cannot be read: {error}", where=str(path), next="leave it out"
        ) from error
    size = (width or turned.width, height or turned.height)
    if turned.size != size:
        if not resize:
            raise DataError(
                f"the picture is {turned.width} x {turned.height}, and the model takes {size[0]} x {size[1]}",
                where=str(path),
                next="crop it, or let it be scaled and cropped with --resize",
            )
        turned = ImageOps.fit(turned, size)
    return np.moveaxis(np.reshape(np.asarray(turned), (size[1], size[0], -1)), -1, 0)
