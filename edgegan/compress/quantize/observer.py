"""Observers: from the values that a tensor takes in calibration to its scale and zero point."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchao.quantization.pt2e import ObserverBase

Calibrator = Literal["minmax", "percentile", "mse", "mae"]

PERCENTILE = 99.99
LEVELS = 255
BINS = 1 << 13


class ActivationObserver(ObserverBase):
    """Finds the range of an activation, for asymmetric uint8 per tensor; zero is always a level.

    `minmax` takes the whole range, `percentile` cuts 0.01% off each end, `mse` takes the range whose
    quantization error is least in the mean square, and `mae` that whose mean absolute error is least: it
    cuts more off long tails, which the output's tanh forgives.
    """

    def __init__(self, calibrator: Calibrator = "mse", dtype: torch.dtype = torch.uint8, **_: object) -> None:
        super().__init__(dtype=dtype)
        self.qscheme = torch.per_tensor_affine
        self.quant_min, self.quant_max = 0, LEVELS
        self.calibrator = calibrator
        self.low, self.high = 0.0, 0.0
        self.counts, self.reach = torch.zeros(BINS, dtype=torch.float64), 2.0**-20

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Note the values of `x`, and return it."""
        low, high = (float(end) for end in x.detach().aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)
        while self.reach < max(high, -low):
            pairs = self.counts.view(-1, 2).sum(dim=1)
            self.counts = torch.cat([torch.zeros(BINS // 4), pairs, torch.zeros(BINS // 4)]).double()
            self.reach *= 2
        self.counts += torch.histc(x.detach().float(), BINS, -self.reach, self.reach)
        return x

    def calculate_qparams(self, **_: object) -> tuple[Tensor, Tensor]:  # pyright: ignore
        """Return scale (1,) and zero point (1,)."""
        low, high = self.low, self.high
        if self.calibrator == "percentile":
            low, high = self._percentiles()
        elif self.calibrator != "minmax":
            low, high = self._least_error(power=2 if self.calibrator == "mse" else 1)
        scale = max(high - low, 1e-8) / LEVELS
        return torch.tensor([scale]), torch.tensor([round(-low / scale)], dtype=torch.int64)

    def _percentiles(self) -> tuple[float, float]:
        share = self.counts.cumsum(0) / self.counts.sum()
        rank = torch.tensor([1 - PERCENTILE / 100, PERCENTILE / 100], dtype=torch.float64)
        first, last = torch.searchsorted(share, rank).tolist()
        width = 2 * self.reach / BINS
        low, high = first * width - self.reach, (last + 1) * width - self.reach
        return max(min(low, 0.0), self.low), min(max(high, 0.0), self.high)

    def _least_error(self, power: int) -> tuple[float, float]:
        filled = self.counts > 0
        width = 2 * self.reach / BINS
        values = ((torch.arange(BINS) + 0.5) * width - self.reach)[filled].clamp(self.low, self.high)
        weights = self.counts[filled]
        ends = [self.low, self.high]
        for end in (0, 1, 0, 1):
            tried = []
            for step in range(40):
                candidate = list(ends)
                candidate[end] = (self.low, self.high)[end] * (1 - step / 40)
                tried.append((_error(values, weights, power, *candidate), candidate))
            ends = min(tried)[1]
        return ends[0], ends[1]


class WeightObserver(ObserverBase):
    """Finds a symmetric scale per output channel of a weight: the one with the least squared error.

    `quant_max` is the largest level: 127, or 63 for kernels that saturate on 8 bits.
    """

    def __init__(self, quant_max: int = 127, dtype: torch.dtype = torch.int8, **_: object) -> None:
        super().__init__(dtype=dtype)
        self.qscheme, self.ch_axis = torch.per_channel_symmetric, 0
        self.quant_min, self.quant_max = -quant_max, quant_max
        self.weight = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Note the weight (outputs, ...), and return it."""
        self.weight = x.detach()
        return x

    def calculate_qparams(self, **_: object) -> tuple[Tensor, Tensor]:  # pyright: ignore
        """Return scales and zero points, both (outputs,)."""
        rows = self.weight.flatten(1)
        widest = rows.abs().amax(dim=1).clamp(min=1e-8) / self.quant_max
        best, least = widest, torch.full_like(widest, torch.inf)
        for share in torch.linspace(1.0, 0.6, 21):
            scale = (widest * share)[:, None]
            levels = (rows / scale).round().clamp(-self.quant_max, self.quant_max)
            error = (levels * scale - rows).square().sum(dim=1)
            best = torch.where(error < least, scale[:, 0], best)
            least = torch.minimum(error, least)
        return best, torch.zeros(len(best), dtype=torch.int64)


def _error(values: Tensor, weights: Tensor, power: int, low: float, high: float) -> float:
    scale = max(high - low, 1e-8) / LEVELS
    zero = round(-low / scale)
    levels = (values / scale).round().add(zero).clamp(0, LEVELS)
    return float((((levels - zero) * scale - values).abs().pow(power) * weights).sum())
