"""Spectrograms of waveforms, for the metrics of sound."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.runtime.contract import Output

Floats = NDArray[np.float64]


def waveforms(array: NDArray[Any], output: Output) -> Floats:
    """Return encoded sound (N, samples, channels) as waveforms (N * channels, samples) from -1 to 1."""
    values = 2.0 * output.modality.shares(array, output).astype(np.float64) - 1.0
    return values.transpose(0, 2, 1).reshape(-1, array.shape[1])


def magnitudes(waves: Floats, size: int, hop: int, window: int) -> Floats:
    """Return |STFT| (N, frames, size // 2 + 1) of waveforms (N, samples), longer than size // 2.

    Frames are centred and waveforms mirrored at their ends; the Hann window of `window` samples stands in the
    middle of a frame: what `torch.stft` does by default.
    """
    left = (size - window) // 2
    shape = np.zeros(size)
    shape[left : left + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.pad(waves, ((0, 0), (size // 2, size // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::hop]
    return np.stack([np.abs(np.fft.rfft(of_one * shape, axis=1)) for of_one in frames])


@cache
def mel_filters(sample_rate: int, size: int, bands: int) -> Floats:
    """Return triangular filters (size // 2 + 1, bands) of equal area up to half the rate, on a mel scale.

    Slaney's Auditory Toolbox (1998): linear up to 1 kHz and logarithmic above, as librosa has by default.
    """
    frequencies = np.linspace(0, sample_rate / 2, size // 2 + 1)
    edges = _hertz(np.linspace(0, _mel(sample_rate / 2), bands + 2))
    rising = (frequencies[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies[:, None]) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))


_LINEAR, _FROM, _STEP = 200 / 3, 1000.0, np.log(6.4) / 27


def _mel(hertz: float) -> float:
    if hertz < _FROM:
        return hertz / _LINEAR
    return float(_FROM / _LINEAR + np.log(hertz / _FROM) / _STEP)


def _hertz(mels: Floats) -> Floats:
    above = mels - _FROM / _LINEAR
    return np.where(above < 0, mels * _LINEAR, _FROM * np.exp(_STEP * np.maximum(above, 0)))
