"""Labelled images: a folder or a zip of `<class>/<name>.<png|jpg|...>`, or an `.npz`."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgegan.errors import DataError
from edgegan.reading import LARGEST_ARRAYS, Unreadable, open_npz, open_plain, read_plain, refusing

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
LARGEST_FILE = 256 << 20
"""Bytes of one image's file."""
MOST_PIXELS = 1 << 26
"""Of one image: 8192 x 8192."""
MOST_CLASSES = 1 << 20
MOST_GROWTH = 100
"""Images of over `LARGEST_ARRAYS` bytes together may take so many times the bytes of their files."""
REPAIR = "remove it or repair it"
ARRAYS = "give train_images (N, H, W, 1 or 3) as uint8, and train_labels (N,) as whole numbers"
KINDS = "give a folder or a zip of <class>/<name>.png, or an .npz"

Shape = tuple[int, int, int]
Opener = Callable[[], bytes]


@dataclass(frozen=True)
class LabelledImages:
    """`images` uint8 (N, H, W, C) and `labels` int64 (N,), the index of each image's class in `classes`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


def read_images(path: Path, shape: Shape | None = None) -> LabelledImages:
    """Read labelled images, each brought to `shape` (channels, height, width).

    The shape is by default that of the first image. A folder or zip holds one folder a class; classes are
    in the order of their names. An `.npz` holds `train_images` (N, H, W) or (N, H, W, C) uint8 and
    `train_labels` (N,) or (N, 1). Larger images are cropped to the wanted aspect about their centre and
    resized with an area filter; smaller ones are centred on black.

    Raises:
        DataError: nothing there, no images in it, an image that cannot be decoded, or more than memory holds.
    """
    if not path.exists():
        raise DataError("there is no such data", where=str(path), next="check the path given for the data")
    if path.suffix == ".npz":
        return _read_npz(path, shape)
    with opened_files(path, SUFFIXES, KINDS) as files:
        if not files:
            raise DataError(
                "no images found",
                where=str(path),
                next="lay them out as <class>/<name>.png, in a folder or a zip",
            )
        images: NDArray[np.uint8] | None = None
        read = 0
        for index, (name, content) in enumerate(files):
            place = f"{path}: {name}"
            with refusing(DataError, "this image cannot be decoded", where=place, next=REPAIR):
                encoded = content()
                image = _decoded(encoded)
            shape = shape or _shape(image)
            if images is None:
                images = np.empty((len(files), *shape[1:], shape[0]), np.uint8)
            images[index] = _fit(image, shape)
            read += len(encoded)
            _check_growth(images[: index + 1].nbytes, read, place)
        assert images is not None
        names = [PurePosixPath(name).parent.name for name, _ in files]
    classes = tuple(sorted(set(names)))
    numbers = {name: number for number, name in enumerate(classes)}
    return LabelledImages(images, np.array([numbers[name] for name in names], np.int64), classes)


def _check_growth(taken: int, read: int, where: str) -> None:
    if taken > LARGEST_ARRAYS and taken > MOST_GROWTH * read:
        raise DataError(
            f"the images so far would take {taken >> 20} MiB of memory, of {read >> 20} MiB of files",
            where=where,
            next="make them smaller, or all of one size",
        )


def read_tiles(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """Read images, and cut each into as many tiles of `shape` (channels, height, width) as it has room for.

    Tiles lie side by side about the image's centre. Returns uint8 (N, height, width, channels).

    Raises:
        DataError: see `read_images`; or no image is as large as a tile.
    """
    channels, height, width = shape
    tiles: list[NDArray[np.uint8]] = []
    read = 0
    with opened_files(path, SUFFIXES, KINDS) as files:
        for name, content in files:
            place = f"{path}: {name}"
            with refusing(DataError, "this image cannot be decoded", where=place, next=REPAIR):
                encoded = content()
                image = _decoded(encoded).convert("L" if channels == 1 else "RGB")
            whole = np.asarray(image, np.uint8).reshape(image.height, image.width, channels)
            rows, columns = image.height // height, image.width // width
            top, left = (image.height - rows * height) // 2, (image.width - columns * width) // 2
            part = whole[top : top + rows * height, left : left + columns * width]
            cut = part.reshape(rows, height, columns, width, channels).swapaxes(1, 2)
            tiles.extend(cut.reshape(-1, height, width, channels))
            read += len(encoded)
            _check_growth(len(tiles) * height * width * channels, read, place)
    if not tiles:
        raise DataError(
            f"there is no image of at least {width} x {height} pixels",
            where=str(path),
            next="give larger ones, in a folder or a zip",
        )
    return np.stack(tiles)


@contextmanager
def opened_files(path: Path, suffixes: Collection[str], kinds: str) -> Iterator[list[tuple[str, Opener]]]:
    """Give name and reader of each file of a folder or zip with one of `suffixes`, in the order of the names.

    Raises:
        DataError: it is neither, or not there; `kinds` says what is wanted.
    """
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in suffixes]
        yield [
            (file.relative_to(path).as_posix(), lambda file=file: read_plain(file, LARGEST_FILE))
            for file in files
        ]
        return
    with refusing(DataError, "this is no folder, zip or npz", where=str(path), next=kinds):
        opened = open_plain(path)
    with opened:
        with refusing(DataError, "this is no folder, zip or npz", where=str(path), next=kinds):
            archive = zipfile.ZipFile(opened)
        with archive:
            entries = sorted(
                (
                    entry
                    for entry in archive.infolist()
                    if PurePosixPath(entry.filename).suffix.lower() in suffixes
                    and "__MACOSX" not in entry.filename
                ),
                key=lambda entry: entry.filename,
            )
            yield [(entry.filename, lambda entry=entry: _unpacked(archive, entry)) for entry in entries]


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable("it is packed in another way than zip's usual one")
    if entry.file_size > LARGEST_FILE:
        raise Unreadable(f"it is larger than {LARGEST_FILE} bytes")
    with archive.open(entry) as file:
        return file.read(LARGEST_FILE)


def _decoded(content: bytes) -> Image.Image:
    """Decode one image, of a known format and size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata, which is not looked at
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS or 0 in image.size:
            raise Unreadable(f"it has {image.width} x {image.height} pixels, which is not 1 to {MOST_PIXELS}")
        image.load()
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow's own conversion cuts off at 255
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")


def _shape(image: Image.Image) -> Shape:
    return (1 if image.mode == "L" else 3, image.height, image.width)


def _read_npz(path: Path, shape: Shape | None) -> LabelledImages:
    with (
        refusing(DataError, "the archive cannot be read", where=str(path), next=KINDS),
        open_npz(path) as archive,
    ):
        missing = {"train_images", "train_labels"} - set(archive.entries)
        if missing:
            raise DataError(
                f"the archive lacks {sorted(missing)}", where=str(path), next="name the arrays so"
            )
        arrays = archive.arrays(("train_images", "train_labels"))
    images, labels = arrays["train_images"], arrays["train_labels"]
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise DataError(f"train_images are {images.dtype} {images.shape}", where=str(path), next=ARRAYS)
    labels = flat_labels(labels, len(images), path)
    if shape is not None and images.shape[1:] != (*shape[1:], shape[0]):
        fitted = np.empty((len(images), *shape[1:], shape[0]), np.uint8)
        for index, image in enumerate(images):
            fitted[index] = _fit(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), shape)
            _check_growth(fitted[: index + 1].nbytes, images.nbytes, str(path))
        images = fitted
    classes = tuple(str(number) for number in range(int(labels.max()) + 1))
    return LabelledImages(images, labels, classes)


def flat_labels(labels: NDArray[Any], count: int, path: Path) -> NDArray[np.int64]:
    """Return the labels of `count` samples, given as (N,) or (N, 1), as int64 (N,).

    Raises:
        DataError: they are of another number or type, or out of range.
    """
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        problem = f"train_labels are {labels.dtype} {labels.shape}, of {count} samples"
    elif int(labels.min()) < 0 or int(labels.max()) >= MOST_CLASSES:
        problem = f"a label is {int(labels.min())} or {int(labels.max())}, not 0 to {MOST_CLASSES - 1}"
    else:
        return labels.reshape(count).astype(np.int64)
    raise DataError(problem, where=str(path), next=ARRAYS)


def _fit(image: Image.Image, shape: Shape) -> NDArray[np.uint8]:
    channels, height, width = shape
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        if image.width >= width and image.height >= height:
            scale = min(image.width / width, image.height / height)
            left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
            right = min(image.width, left + width * scale)
            lower = min(image.height, top + height * scale)
            image = image.resize((width, height), Image.Resampling.BOX, (left, top, right, lower))
        else:
            canvas: Any = Image.new(image.mode, (width, height))
            canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
            image = canvas
    return np.asarray(image, np.uint8).reshape(height, width, channels)
