"""Distances between sounds, in their spectrograms."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.measure.metrics.spectra import mel_filters
from edgegan.measure.metrics.stft_distance import RESOLUTIONS

_LEAST = 1e-5
_LEAST_MAGNITUDE = 10**-3.5


class MelSpectrogram(nn.Module):
    """Natural logarithms of mel bands, as HiFi-GAN takes them (Kong et al. 2020, arXiv:2010.05646).

    Waveforms (N, samples) or (N, 1, samples) from -1 to 1, to (N, bands, samples // hop), of more than
    (size - hop) / 2 samples. Bands reach up to half the `sample_rate`.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int, size: int = 1024, hop: int = 256, bands: int = 80) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        filters = torch.from_numpy(mel_filters(sample_rate, size, bands).T).float()
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Return the spectrograms (N, bands, samples // hop)."""
        side = (self.size - self.hop) // 2
        padded = F.pad(waves.reshape(len(waves), 1, -1), (side, side), mode="reflect")[:, 0]
        frames = torch.stft(
            padded, self.size, self.hop, window=self.window, center=False, return_complex=True
        )
        return (self.filters @ _magnitudes(frames)).clamp(min=_LEAST).log()


def multi_resolution_stft(waves: Tensor, targets: Tensor) -> Tensor:
    """Return spectral convergence plus the distance of logarithms, over resolutions (arXiv:1910.11480).

    Both are waveforms (N, samples) or (N, 1, samples) from -1 to 1, of more than 256 samples.
    """
    losses = []
    for size, hop, window in RESOLUTIONS:
        if waves.shape[-1] <= size // 2:
            continue
        ours, theirs = (_spectrogram(each, size, hop, window) for each in (waves, targets))
        difference = torch.linalg.vector_norm(theirs - ours, dim=(1, 2))
        convergence = difference / torch.linalg.vector_norm(theirs, dim=(1, 2))
        losses.append(convergence.mean() + (theirs.log() - ours.log()).abs().mean())
    return torch.stack(losses).mean()


def _spectrogram(waves: Tensor, size: int, hop: int, window: int) -> Tensor:
    shape = torch.hann_window(window, device=waves.device)
    frames = torch.stft(waves.flatten(1), size, hop, window, shape, return_complex=True)
    return _magnitudes(frames).clamp(min=_LEAST_MAGNITUDE)


def _magnitudes(frames: Tensor) -> Tensor:
    """Return |frames|, whose gradient is finite at 0 as well."""
    return (frames.real.square() + frames.imag.square() + 1e-9).sqrt()
