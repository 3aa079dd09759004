"""Sound from a mel spectrogram without any network (Griffin and Lim 1984, doi:10.1109/TASSP.1984.1164317)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from edgegan.learning.losses.spectral import MelSpectrogram

ITERATIONS = 32


def griffin_lim(spectrograms: Tensor, mel: MelSpectrogram) -> Tensor:
    """Return waveforms (N, hop * frames) from -1 to 1 of what `mel` gave (N, bands, frames).

    Magnitudes are the least squares solution of the bands; phases begin at 0 and follow from overlaps.
    """
    magnitudes = (torch.linalg.pinv(mel.filters) @ spectrograms.exp()).clamp(min=0)
    side = (mel.size - mel.hop) // 2
    length = spectrograms.shape[2] * mel.hop + 2 * side
    frames = torch.polar(magnitudes, torch.zeros_like(magnitudes))
    for _ in range(ITERATIONS):
        frames = torch.stft(
            _overlapped(frames, mel, length),
            mel.size,
            mel.hop,
            window=mel.window,
            center=False,
            return_complex=True,
        )
        frames = torch.polar(magnitudes, frames.angle())
    return _overlapped(frames, mel, length)[:, side : length - side].clamp(-1, 1)


def _overlapped(frames: Tensor, mel: MelSpectrogram, length: int) -> Tensor:
    """Return the waveforms (N, length) whose frames come nearest to `frames` (N, size // 2 + 1, frames)."""
    window = mel.window[:, None]
    pieces = torch.fft.irfft(frames, n=mel.size, dim=1) * window
    weights = window.square().expand(1, -1, frames.shape[2])
    waves, weight = (
        F.fold(each, (1, length), (1, mel.size), stride=(1, mel.hop))[:, 0, 0] for each in (pieces, weights)
    )
    return waves / weight.clamp(min=1e-3)
