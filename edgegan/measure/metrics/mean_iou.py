"""Mean intersection over union of class maps (Everingham et al. 2010, doi:10.1007/s11263-009-0275-4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.measure.metrics.base import MetricSpec, paired
from edgegan.runtime.contract import Output


def _values(a: NDArray[Any], b: NDArray[Any], output: Output) -> NDArray[np.float64]:
    """Return the mean over the classes that a sample or its twin has, for each pair (N,)."""
    classes = output.shape[0]
    return np.array([_iou(x.ravel(), y.ravel(), classes) for x, y in zip(a, b)])


def _iou(x: NDArray[Any], y: NDArray[Any], classes: int) -> float:
    shared = np.bincount(x[x == y], minlength=classes)
    either = np.bincount(x, minlength=classes) + np.bincount(y, minlength=classes) - shared
    there = either > 0
    return float((shared[there] / either[there]).mean())


MEAN_IOU = paired(
    MetricSpec("mean_iou", "mean IoU", "higher", ("class_map",), unit="%", scale=100.0), _values
)
