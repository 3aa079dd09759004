"""Compose series of an accelerometer by rule: `python recipes/series-sensors/compose.py series.npz`.

20,000 series of three axes, 128 steps at 32 Hz, from one seed, by the rules of `accelerometer.py`.
"""

from __future__ import annotations

import sys

import numpy as np
from accelerometer import compose

COUNT, SEED = 20_000, 0


def main(path: str) -> None:
    """Write the series."""
    rng = np.random.default_rng(SEED)
    series = np.stack([compose(rng) for _ in range(COUNT)]).astype(np.float32)
    np.savez_compressed(path, train_samples=series)


if __name__ == "__main__":
    main(sys.argv[1])
