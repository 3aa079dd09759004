from __future__ import annotations

import numpy as np
import pytest
import torch

from edgegan.learning.losses.spectral import MelSpectrogram, multi_resolution_stft
from edgegan.measure.metrics.spectra import mel_filters
from edgegan.measure.metrics.stft_distance import stft_distance


def tones(count: int, samples: int) -> torch.Tensor:
    time = torch.arange(samples) / 22050
    rng = torch.Generator().manual_seed(0)
    waves = [0.3 * torch.sin(2 * torch.pi * 220 * (index + 1) * time) for index in range(count)]
    return torch.stack(waves) + 0.05 * torch.randn(count, samples, generator=rng)


def test_the_stft_loss_is_the_metric_of_that_name() -> None:
    x, y = tones(3, 4096), tones(3, 4096).roll(7, 1) * 0.8
    metric = stft_distance(x.double().numpy(), y.double().numpy()).mean()
    assert float(multi_resolution_stft(x[:, None], y[:, None])) == pytest.approx(metric, rel=1e-3)
    assert float(multi_resolution_stft(x, x)) == 0


def test_mel_spectrograms_are_of_centred_frames_a_hop_apart() -> None:
    waves = tones(2, 2048)
    spectrogram = MelSpectrogram(22050, bands=40)(waves)
    assert spectrogram.shape == (2, 40, 8)
    side = (1024 - 256) // 2
    padded = np.pad(waves.double().numpy(), ((0, 0), (side, side)), mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frame = np.abs(np.fft.rfft(padded[0, 3 * 256 : 3 * 256 + 1024] * window))
    expected = np.log(np.maximum(frame @ mel_filters(22050, 1024, 40), 1e-5))
    np.testing.assert_allclose(spectrogram[0, :, 3], expected, atol=2e-3)


def test_silence_has_finite_gradients() -> None:
    silence = torch.zeros(1, 2048, requires_grad=True)
    loss = MelSpectrogram(22050)(silence).sum() + multi_resolution_stft(silence, tones(1, 2048))
    loss.backward()
    assert silence.grad is not None
    assert bool(silence.grad.isfinite().all())
