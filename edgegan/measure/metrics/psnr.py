"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.measure.arrays import check_pair
from edgegan.measure.metrics.base import MetricSpec, paired
from edgegan.measure.statistics import Interval, bootstrap
from edgegan.runtime.contract import Output

_BATCH = 256
LEAST_ERROR = 1e-10
"""The error of a sample, as a share of the range squared, that stands for none: 100 dB, so that it does not
decide a mean alone."""


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Interval:
    """Return the mean over pairs of the peak signal-to-noise ratio in dB, with a bootstrap interval over
    pairs.

    `a` and `b` are uint8 NHWC. A pair without any difference counts as if one value differed by one level
    (which is 83 dB for 32x32 colour images), so that the mean stays finite.

    Raises:
        DataError: not two uint8 NHWC batches of one shape, or fewer than two pairs.
    """
    check_pair(a, b)
    starts = range(0, len(a), _BATCH)
    return bootstrap(np.concatenate([_of_levels(a[i : i + _BATCH], b[i : i + _BATCH]) for i in starts]))


def _of_levels(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    axes = tuple(range(1, a.ndim))
    errors = np.square(a.astype(np.float64) - b).mean(axis=axes)
    return 10.0 * np.log10(255.0**2 / np.maximum(errors, 1.0 / np.prod(a.shape[1:])))


def _values(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    if a.dtype == np.uint8:
        return _of_levels(a, b)
    x, y = (output.modality.shares(each, output).reshape(len(each), -1) for each in (a, b))
    errors = np.square(x.astype(np.float64) - y).mean(axis=1)
    return -10.0 * np.log10(np.maximum(errors, LEAST_ERROR))


PSNR = paired(
    MetricSpec("psnr_db", "PSNR", "higher", ("image", "video", "audio", "series", "tensor"), unit="dB"),
    _values,
)
