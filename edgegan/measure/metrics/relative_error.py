"""How large the error is beside the signal: as a share, and as a signal-to-noise ratio in dB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.measure.metrics.base import MetricSpec, paired
from edgegan.runtime.contract import Output

_LEAST_SHARE = 1e-5
"""Of the range: a signal or an error of less counts as this, since its ratio to nothing is not a figure."""


def _norms(
    a: NDArray[Any], b: NDArray[Any], output: Output
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the root mean squares of the error and of the full model's signal, each sample's (N,)."""
    least = 1.0 if a.dtype.kind in "iu" else _LEAST_SHARE * (output.range[1] - output.range[0])
    x, y = (each.reshape(len(each), -1).astype(np.float64) for each in (a, b))
    error, size = (np.sqrt(np.square(each).mean(axis=1)) for each in (x - y, y))
    return error, np.maximum(size, least)


def _share(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    error, size = _norms(a, b, output)
    return error / size


def _decibels(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    error, size = _norms(a, b, output)
    return 20 * np.log10(size / np.maximum(error, _LEAST_SHARE * size))


_FITS = ("audio", "series", "tensor")
RELATIVE_ERROR = paired(
    MetricSpec("relative_error", "relative error", "lower", _FITS, unit="%", scale=100.0), _share
)
SNR = paired(MetricSpec("snr_db", "SNR", "higher", _FITS, unit="dB"), _decibels)
