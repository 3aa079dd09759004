from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgegan.compress.quantize.calibrate.calibrators import Calibrator, Histogram, weight_scales

CALIBRATORS: tuple[Calibrator, ...] = ("minmax", "percentile", "entropy", "mse", "mae", "weighted_mse")
GRIDS = ((0, 255, False), (-128, 127, False), (-127, 127, True))


def counted(values: torch.Tensor) -> Histogram:
    histogram = Histogram()
    histogram.add(values)
    return histogram


def error(
    values: torch.Tensor, calibrator: Calibrator, power: int = 2, grid: tuple[int, int, bool] = GRIDS[0]
) -> float:
    low, high, symmetric = grid
    scale, zero = counted(values).levels(calibrator, low, high, symmetric=symmetric)
    levels = (values / scale).round().add(zero).clamp(low, high)
    return float(((levels - zero) * scale - values).abs().pow(power).mean())


@given(st.floats(-10, 10), st.floats(-10, 10), st.sampled_from(GRIDS))
def test_zero_is_a_level_and_the_range_is_covered(a: float, b: float, grid: tuple[int, int, bool]) -> None:
    low, high, symmetric = grid
    scale, zero = counted(torch.tensor([a, b])).levels("minmax", low, high, symmetric=symmetric)
    assert scale > 0
    assert low <= zero <= high
    assert zero == 0 or not symmetric
    assert (low - zero) * scale <= min(a, b, 0) + scale / 2 + 1e-6
    assert (high - zero) * scale >= max(a, b, 0) - scale / 2 - 1e-6


@pytest.mark.parametrize("grid", GRIDS)
def test_each_calibrator_has_the_least_of_its_own_error_on_long_tails(grid: tuple[int, int, bool]) -> None:
    torch.manual_seed(0)
    values = torch.distributions.Laplace(0.0, 1.0).sample(torch.Size([50_000]))
    squared = {calibrator: error(values, calibrator, 2, grid) for calibrator in CALIBRATORS}
    absolute = {calibrator: error(values, calibrator, 1, grid) for calibrator in CALIBRATORS}
    assert min(squared, key=squared.__getitem__) == "mse"
    assert min(absolute, key=absolute.__getitem__) == "mae"


def test_entropy_cuts_outliers_off_and_keeps_a_filled_range() -> None:
    torch.manual_seed(0)
    bulk = torch.randn(100_000)
    with_outliers = torch.cat([bulk, torch.tensor([100.0, -100.0])])
    scale, _ = counted(with_outliers).levels("entropy", -127, 127, symmetric=True)
    assert 2 < 127 * scale < 10
    scale, zero = counted(torch.rand(100_000)).levels("entropy", 0, 255, symmetric=False)
    assert 255 * scale > 0.95
    assert zero == 0


@pytest.mark.parametrize("calibrator", CALIBRATORS)
def test_after_a_relu_the_lowest_level_is_zero(calibrator: Calibrator) -> None:
    histogram = counted(torch.randn(10_000).relu())
    assert histogram.levels(calibrator, 0, 255, symmetric=False)[1] == 0
    assert histogram.levels(calibrator, -128, 127, symmetric=False)[1] == -128


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5))
def test_values_are_counted_once_however_far_they_reach(widths: list[float]) -> None:
    histogram = Histogram()
    for width in widths:
        histogram.add(torch.linspace(-width, width, 101))
    assert histogram.counts.sum() == 101 * len(widths)
    assert histogram.high == pytest.approx(max(widths))


@pytest.mark.parametrize("high", [63, 127])
def test_weights_have_a_scale_a_channel_that_is_no_worse_than_the_whole_range(high: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 4, 3, 3) * torch.tensor([1e-3, 0.1, 1.0, 10.0, 0.0])[:, None, None, None]
    scale = weight_scales(weight, high)
    assert scale.shape == (5,)

    def errors(scale: torch.Tensor) -> torch.Tensor:
        rows, scale = weight.flatten(1), scale[:, None]
        return ((rows / scale).round().clamp(-high, high) * scale - rows).square().sum(1)

    whole = weight.flatten(1).abs().amax(1).clamp(min=1e-8) / high
    assert (errors(scale) <= errors(whole) + 1e-12).all()
