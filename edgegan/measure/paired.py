"""How far images are from their twins: PSNR, and SSIM (Wang et al. 2004)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from edgegan.errors import DataError
from edgegan.measure.arrays import check_pair
from edgegan.measure.statistics import Interval, bootstrap

_BATCH = 256
_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Interval:
    """Return the mean over pairs of the peak signal-to-noise ratio in dB, with a bootstrap interval over
    pairs.

    `a` and `b` are uint8 NHWC. A pair without any difference counts as if one value differed by one level
    (which is 83 dB for 32x32 colour images), so that the mean stays finite.

    Raises:
        DataError: not two uint8 NHWC batches of one shape, or fewer than two pairs.
    """
    check_pair(a, b)
    values = np.concatenate(
        [
            _squared_error(a[start : start + _BATCH], b[start : start + _BATCH])
            for start in range(0, len(a), _BATCH)
        ]
    )
    least = 1.0 / np.prod(a.shape[1:])
    return bootstrap(10.0 * np.log10(255.0**2 / np.maximum(values, least)))


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Interval:
    """Return the mean over pairs of the structural similarity, in -1..1, with a bootstrap interval over
    pairs.

    `a` and `b` are uint8 NHWC. Each channel by itself, Gaussian windows of 11x11 with a deviation of 1.5
    around every pixel (images are mirrored at their edges, as torchmetrics does), K1 = 0.01, K2 = 0.03.

    Raises:
        DataError: not two uint8 NHWC batches of one shape, fewer than two pairs, or images under 11x11.
    """
    check_pair(a, b)
    window = 2 * _RADIUS + 1
    if min(a.shape[1:3]) < window:
        raise DataError(f"SSIM needs images of at least {window}x{window}, not {a.shape[1]}x{a.shape[2]}")
    return bootstrap(
        np.concatenate(
            [
                _similarity(a[start : start + _BATCH], b[start : start + _BATCH])
                for start in range(0, len(a), _BATCH)
            ]
        )
    )


def _squared_error(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    return np.square(a.astype(np.float64) - b).mean(axis=(1, 2, 3))


def _blur(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted mean of the window around every pixel."""
    for axis in (1, 2):
        images = gaussian_filter1d(images, _SIGMA, axis=axis, truncate=_RADIUS / _SIGMA, mode="mirror")
    return images


def _similarity(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = np.maximum(_blur(x * x) - mean_x**2, 0.0)
    variance_y = np.maximum(_blur(y * y) - mean_y**2, 0.0)
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return (luminance * structure).mean(axis=(1, 2, 3))
