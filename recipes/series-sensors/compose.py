"""Compose series of an accelerometer by rule: `python recipes/series-sensors/compose.py series.npz`.

20,000 series of three axes, 128 steps at 32 Hz, from one seed: gravity along a random tilt, and for walking
and running the frequency of steps with two harmonics, of other strength on each axis; noise on all. In units
of 3 g.
"""

from __future__ import annotations

import sys

import numpy as np

STEPS, RATE, COUNT, SEED, FULL_SCALE = 128, 32.0, 20_000, 0, 3.0
ACTIVITIES = ((0.0, 0.0, 0.02), (1.4, 0.35, 0.06), (2.6, 1.0, 0.12))
"""Of resting, walking and running: steps a second, strength and noise in g."""


def compose(rng: np.random.Generator) -> np.ndarray:
    """Return one series (3, 128)."""
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


def main(path: str) -> None:
    """Write the series."""
    rng = np.random.default_rng(SEED)
    series = np.stack([compose(rng) for _ in range(COUNT)]).astype(np.float32)
    np.savez_compressed(path, train_samples=series)


if __name__ == "__main__":
    main(sys.argv[1])
