"""Labelled images: a folder or a zip of `<class>/<name>.<png|jpg|...>`, or an `.npz`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgegan.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


@dataclass(frozen=True)
class LabelledImages:
    """`images` uint8 (N, H, W, C) and `labels` int64 (N,), the index of each image's class in `classes`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


def read_images(path: Path, shape: tuple[int, int, int] | None = None) -> LabelledImages:
    """Read labelled images, each brought to `shape` (channels, height, width).

    The shape is by default that of the first image. A folder or zip holds one folder a class; classes are
    in the order of their names. An `.npz` holds `train_images` (N, H, W) or (N, H, W, C) uint8 and
    `train_labels` (N,). Larger images are cropped to the wanted aspect about their centre and resized with an
    area filter; smaller ones are centred on black.

    Raises:
        DataError: nothing there, no images in it, or an image that cannot be decoded.
    """
    if not path.exists():
        raise DataError("there is no such data", where=str(path), next="check the path given for the data")
    if path.suffix == ".npz":
        return _read_npz(path, shape)
    images: list[NDArray[np.uint8]] = []
    names: list[str] = []
    for name, content in _files(path):
        try:
            with Image.open(io.BytesIO(content)) as image:
                if shape is None:
                    shape = (1 if image.mode in ("1", "L") else 3, image.height, image.width)
                images.append(_fit(image, shape))
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(
                "this image cannot be decoded", where=f"{path}: {name}", next="remove it or repair it"
            ) from error
        names.append(PurePosixPath(name).parent.name)
    if not images:
        raise DataError(
            "no images found",
            where=str(path),
            next="lay them out as <class>/<name>.png, in a folder or a zip",
        )
    classes = tuple(sorted(set(names)))
    index = {name: number for number, name in enumerate(classes)}
    return LabelledImages(np.stack(images), np.array([index[name] for name in names], np.int64), classes)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES:
                yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if PurePosixPath(name).suffix.lower() in SUFFIXES and "__MACOSX" not in name:
                    yield name, archive.read(name)
    except zipfile.BadZipFile as error:
        raise DataError("this is no folder, zip or npz", where=str(path), next="give one of these") from error


def _read_npz(path: Path, shape: tuple[int, int, int] | None) -> LabelledImages:
    with np.load(path, allow_pickle=False) as archive:
        missing = {"train_images", "train_labels"} - set(archive.files)
        if missing:
            raise DataError(
                f"the archive lacks {sorted(missing)}", where=str(path), next="name the arrays so"
            )
        images, labels = archive["train_images"], archive["train_labels"].astype(np.int64)
    if images.ndim == 3:
        images = images[..., None]
    if shape is not None and images.shape[1:] != (*shape[1:], shape[0]):
        images = np.stack([_fit(Image.fromarray(image.squeeze()), shape) for image in images])
    return LabelledImages(images, labels, tuple(str(number) for number in range(int(labels.max()) + 1)))


def _fit(image: Image.Image, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    channels, height, width = shape
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        if image.width >= width and image.height >= height:
            scale = min(image.width / width, image.height / height)
            left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
            box = (left, top, left + width * scale, top + height * scale)
            image = image.resize((width, height), Image.Resampling.BOX, box)
        else:
            canvas: Any = Image.new(image.mode, (width, height))
            canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
            image = canvas
    return np.asarray(image, np.uint8).reshape(height, width, channels)
