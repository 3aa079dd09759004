from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegan.errors import DataError
from edgegan.measure.statistics import Interval, bootstrap, normal_interval, ratio_of, repeatable


def test_an_interval_becomes_plain_data() -> None:
    assert Interval(2.0, 1.0, 3.0).to_dict() == {"value": 2.0, "low": 1.0, "high": 3.0}


def test_the_value_is_the_plain_statistic_and_the_seed_decides_the_rest() -> None:
    values = np.random.default_rng(0).normal(5, 1, 100)
    first = bootstrap(values, seed=3)
    assert first.value == pytest.approx(values.mean())
    assert first == bootstrap(values, seed=3)
    assert first != bootstrap(values, seed=4)
    assert bootstrap(values, np.median).value == np.median(values)


def test_the_width_is_that_of_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(0, 2, 4000)
    interval = bootstrap(values)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 2 / 4000**0.5, rel=0.1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_interval_lies_within_the_values(values: list[float]) -> None:
    interval = bootstrap(np.array(values), np.median, resamples=50)
    assert min(values) <= interval.low <= interval.high <= max(values)


def test_the_interval_of_a_mean_covers_at_about_its_nominal_rate() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for seed in range(400):
        interval = bootstrap(rng.gamma(4.0, 1.0, 50), resamples=500, seed=seed)
        hits += interval.low <= 4.0 <= interval.high
    assert 0.90 <= hits / 400 <= 0.98


def test_a_repeat_of_the_whole_falls_into_the_interval_19_times_in_20() -> None:
    rng = np.random.default_rng(3)
    truths, repeats = 0, 0
    for _ in range(1000):
        first, second = 3.0 * np.exp(rng.normal(0, 0.05, (2, 5)))
        interval = repeatable(first)
        truths += interval.low <= 3.0 <= interval.high
        repeats += interval.low <= repeatable(second).value <= interval.high
    assert 0.935 <= repeats / 1000 <= 0.965
    assert truths >= repeats


def test_the_ratio_of_two_measurements_holds_the_truth_19_times_in_20_though_they_spread_unalike() -> None:
    rng, hits = np.random.default_rng(4), 0
    for _ in range(1000):
        old, new = 3.0 * np.exp(rng.normal(0, 0.02, 5)), 2.0 * np.exp(rng.normal(0, 0.06, 5))
        ratio = ratio_of(old, new)
        hits += ratio.low <= 1.5 <= ratio.high
    assert 0.935 <= hits / 1000 <= 0.97
    assert ratio_of(np.full(5, 3.0), np.full(4, 2.0)) == Interval(*[pytest.approx(1.5)] * 3)


def test_the_ratio_of_equal_starts_has_the_least_width() -> None:
    assert repeatable(np.full(5, 2.0)) == Interval(2.0, 2.0, 2.0)
    narrow = repeatable(np.full(5, 2.0), least=0.01)
    assert (narrow.low, narrow.high) == (pytest.approx(2 / 1.01), pytest.approx(2.02))


def test_a_normal_interval_stops_at_its_lowest_value() -> None:
    assert normal_interval(10.0, 1.0) == Interval(
        10.0, pytest.approx(8.04, abs=1e-3), pytest.approx(11.96, abs=1e-3)
    )
    assert normal_interval(1.0, 1.0, lowest=0.0).low == 0.0


@pytest.mark.parametrize("values", [[1.0], [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]]])
def test_values_without_an_interval_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError):
        bootstrap(np.array(values))


@pytest.mark.parametrize("ratios", [[1.0], [1.0, 0.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_ratios_without_a_meaning_are_refused(ratios: list[float]) -> None:
    with pytest.raises(DataError):
        repeatable(np.array(ratios))
    with pytest.raises(DataError):
        ratio_of(np.full(5, 1.0), np.array(ratios))
