"""Series of an accelerometer: how they are composed by rule, and how far others' spectra are from theirs."""

from __future__ import annotations

from functools import cache

import numpy as np

STEPS, RATE, FULL_SCALE = 128, 32.0, 3.0
ACTIVITIES = ((0.0, 0.0, 0.02), (1.4, 0.35, 0.06), (2.6, 1.0, 0.12))
"""Of resting, walking and running: steps a second, strength and noise in g."""
COUNT, SEED = 20_000, 1
"""Of the series that spectra are compared with: as many as the data, and none of these."""


def compose(rng: np.random.Generator) -> np.ndarray:
    """Return one series (3, 128) in units of 3 g.

    It is gravity along a random tilt, and for walking and running the frequency of steps with two harmonics,
    of other strength on each axis; noise on all.
    """
    frequency, strength, noise = ACTIVITIES[rng.integers(3)]
    tilt = rng.normal(size=3) * 0.3 + np.array([0.0, 0.0, 1.0])
    series = np.repeat((tilt / np.linalg.norm(tilt))[:, None], STEPS, 1)
    time = np.arange(STEPS) / RATE
    pace = frequency * rng.uniform(0.85, 1.15)
    phase = rng.uniform(0, 2 * np.pi)
    for harmonic, share in ((1, 1.0), (2, 0.5), (3, 0.2)):
        wave = np.sin(2 * np.pi * harmonic * pace * time + harmonic * phase)
        series += strength * share * np.array([0.5, 0.3, 1.0])[:, None] * rng.uniform(0.8, 1.2) * wave
    return np.clip((series + rng.normal(size=(3, STEPS)) * noise) / FULL_SCALE, -1, 1)


def spectral_distance(outputs):
    """Return the root mean square distance in dB of the mean log spectra of series and of composed ones."""
    return np.sqrt(np.square(_spectrum(outputs) - _composed()).mean())


spectral_distance.better = "lower"
spectral_distance.title = "Spectral distance"
spectral_distance.unit = "dB"
spectral_distance.modalities = ("series",)


def _spectrum(series):
    return (20 * np.log10(np.abs(np.fft.rfft(series, axis=-1)) + 1e-3)).mean(0)


@cache
def _composed():
    rng = np.random.default_rng(SEED)
    return _spectrum(np.stack([compose(rng) for _ in range(COUNT)]))
