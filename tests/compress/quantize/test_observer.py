from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgegan.compress.quantize.quiet import quiet

with quiet():
    from edgegan.compress.quantize.observer import ActivationObserver, Calibrator, WeightObserver


CALIBRATORS: tuple[Calibrator, ...] = ("minmax", "percentile", "mse", "mae")


def error(values: torch.Tensor, calibrator: Calibrator, power: int = 2) -> float:
    observer = ActivationObserver(calibrator)
    observer(values)
    scale, zero = observer.calculate_qparams()
    levels = (values / scale).round().add(zero).clamp(0, 255)
    return float(((levels - zero) * scale - values).abs().pow(power).mean())


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_zero_is_a_level_and_the_range_is_covered(a: float, b: float) -> None:
    observer = ActivationObserver("minmax")
    observer(torch.tensor([a, b]))
    scale, zero = observer.calculate_qparams()
    assert scale.item() > 0
    assert 0 <= zero.item() <= 255
    assert -zero.item() * scale.item() <= min(a, b, 0) + scale.item() / 2 + 1e-6
    assert (255 - zero.item()) * scale.item() >= max(a, b, 0) - scale.item() / 2 - 1e-6


def test_each_calibrator_has_the_least_of_its_own_error_on_long_tails() -> None:
    torch.manual_seed(0)
    values = torch.distributions.Laplace(0.0, 1.0).sample(torch.Size([50_000]))
    squared = {calibrator: error(values, calibrator) for calibrator in CALIBRATORS}
    absolute = {calibrator: error(values, calibrator, power=1) for calibrator in CALIBRATORS}
    assert min(squared, key=squared.__getitem__) == "mse"
    assert min(absolute, key=absolute.__getitem__) == "mae"


@pytest.mark.parametrize("calibrator", CALIBRATORS)
def test_after_a_relu_the_lowest_level_is_zero(calibrator: Calibrator) -> None:
    observer = ActivationObserver(calibrator)
    observer(torch.randn(10_000).relu())
    assert observer.calculate_qparams()[1].item() == 0


@pytest.mark.parametrize("quant_max", [63, 127])
def test_weights_have_a_scale_a_channel_that_is_no_worse_than_the_whole_range(quant_max: int) -> None:
    weight = torch.randn(5, 4, 3, 3) * torch.tensor([1e-3, 0.1, 1.0, 10.0, 0.0])[:, None, None, None]
    observer = WeightObserver(quant_max)
    observer(weight)
    scale, zero = observer.calculate_qparams()
    assert scale.shape == (5,)
    assert not zero.any()

    def errors(scale: torch.Tensor) -> torch.Tensor:
        rows, scale = weight.flatten(1), scale[:, None]
        return ((rows / scale).round().clamp(-quant_max, quant_max) * scale - rows).square().sum(1)

    whole = weight.flatten(1).abs().amax(1).clamp(min=1e-8) / quant_max
    assert (errors(scale) <= errors(whole) + 1e-12).all()
