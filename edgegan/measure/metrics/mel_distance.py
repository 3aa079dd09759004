"""Mean distance of logarithmic mel spectrograms (Kong et al. 2020, HiFi-GAN, arXiv:2010.05646)."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.measure.metrics.base import MetricSpec, paired
from edgegan.measure.metrics.spectra import Floats, magnitudes, mel_filters, waveforms
from edgegan.runtime.contract import Output
from edgegan.runtime.modality import Audio

BANDS = 80
_SECONDS = 1024 / 22050
_SMALLEST = 64
_LEAST = 1e-5


def transform_size(sample_rate: int) -> int:
    """Return the samples of a transform: HiFi-GAN's 1,024 at 22,050 Hz, elsewhere about as long in time."""
    return max(_SMALLEST, 2 ** round(math.log2(_SECONDS * sample_rate)))


def mel_distance(waves: Floats, full: Floats, sample_rate: int) -> Floats:
    """Return the mean absolute difference of natural logarithms of 80 mel bands, (N,).

    Both are waveforms (N, samples) from -1 to 1. At 22,050 Hz the transform is HiFi-GAN's: of 1,024 samples,
    256 apart; at other rates of the power of two that is about as long in time.

    Raises:
        DataError: the waveforms are not longer than half a transform.
    """
    size = transform_size(sample_rate)
    if waves.shape[1] <= size // 2:
        raise DataError(
            f"mel spectrograms at {sample_rate} Hz need more than {size // 2} samples, not {waves.shape[1]}"
        )
    filters = mel_filters(sample_rate, size, BANDS)
    x, y = (
        np.log(np.maximum(magnitudes(each, size, size // 4, size) @ filters, _LEAST))
        for each in (waves, full)
    )
    return np.abs(x - y).mean(axis=(1, 2))


def _values(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    rate = cast(Audio, output.modality).sample_rate
    distances = mel_distance(waveforms(a, output), waveforms(b, output), rate)
    return distances.reshape(len(a), -1).mean(axis=1)


MEL_DISTANCE = paired(MetricSpec("mel_distance", "mel distance", "lower", ("audio",)), _values)
