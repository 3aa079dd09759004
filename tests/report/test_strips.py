from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from edgegan.report.strips import GAP, columns, strip


def decoded(result):
    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(result.uri.removeprefix("data:image/png;base64,"))))
    )


def test_small_images_are_magnified_by_a_whole_number_and_kept_exact():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    result = strip(images)
    pixels = decoded(result)
    assert (result.width, result.height, result.n, result.pixelated) == (3 * 64 + 2 * GAP, 64, 3, True)
    for index, image in enumerate(images):
        left = index * (64 + GAP)
        np.testing.assert_array_equal(pixels[::2, left : left + 64 : 2, :3], image)
    assert (pixels[:, 64 : 64 + GAP, 3] == 0).all()


def test_grey_images():
    images = np.full((2, 28, 28, 1), 77, np.uint8)
    assert (decoded(strip(images))[:, :56, :3] == 77).all()


@pytest.mark.parametrize(("shape", "size"), [((256, 256), (128, 128)), ((64, 256), (128, 32))])
def test_large_images_are_shrunk_and_said_to_be(shape, size):
    result = strip(np.zeros((2, *shape, 3), np.uint8))
    assert (result.width, result.height) == (2 * size[0] + GAP, size[1])
    assert result.shrunk_from == f"{shape[1]} x {shape[0]}"
    assert not result.pixelated


def test_columns():
    assert columns(np.zeros((1, 32, 32, 3), np.uint8)) == 12
    assert columns(np.zeros((1, 128, 128, 3), np.uint8)) == 8
