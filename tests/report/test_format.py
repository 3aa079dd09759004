from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegan.measure.statistics import Interval
from edgegan.report import format


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (87, "87"),
        (999, "999"),
        (1000, "1.0 k"),
        (415_236_096, "415.2 M"),
        (999_960, "1.0 M"),
        (2.5e9, "2.5 G"),
    ],
)
def test_count(value, text):
    assert format.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (812, "812 B"), (9_432_100, "9.4 MB"), (1e9, "1.0 GB")]
)
def test_size(value, text):
    assert format.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.234, "1.23"),
        (9.996, "10.0"),
        (123.4, "123"),
        (1234.5, "1234"),
        (0.001234, "0.00123"),
        (-2.5, "-2.50"),
    ],
)
def test_number_has_three_significant_digits(value, text):
    assert format.number(value) == text


def test_milliseconds_and_ratio():
    assert format.milliseconds(1.234) == "1.23 ms"
    assert format.ratio(4.12) == "4.1×"
    assert format.ratio(22.6) == "23×"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.42, "0.42 s"),
        (12.3, "12 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3900, "1 h 5 min"),
        (7199, "2 h 0 min"),
    ],
)
def test_seconds(value, text):
    assert format.seconds(value) == text


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((6.21, 6.05, 6.36), "6.21 [6.05, 6.36]"),
        ((141.2, 139.5, 143.0), "141 [140, 143]"),
        ((0.8712, 0.86981, 0.87263), "0.871 [0.870, 0.873]"),
        ((6.0, 6.0, 6.0), "6.00 [6.00, 6.00]"),
        ((24.11, 24.1061, 24.1139), "24.110 [24.106, 24.114]"),
    ],
)
def test_interval_shows_as_many_decimals_as_its_width_bears(bounds, text):
    assert format.interval(Interval(*bounds)) == text


def test_a_speedup_has_two_digits():
    assert format.speedup_parts(Interval(4.1, 3.92, 4.31)) == ("4.1×", "[3.9, 4.3]")


@given(st.floats(-1e5, 1e5), st.floats(0, 1e3), st.floats(0, 1e3))
def test_interval_keeps_its_order_and_stays_near(value, below, above):
    text, bounds = format.interval_parts(Interval(value, value - below, value + above))
    low, high = map(float, bounds.strip("[]").split(", "))
    assert low <= float(text) <= high
    assert float(text) == pytest.approx(value, abs=0.01 * abs(value) + 1e-9)


@given(st.floats(1, 9.9e17))
def test_a_count_stays_within_five_percent(value):
    figure, _, unit = format.count(value).partition(" ")
    scale = 1000 ** ("", "k", "M", "G", "T", "P").index(unit)
    assert float(figure) * scale == pytest.approx(value, rel=0.5)
    assert float(figure) < 1000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (20000, "20000"),
        (0.125, "0.125"),
        (1.1e-6, "1.10e-06"),
        ([], "none"),
        (["a", 2], "a, 2"),
        ({"betas": [0.5, 0.9]}, "betas 0.5, 0.9"),
        ({"value": 6.21, "low": 6.05, "high": 6.36}, "6.21 [6.05, 6.36]"),
    ],
)
def test_plain(value, text):
    assert format.plain(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"), (1.0, "100%"), (0.5, "50%"), (0.999, "99.9%"), (0.99996, "over 99.9%"),
        (0.00001, "under 0.1%"), (0.004, "0.4%"), (0.9312, "93%"),
    ],
)  # fmt: skip
def test_a_share_is_never_rounded_to_none_or_all(share, text):
    assert format.percent(share) == text
