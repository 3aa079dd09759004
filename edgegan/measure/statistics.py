"""Estimates with 95% intervals, by bootstrap (Efron and Tibshirani 1993)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import DataError

LEVEL = 0.95
"""The nominal coverage of every interval."""

_NORMAL_QUANTILE = 1.959963984540054
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95% interval, in the unit of the estimate."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return `{"value", "low", "high"}`, fit for JSON."""
        return asdict(self)


def bootstrap(
    values: NDArray[Any],
    statistic: Callable[..., NDArray[Any]] = np.mean,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return `statistic` of independent `values` (N,), with a percentile bootstrap interval.

    `statistic` takes an array and `axis`, as `np.mean` and `np.median` do.

    Raises:
        DataError: fewer than two values, or NaN or infinity in them.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise DataError(f"an interval needs at least 2 values in one axis, not an array of {values.shape}")
    if not np.isfinite(values).all():
        raise DataError("the values hold NaN or infinity: no interval can be given")
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // len(values))
    draws = [
        statistic(values[rng.integers(0, len(values), (min(chunk, resamples - start), len(values)))], axis=1)
        for start in range(0, resamples, chunk)
    ]
    low, high = np.quantile(np.concatenate(draws), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(statistic(values, axis=0)), float(low), float(high))


def normal_interval(value: float, deviation: float, *, lowest: float = -math.inf) -> Interval:
    """Return `value` with the normal interval of a standard `deviation`, its low end not under `lowest`."""
    margin = _NORMAL_QUANTILE * deviation
    return Interval(float(value), float(max(lowest, value - margin)), float(value + margin))


def repeatable(ratios: NDArray[Any], *, least: float = 0.0) -> Interval:
    """Return the geometric mean of ratios, with the interval that a repeat of the whole measurement falls in.

    `ratios` (starts,) were measured in processes that were started apart, so that their spread holds what
    changes from start to start. Student's t on their logarithms, for the difference between this mean and the
    mean of as many starts again: wider by sqrt(2) than the interval for the true value, which it holds too.

    Args:
        ratios: two or more.
        least: the interval's least half width, as a share of the value.

    Raises:
        DataError: there are fewer than two ratios, or one is not positive and finite.
    """
    values = _positive(ratios)
    logs, count = np.log(values), len(values)
    error = logs.std(ddof=1) * math.sqrt(2 / count)
    margin = max(_student(count - 1) * float(error), math.log1p(least))
    value = math.exp(float(logs.mean()))
    return Interval(value, value * math.exp(-margin), value * math.exp(margin))


def ratio_of(old: NDArray[Any], new: NDArray[Any]) -> Interval:
    """Return the ratio of the geometric means of `old` and `new`, positive values of independent starts.

    Welch's t on their logarithms: the two need not spread alike, nor be equally many.

    Raises:
        DataError: one has fewer than two values, or one that is not positive and finite.
    """
    logs = [np.log(_positive(values)) for values in (old, new)]
    errors = [float(values.var(ddof=1)) / len(values) for values in logs]
    value, error = float(logs[0].mean() - logs[1].mean()), sum(errors)
    freedom = error**2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, logs)) if error else math.inf
    margin = _student(freedom) * math.sqrt(error) if error else 0.0
    return Interval(math.exp(value), math.exp(value - margin), math.exp(value + margin))


def _student(freedom: float) -> float:
    """Return how many standard errors Student's interval reaches to either side."""
    from scipy.stats import t  # pyright: ignore[reportMissingTypeStubs]

    distribution: Any = t
    return float(distribution.ppf((1 + LEVEL) / 2, freedom))


def _positive(values: NDArray[Any]) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise DataError(f"an interval needs at least 2 ratios in one axis, not an array of {found.shape}")
    if not (np.isfinite(found).all() and (found > 0).all()):
        raise DataError("a ratio needs values that are positive and finite")
    return found
