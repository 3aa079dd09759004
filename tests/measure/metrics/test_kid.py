from __future__ import annotations

import numpy as np
import pytest

from edgegan.errors import DataError
from edgegan.measure.metrics.kid import kid


def normal(n: int, d: int, seed: int, *, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) + shift


def by_loops(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(kernel(a, b) for a in x for b in y) / (n * m)
    return within_x + within_y - 2 * across


def test_it_is_the_unbiased_squared_mmd() -> None:
    x, y = normal(12, 4, 0), normal(12, 4, 1, shift=0.5)
    assert kid(x, y, subsets=2, subset_size=12).value == pytest.approx(by_loops(x, y), rel=1e-12)


def test_it_is_the_mean_over_the_subsets_that_the_seed_draws() -> None:
    x, y = normal(30, 4, 2), normal(25, 4, 3)
    rng = np.random.default_rng(5)
    expected = []
    for _ in range(3):
        chosen = y[rng.permutation(25)[:10]]
        expected.append(by_loops(x[rng.permutation(30)[:10]], chosen))
    assert kid(x, y, subsets=3, subset_size=10, seed=5).value == pytest.approx(np.mean(expected), rel=1e-10)


def test_it_is_about_zero_for_one_distribution_and_grows_with_the_shift() -> None:
    x, y = normal(2000, 16, 4), normal(2000, 16, 5)
    same = kid(x, y, subsets=20, subset_size=500)
    assert same.low < 0.0 < same.high
    assert abs(same.value) < 0.01
    near, far = (kid(x + shift, y, subsets=20, subset_size=500) for shift in (0.2, 0.5))
    assert same.high < near.low < near.value < near.high < far.low


def test_the_interval_covers_at_about_its_nominal_rate() -> None:
    reference = normal(400, 4, 6)
    intervals = [
        kid(normal(300, 4, 100 + seed, shift=0.3), reference, subsets=20, subset_size=100, seed=seed)
        for seed in range(200)
    ]
    expected = np.mean([interval.value for interval in intervals])
    hits = np.mean([interval.low <= expected <= interval.high for interval in intervals])
    assert 0.89 <= hits <= 0.995


def test_what_cannot_be_compared_is_refused() -> None:
    x = normal(50, 4, 7)
    with pytest.raises(DataError, match="larger than the sets"):
        kid(x, x, subset_size=51)
    with pytest.raises(DataError, match="dimensions"):
        kid(x, normal(50, 5, 8), subset_size=20)
    with pytest.raises(DataError, match="at least 2 subsets"):
        kid(x, x, subsets=1, subset_size=20)
    broken = x.copy()
    broken[3, 3] = np.nan
    for pair in ((broken, x), (x, broken)):
        with pytest.raises(DataError, match="NaN or infinity"):
            kid(*pair, subset_size=20)
