from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from edgegan.errors import DataError
from edgegan.measure.metrics.fid import Statistics, fid, fid_interval


def features(n: int, d: int, seed: int, *, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng([seed, d]).standard_normal((d, d)) / d**0.5
    return np.maximum(rng.standard_normal((n, d)) @ mixing + shift, -0.5).astype(np.float32)


def by_scipy(a: Statistics, b: Statistics) -> float:
    root = linalg.sqrtm(a.covariance @ b.covariance).real
    return float(np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root))


def test_statistics_are_numpys() -> None:
    x = features(200, 6, 0)
    statistics = Statistics.of(x)
    np.testing.assert_allclose(statistics.mean, x.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.covariance, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-12)
    assert statistics.n == 200


@pytest.mark.parametrize(("n", "m", "d"), [(500, 700, 8), (3000, 1000, 64), (900, 2000, 256)])
def test_it_agrees_with_scipy(n: int, m: int, d: int) -> None:
    a, b = Statistics.of(features(n, d, 1)), Statistics.of(features(m, d, 2, shift=0.2))
    assert fid(a, b) == pytest.approx(by_scipy(a, b), rel=1e-6)
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-9)


def test_it_is_the_closed_form_of_two_gaussians() -> None:
    rng = np.random.default_rng(3)
    basis = linalg.qr(rng.standard_normal((20, 20)))[0]
    first, second = rng.uniform(0.1, 4, 20), rng.uniform(0.1, 4, 20)
    shift = rng.standard_normal(20)
    a = Statistics(np.zeros(20), basis * first @ basis.T, 1000)
    b = Statistics(shift, basis * second @ basis.T, 1000)
    expected = shift @ shift + np.square(np.sqrt(first) - np.sqrt(second)).sum()
    assert fid(a, b) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(0, 10**6))
def test_it_is_zero_for_equal_sets_and_the_squared_shift_for_moved_ones(n: int, d: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((n, d))
    a, moved = Statistics.of(x), Statistics.of(x + 2.0)
    assert fid(a, a) == pytest.approx(0.0, abs=1e-9 * d)
    assert fid(a, moved) == pytest.approx(4.0 * d, rel=1e-9)


def test_a_rank_deficient_covariance_gives_the_exact_figure_and_a_warning() -> None:
    rng = np.random.default_rng(4)
    lanes = linalg.qr(rng.standard_normal((60, 60)))[0]
    few = Statistics(np.zeros(60), lanes[:, :5] @ lanes[:, :5].T * 4.0, 6)
    full = Statistics(np.zeros(60), np.eye(60), 1000)
    assert fid(few, full) == pytest.approx(5 * (2 - 1) ** 2 + 55, rel=1e-12)
    assert fid(full, few) == pytest.approx(60, rel=1e-12)
    assert "rank deficient" in few.warnings[0]
    assert full.warnings == []


def test_both_covariances_may_be_deficient_or_zero() -> None:
    x, y = features(20, 50, 5), features(30, 50, 6)
    a, b = Statistics.of(x), Statistics.of(y)
    centred = [
        (s - s.mean(axis=0)) / (len(s) - 1) ** 0.5 for s in (x.astype(np.float64), y.astype(np.float64))
    ]
    nuclear = linalg.svdvals(centred[0] @ centred[1].T).sum()
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance) - 2 * nuclear
    assert fid(a, b) == pytest.approx(expected, rel=1e-9)
    collapsed = Statistics.of(np.ones((10, 50)))
    assert fid(collapsed, a) == pytest.approx(np.square(a.mean - 1).sum() + np.trace(a.covariance), rel=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    x = features(50, 4, 7)
    x[13, 2] = bad
    with pytest.raises(DataError, match="NaN or infinity in 1 of 50 rows, row 13"):
        Statistics.of(x)
    with pytest.raises(DataError, match="NaN or infinity"):
        fid_interval(x, Statistics.of(features(50, 4, 8)))


def test_misfitting_features_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 rows"):
        Statistics.of(np.ones((1, 4)))
    with pytest.raises(DataError, match="shape"):
        Statistics.of(np.ones(4))
    with pytest.raises(DataError, match="4 dimensions, the reference has 5"):
        fid(Statistics.of(features(50, 4, 0)), Statistics.of(features(50, 5, 0)))
    with pytest.raises(DataError, match="at least 2 resamples"):
        fid_interval(features(50, 4, 0), Statistics.of(features(50, 4, 1)), resamples=1)


def test_the_interval_brackets_the_plain_figure_and_narrows_with_n() -> None:
    reference = Statistics.of(features(4000, 32, 9))
    widths = []
    for n in (400, 1600):
        x = features(n, 32, 10, shift=0.1)
        interval = fid_interval(x, reference, resamples=50)
        assert interval.value == pytest.approx(fid(Statistics.of(x), reference), rel=1e-12)
        assert 0 <= interval.low < interval.value < interval.high
        widths.append(interval.high - interval.low)
    assert 1.4 < widths[0] / widths[1] < 2.8
    assert fid_interval(x, reference, resamples=50) == interval


def test_a_resample_has_the_statistics_of_the_rows_that_it_drew() -> None:
    from edgegan.measure.metrics.fid import _resampled

    x = features(40, 5, 11).astype(np.float64)
    centred = x - x.mean(axis=0)
    mean, covariance = _resampled(centred, np.random.default_rng(12))
    drawn = centred[np.random.default_rng(12).integers(0, 40, 40)]
    np.testing.assert_allclose(mean, drawn.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(drawn, rowvar=False), atol=1e-12)


def test_the_interval_covers_the_expected_fid_at_about_its_nominal_rate() -> None:
    reference = Statistics(np.zeros(8), np.eye(8), 10**6)
    rng = np.random.default_rng(13)
    scale = np.linspace(0.7, 1.4, 8)
    intervals = [
        fid_interval(rng.standard_normal((300, 8)) * scale + 0.1, reference, resamples=60, seed=seed)
        for seed in range(250)
    ]
    expected = np.mean([interval.value for interval in intervals])
    hits = np.mean([interval.low <= expected <= interval.high for interval in intervals])
    assert 0.90 <= hits <= 0.99


@pytest.mark.slow
def test_ten_thousand_features_take_well_under_a_minute() -> None:
    x, reference = features(10_000, 512, 14), Statistics.of(features(10_000, 512, 15))
    start = time.perf_counter()
    interval = fid_interval(x, reference, resamples=50)
    assert time.perf_counter() - start < 60
    assert interval.low < interval.value < interval.high
