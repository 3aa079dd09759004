"""Distance of sounds in spectrograms of several resolutions (Yamamoto et al. 2020, arXiv:1910.11480)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.measure.metrics.base import MetricSpec, paired
from edgegan.measure.metrics.spectra import Floats, magnitudes, waveforms
from edgegan.runtime.contract import Output

RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))
"""Size, hop and window of the transforms, in samples, as published."""
_LEAST = 10**-3.5


def stft_distance(waves: Floats, full: Floats) -> Floats:
    """Return spectral convergence plus the mean distance of logarithms, averaged over resolutions, (N,).

    Both are waveforms (N, samples) from -1 to 1; resolutions that a short waveform has no room for are left
    out.

    Raises:
        DataError: the waveforms have 256 samples or fewer.
    """
    fitting = [each for each in RESOLUTIONS if waves.shape[1] > each[0] // 2]
    if not fitting:
        raise DataError(f"spectrograms need more than 256 samples of sound, not {waves.shape[1]}")
    distances = []
    for resolution in fitting:
        x, y = (np.maximum(magnitudes(each, *resolution), _LEAST) for each in (waves, full))
        convergence = np.linalg.norm(x - y, axis=(1, 2)) / np.linalg.norm(y, axis=(1, 2))
        distances.append(convergence + np.abs(np.log(x) - np.log(y)).mean(axis=(1, 2)))
    return np.mean(distances, axis=0)


def _values(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    distances = stft_distance(waveforms(a, output), waveforms(b, output))
    return distances.reshape(len(a), -1).mean(axis=1)


STFT_DISTANCE = paired(MetricSpec("stft_distance", "STFT distance", "lower", ("audio",)), _values)
