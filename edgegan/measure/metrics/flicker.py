"""What changes from frame to frame in a video beyond what changes in the full model's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.measure.metrics.base import MetricSpec, paired
from edgegan.runtime.contract import Output


def _values(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    """Return the mean absolute difference of the changes between successive frames, in levels of 255 (N,)."""
    if a.shape[1] < 2:
        raise DataError("flicker is between frames, and the clips have one")
    x, y = (np.diff(each.astype(np.float64), axis=1) for each in (a, b))
    return np.abs(x - y).reshape(len(a), -1).mean(axis=1)


FLICKER = paired(MetricSpec("flicker", "flicker", "lower", ("video",), unit="of 255"), _values)
