"""Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, arXiv:1706.08500)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from threadpoolctl import threadpool_limits

from edgegan.errors import DataError
from edgegan.measure.arrays import check_features, check_same_width
from edgegan.measure.metrics.base import MetricSpec, against_reference
from edgegan.measure.statistics import Interval, normal_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean (D,) and covariance (D, D), unbiased, of `n` feature vectors."""

    mean: Floats
    covariance: Floats
    n: int

    @classmethod
    def of(cls, features: NDArray[Any]) -> Statistics:
        """Return the statistics of `features` (N, D), computed in float64.

        Raises:
            DataError: fewer than two rows, or NaN or infinity.
        """
        features = check_features(features)
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(mean, centred.T @ centred / (len(features) - 1), len(features))

    @property
    def warnings(self) -> list[str]:
        """What makes a distance from these statistics doubtful, in words; empty where all is well."""
        dimensions = len(self.mean)
        if self.n > dimensions:
            return []
        return [
            f"FID from {self.n} samples of {dimensions} features: the covariance is rank deficient and the "
            f"figure far too high; use more than {dimensions} samples, or read KID"
        ]


def fid(a: Statistics, b: Statistics) -> float:
    """Return |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), 0 or more.

    The trace of the root is the sum of the roots of the eigenvalues of F^T C F, where F F^T is the covariance
    of fewer samples and F has only as many columns as that has rank: symmetric, real, and stable where a
    covariance is singular.

    Raises:
        DataError: the two have different numbers of dimensions.
    """
    check_same_width(a.mean, b.mean)
    few, many = sorted((a, b), key=lambda statistics: statistics.n)
    return _distance(
        few.mean - many.mean, _factor(few.covariance), float(np.trace(few.covariance)), many.covariance
    )


def fid_interval(
    features: NDArray[Any], reference: Statistics, *, resamples: int = 100, seed: int = 0
) -> Interval:
    """Return the FID of `features` (N, D) from `reference`, with a 95% interval.

    The value is the plain FID of these N samples. FID is biased upward at a finite N, and a bootstrap
    resample is biased once more, so percentiles of resampled FIDs would lie above the value. The interval is
    therefore the value plus and minus 1.96 standard deviations of the resampled FIDs. It covers the *expected
    FID at this N*: what other latents would give with the same reference, which is held fixed. It does not
    cover the limit of infinite N: compare figures of equal N only.

    Raises:
        DataError: NaN or infinity in the features, or another number of dimensions than the reference.
    """
    if resamples < 2:
        raise DataError(f"an interval needs at least 2 resamples, not {resamples}")
    statistics = Statistics.of(features)
    centred = np.asarray(features, dtype=np.float64) - statistics.mean
    shift = statistics.mean - reference.mean
    rng = np.random.default_rng(seed)
    draws = []
    with threadpool_limits(1, user_api="blas"):  # many small products: threads cost more than they save
        value = fid(statistics, reference)
        factor, trace = _factor(reference.covariance), float(np.trace(reference.covariance))
        for _ in range(resamples):
            mean, covariance = _resampled(centred, rng)
            draws.append(_distance(shift + mean, factor, trace, covariance))
    return normal_interval(value, float(np.std(draws, ddof=1)), lowest=0.0)


def _factor(covariance: Floats) -> Floats:
    """Return F (D, rank) with F F^T the covariance."""
    values, vectors = linalg.eigh(covariance)
    kept = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])


def _distance(shift: Floats, factor: Floats, trace: float, covariance: Floats) -> float:
    product = factor.T @ covariance @ factor
    eigenvalues = linalg.eigvalsh(product) if product.size else np.zeros(0)
    roots = np.sqrt(np.clip(eigenvalues, 0.0, None)).sum()
    return max(0.0, float(shift @ shift + trace + np.trace(covariance) - 2.0 * roots))


def _resampled(centred: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return mean and covariance of a bootstrap resample of the rows."""
    n = len(centred)
    counts = np.bincount(rng.integers(0, n, n), minlength=n)
    drawn = np.flatnonzero(counts)
    weighted = centred[drawn] * np.sqrt(counts[drawn])[:, None]
    mean = counts @ centred / n
    return mean, (weighted.T @ weighted - n * np.outer(mean, mean)) / (n - 1)


FID = against_reference(
    MetricSpec("fid", "FID", "lower", ("image",), "reference"),
    lambda features, reference: fid_interval(features, reference.statistics),
)
