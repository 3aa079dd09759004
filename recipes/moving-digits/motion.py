"""How evenly a clip's digit moves."""

from __future__ import annotations

import numpy as np


def unevenness(outputs):
    """Return for each clip (N, frames, height, width, 1) the mean change of its centre's velocity, in pixels.

    The centre is of mass. What moves straight and evenly has 0, but for the rounding to whole pixels.
    """
    mass = outputs[..., 0].astype(np.float64)
    total = np.maximum(mass.sum((2, 3)), 1)
    rows = (mass.sum(3) * np.arange(mass.shape[2])).sum(2) / total
    columns = (mass.sum(2) * np.arange(mass.shape[3])).sum(2) / total
    path = np.stack([rows, columns], -1)
    return np.linalg.norm(np.diff(path, n=2, axis=1), axis=2).mean(1)


unevenness.title = "Uneven motion"
unevenness.unit = "px"
unevenness.better = "lower"
unevenness.modalities = ("video",)
