"""Stored inputs of a recipe: made-up ones to begin with, and real pictures in their place."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError, InputError, StorageError
from edgegan.files import write_bytes
from edgegan.reading import Unreadable, open_npz
from edgegan.recipe import Recipe
from edgegan.runtime import pictures
from edgegan.runtime.contract import Input

MADE_UP = "made_up"
"""The array that marks a file whose inputs were made up, and may be replaced."""
MOST = 512
MOST_BYTES = 256 << 20


def store_pictures(recipe: str | Path, folder: str | Path) -> Path:
    """Write the stored pictures of a recipe from a folder of pictures, and return the file.

    Each is scaled and cropped to the contract's size; 512 at the most are taken, spread over the folder in
    order of their names. Where the contract has several pictures, the folder has one of its own for each, of
    that input's name, and pictures of one place in these belong together.

    Args:
        recipe: the recipe's folder.
        folder: of pictures.

    Raises:
        InputError: the contract has no stored picture.
        DataError: there are no pictures, or they cannot be read.
        StorageError: the recipe's file holds other inputs than made-up ones.
    """
    contract, root = Recipe.read(recipe).contract, Path(folder)
    specs = [spec for spec in contract.inputs if spec.sample.file and _is_picture(spec)]
    if not specs or len({spec.sample.file for spec in specs}) > 1:
        raise InputError(
            "the recipe's contract has no stored pictures, of 1 or 3 channels, in one file",
            where=str(recipe),
            next="give an input of its contract: sample: {kind: stored, file: inputs.npz, low: 0, high: 1}",
        )
    file = Path(recipe) / str(specs[0].sample.file)
    if file.exists() and not _is_made_up(file):
        raise StorageError(
            "there are inputs in this file already",
            where=str(file),
            next="move it elsewhere, to make it anew",
        )
    arrays = {
        spec.name: read_pictures(picture_folder(root, spec.name, of=len(specs)), spec.shape) for spec in specs
    }
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"there must be as many pictures of each input, not {counts}", where=str(root))
    write_arrays(file, arrays)
    return file


def picture_folder(root: Path, name: str, *, of: int) -> Path:
    """Return where the pictures of the input `name` lie in the folder given for `of` inputs.

    Raises:
        DataError: it has none of that name.
    """
    folder = root / name if of > 1 else root
    if of > 1 and not folder.is_dir():
        raise DataError(
            f"the network takes {of} pictures, and there is no folder for {name!r}",
            where=str(root),
            next=f"put those of each in a folder of its name: {folder}",
        )
    return folder


def read_pictures(folder: Path, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return the pictures of `folder`, scaled and cropped to `shape` (1 or 3, H, W), as uint8 (M, *shape).

    Raises:
        DataError: there are none, or one cannot be read.
    """
    channels, height, width = shape
    paths = pictures.find(folder)
    count = max(1, min(len(paths), MOST, MOST_BYTES // (channels * height * width)))
    taken = [paths[index * len(paths) // count] for index in range(count)]
    return np.stack([pictures.read(path, shape, resize=True) for path in taken])


def write_arrays(file: Path, arrays: Mapping[str, NDArray[np.generic]], *, made_up: bool = False) -> None:
    """Write stored inputs, marked where they were made up."""
    content = io.BytesIO()
    marked = {MADE_UP: np.zeros((), np.uint8)} if made_up else {}
    np.savez_compressed(content, **{**arrays, **marked})  # pyright: ignore[reportArgumentType]
    write_bytes(file, content.getvalue())


def _is_picture(spec: Input) -> bool:
    return len(spec.shape) == 3 and spec.shape[0] in (1, 3)


def _is_made_up(file: Path) -> bool:
    try:
        with open_npz(file) as archive:
            return MADE_UP in archive.entries
    except Unreadable:
        return False
