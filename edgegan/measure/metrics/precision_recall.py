"""Precision and recall by nearest neighbours in features (Kynkäänniemi et al. 2019, arXiv:1904.06991)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.measure.arrays import check_features, check_same_width
from edgegan.measure.metrics.base import MetricSpec, against_reference

Floats = NDArray[np.float64]

_BLOCK = 1024


def precision_recall(
    features: NDArray[Any], reference_features: NDArray[Any], k: int = 3
) -> tuple[float, float]:
    """Return (precision, recall), each in 0..1.

    Each set's manifold is the union of balls around its points that reach their `k`-th nearest neighbour in
    the set. Precision is the share of `features` (N, D) inside the reference's manifold, recall the share of
    `reference_features` (M, D) inside that of `features`. Both move with N and M: compare figures of equal
    counts only.

    Raises:
        DataError: NaN or infinity, different dimensions, or a set of `k` points or fewer.
    """
    return precision(features, reference_features, k), precision(reference_features, features, k)


def precision(features: NDArray[Any], reference_features: NDArray[Any], k: int = 3) -> float:
    """Return the share of `features` in the reference's manifold, as `precision_recall` does; recall is the
    precision of the reference.

    Raises:
        DataError: as of `precision_recall`.
    """
    x = check_features(features)
    y = check_features(reference_features, "the reference features")
    check_same_width(x, y)
    if not 1 <= k < min(len(x), len(y)):
        raise DataError(f"k must be 1 or more and less than both counts, {len(x)} and {len(y)}, not {k}")
    return _inside(x, y, _radii(y, k))


def _squared_distances(points: Floats, centres: Floats) -> Iterator[tuple[int, Floats]]:
    """Yield (first row, squared distances (block, centres)) for blocks of `points`."""
    norms = np.einsum("nd,nd->n", centres, centres)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        squared = np.einsum("nd,nd->n", block, block)[:, None] + norms - 2.0 * (block @ centres.T)
        yield start, np.maximum(squared, 0.0)


def _radii(points: Floats, k: int) -> Floats:
    """Return the squared distance of each point to its k-th nearest other point."""
    radii = np.empty(len(points))
    for start, squared in _squared_distances(points, points):
        rows = np.arange(len(squared))
        squared[rows, start + rows] = np.inf
        radii[start : start + len(squared)] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return radii


def _inside(points: Floats, centres: Floats, radii: Floats) -> float:
    """Return the share of `points` in at least one ball."""
    return sum(
        int((squared <= radii).any(axis=1).sum()) for _, squared in _squared_distances(points, centres)
    ) / len(points)


PRECISION = against_reference(
    MetricSpec("precision", "precision", "higher", ("image",), "reference"),
    lambda features, reference: precision(features, reference.features),
)
RECALL = against_reference(
    MetricSpec("recall", "recall", "higher", ("image",), "reference"),
    lambda features, reference: precision(reference.features, features),
)
