"""Kernel distance between sets of features (Binkowski et al. 2018, arXiv:1801.01401)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError
from edgegan.measure.arrays import check_features, check_same_width
from edgegan.measure.metrics.base import MetricSpec, against_reference
from edgegan.measure.statistics import Interval, normal_interval

Floats = NDArray[np.float64]

SUBSET = 1000
_RESAMPLES = 100
_BLOCK = 512


def kid(
    features: NDArray[Any],
    reference_features: NDArray[Any],
    *,
    subsets: int = 100,
    subset_size: int = SUBSET,
    seed: int = 0,
) -> Interval:
    """Return the KID of `features` (N, D) from `reference_features` (M, D), with a 95% interval.

    The value is the mean, over random subsets of both, of the unbiased squared MMD with the kernel (x.y / D +
    1)^3; it can be slightly negative. The interval is the value plus and minus 1.96 standard errors: that of
    the whole-set estimate over bootstrap resamples of `features` (the reference is held fixed, as for FID),
    and that of the mean over subsets.

    Raises:
        DataError: NaN or infinity, different dimensions, or fewer rows than `subset_size`.
    """
    x = check_features(features)
    y = check_features(reference_features, "the reference features")
    check_same_width(x, y)
    if subsets < 2 or subset_size < 2:
        raise DataError(f"KID needs at least 2 subsets of at least 2, not {subsets} of {subset_size}")
    if subset_size > min(len(x), len(y)):
        raise DataError(
            f"KID's subsets of {subset_size} are larger than the sets: {len(x)} and {len(y)} (reference)",
            next="draw more samples, or ask for a smaller subset_size",
        )
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        chosen = y[rng.permutation(len(y))[:subset_size]]
        values.append(_squared_mmd(x[rng.permutation(len(x))[:subset_size]], chosen))
    sampling = _bootstrap_deviation(x, y, rng)
    return normal_interval(
        float(np.mean(values)), float(np.hypot(sampling, np.std(values) / np.sqrt(subsets)))
    )


def _kernel(a: Floats, b: Floats) -> Floats:
    base = a @ b.T / a.shape[1] + 1.0
    return base * base * base


def _squared_mmd(x: Floats, y: Floats) -> float:
    n = len(x)
    within_x, within_y = _kernel(x, x), _kernel(y, y)
    within = within_x.sum() - np.trace(within_x) + within_y.sum() - np.trace(within_y)
    return float(within / (n * (n - 1)) - 2.0 * _kernel(x, y).mean())


def _bootstrap_deviation(x: Floats, y: Floats, rng: np.random.Generator) -> float:
    """Standard deviation over resamples of `x` of the squared MMD, without its constant part in `y`."""
    n = len(x)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).T.astype(np.float64)
    within, across = np.zeros(_RESAMPLES), np.zeros(_RESAMPLES)
    for start in range(0, n, _BLOCK):
        block, block_counts = x[start : start + _BLOCK], counts[start : start + _BLOCK]
        kernel = _kernel(block, x)
        kernel[np.arange(len(block)), np.arange(start, start + len(block))] = 0.0
        within += (block_counts * (kernel @ counts)).sum(axis=0)
        across += _kernel(block, y).mean(axis=1) @ block_counts
    pairs = n**2 - (counts**2).sum(axis=0)
    return float(np.std(within / pairs - 2.0 * across / n, ddof=1))


KID = against_reference(
    MetricSpec("kid", "KID", "lower", ("image",), "reference", unit="×10⁻³", scale=1e3),
    lambda features, reference: kid(
        features,
        reference.features,
        subset_size=min(SUBSET, len(features), len(reference.features)),
    ),
)
