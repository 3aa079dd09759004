"""Peak signal-to-noise ratio of brightness, as super-resolution is judged by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.measure.metrics.base import MetricSpec, paired
from edgegan.runtime.contract import Output

_SHARES = np.array([65.481, 128.553, 24.966]) / 255
_RANGE = 255.0


def luma(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return Y (N, H, W), 16 to 235, of uint8 RGB images (N, H, W, 3), as Matlab's rgb2ycbcr (BT.601)."""
    return 16 + images.astype(np.float64) @ _SHARES


def _values(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    """Return dB, of a range of 255; equal images count as if one pixel differed by one level."""
    x, y = (luma(each) if each.shape[-1] == 3 else each[..., 0].astype(np.float64) for each in (a, b))
    errors = np.square(x - y).mean(axis=(1, 2))
    return 10.0 * np.log10(_RANGE**2 / np.maximum(errors, 1.0 / x[0].size))


Y_PSNR = paired(MetricSpec("y_psnr_db", "Y-PSNR", "higher", ("image",), unit="dB"), _values)
