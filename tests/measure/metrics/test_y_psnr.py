from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgegan.measure.metrics import Given, find
from edgegan.measure.metrics.y_psnr import luma
from edgegan.measure.statistics import Interval
from edgegan.runtime.contract import Output


def test_brightness_is_that_of_studio_range_and_its_error_counts() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (4, 9, 7, 3), np.uint8)
    full = np.stack([np.asarray(Image.fromarray(x).convert("YCbCr"))[..., 0] for x in a]).astype(float)
    np.testing.assert_allclose(luma(a), 16 + full * 219 / 255, atol=1)
    black, white = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)
    np.testing.assert_allclose([luma(black).max(), luma(white).min()], [16, 235])
    b = np.clip(a.astype(int) + 10, 0, 255).astype(np.uint8)
    value = find("y_psnr_db").measure(Given(Output("image", (3, 9, 7)), a, b))
    assert isinstance(value, Interval)
    errors = np.square(luma(a) - luma(b)).mean((1, 2))
    assert value.value == pytest.approx((10 * np.log10(255**2 / errors)).mean())
    grey = find("y_psnr_db").measure(Given(Output("image", (1, 9, 7)), a[..., :1], a[..., :1]))
    assert isinstance(grey, Interval)
    assert grey.value == pytest.approx(10 * np.log10(255**2 * 63))
