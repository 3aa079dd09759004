"""Structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from edgegan.errors import DataError
from edgegan.measure.arrays import check_pair
from edgegan.measure.metrics.base import MetricSpec, paired
from edgegan.measure.statistics import Interval, bootstrap
from edgegan.runtime.contract import Output

_BATCH = 256
_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Interval:
    """Return the mean over pairs of the structural similarity, in -1..1, with a bootstrap interval over
    pairs.

    `a` and `b` are uint8 NHWC. Each channel by itself, Gaussian windows of 11x11 with a deviation of 1.5
    around every pixel (images are mirrored at their edges, as torchmetrics does), K1 = 0.01, K2 = 0.03.

    Raises:
        DataError: not two uint8 NHWC batches of one shape, fewer than two pairs, or images under 11x11.
    """
    check_pair(a, b)
    return bootstrap(
        np.concatenate(
            [
                _similarity(a[start : start + _BATCH], b[start : start + _BATCH])
                for start in range(0, len(a), _BATCH)
            ]
        )
    )


def _values(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    """Return the mean over the frames of each sample: an image is one."""
    frames = a.shape[-3:]
    values = _similarity(a.reshape(-1, *frames), b.reshape(-1, *frames))
    return values.reshape(len(a), math.prod(a.shape[1:-3])).mean(axis=1)


def _blur(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted mean of the window around every pixel."""
    for axis in (1, 2):
        images = gaussian_filter1d(images, _SIGMA, axis=axis, truncate=_RADIUS / _SIGMA, mode="mirror")
    return images


def _similarity(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    window = 2 * _RADIUS + 1
    if min(a.shape[1:3]) < window:
        raise DataError(f"SSIM needs images of at least {window}x{window}, not {a.shape[1]}x{a.shape[2]}")
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = np.maximum(_blur(x * x) - mean_x**2, 0.0)
    variance_y = np.maximum(_blur(y * y) - mean_y**2, 0.0)
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return (luminance * structure).mean(axis=(1, 2, 3))


SSIM = paired(MetricSpec("ssim", "SSIM", "higher", ("image", "video")), _values)
