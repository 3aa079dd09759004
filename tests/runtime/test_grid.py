"""Grids of images, and PNG files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgegan.errors import InputError, MissingDependency, StorageError
from edgegan.runtime.grid import image_grid, write_png


def images(n: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (n, 4, 6, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("n", "columns", "shape"),
    [
        (1, None, (4, 6, 3)),
        (16, None, (22, 30, 3)),
        (5, None, (10, 22, 3)),
        (5, 5, (4, 38, 3)),
        (5, 1, (28, 6, 3)),
        (5, 99, (4, 38, 3)),
    ],
)
def test_the_shape_of_a_grid(n: int, columns: int | None, shape: tuple[int, int, int]) -> None:
    grid = image_grid(images(n), columns)
    assert grid.shape == shape
    assert grid.dtype == np.uint8


def test_images_go_row_by_row_on_white() -> None:
    given = images(5)
    grid = image_grid(given, 3)
    np.testing.assert_array_equal(grid[0:4, 16:22], given[2])
    np.testing.assert_array_equal(grid[6:10, 0:6], given[3])
    covered = np.zeros(grid.shape[:2], bool)
    for top, left in [(0, 0), (0, 8), (0, 16), (6, 0), (6, 8)]:
        covered[top : top + 4, left : left + 6] = True
    assert (grid[~covered] == 255).all()


@pytest.mark.parametrize(
    "bad", [images(2).astype(np.float32), images(2)[0], images(2, 4), images(2)[:0]], ids=str
)
def test_what_is_not_images(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="must be uint8"):
        image_grid(bad)


def test_columns_below_one() -> None:
    with pytest.raises(InputError, match="columns must be 1 or more, not 0"):
        image_grid(images(2), 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_gives_the_same_pixels_back(tmp_path: Path, channels: int) -> None:
    grid = image_grid(images(4, channels))
    write_png(tmp_path / "new" / "grid.png", grid)
    with Image.open(tmp_path / "new" / "grid.png") as picture:
        assert picture.mode == ("L" if channels == 1 else "RGB")
        np.testing.assert_array_equal(np.asarray(picture).reshape(grid.shape), grid)


def test_a_png_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        write_png(tmp_path / "file" / "grid.png", image_grid(images(1)))


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependency, match=r"pip install 'edgegan\[onnxruntime\]'"):
        write_png(tmp_path / "grid.png", image_grid(images(1)))
