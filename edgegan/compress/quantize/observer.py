"""Observers: from the values that a tensor takes in calibration to its scale and zero point."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchao.quantization.pt2e import ObserverBase

Calibrator = Literal["minmax", "percentile", "mse"]

KEPT_PER_BATCH = 1 << 15
PERCENTILE = 99.99
ACTIVATION_LEVELS = 255


class ActivationObserver(ObserverBase):
    """Finds the range of an activation, for asymmetric uint8 per tensor; zero is always a level.

    `minmax` takes the whole range, `percentile` cuts 0.01% off each end, and `mse` the range whose
    quantization error is least in the mean square. The latter two look at a random part of the values.
    """

    def __init__(self, calibrator: Calibrator = "mse", dtype: torch.dtype = torch.uint8, **_: object) -> None:
        super().__init__(dtype=dtype)
        self.qscheme = torch.per_tensor_affine
        self.quant_min, self.quant_max = 0, ACTIVATION_LEVELS
        self.calibrator = calibrator
        self.low, self.high = 0.0, 0.0
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Note the values of `x`, and return it."""
        values = x.detach().flatten()
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        if self.calibrator != "minmax":
            generator = torch.Generator().manual_seed(len(self.kept))
            self.kept.append(values[torch.randint(len(values), (KEPT_PER_BATCH,), generator=generator)])
        return x

    def calculate_qparams(self, **_: object) -> tuple[Tensor, Tensor]:  # pyright: ignore
        """Return scale (1,) and zero point (1,)."""
        low, high = self.low, self.high
        if self.kept and self.calibrator == "percentile":
            low, high = _percentiles(torch.cat(self.kept).numpy())
        elif self.kept and self.calibrator == "mse":
            low, high = _least_error(torch.cat(self.kept), low, high)
        scale = max(high - low, 1e-8) / ACTIVATION_LEVELS
        return torch.tensor([scale]), torch.tensor([round(-low / scale)], dtype=torch.int64)


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


def _percentiles(values: object) -> tuple[float, float]:
    import numpy as np

    low, high = np.percentile(values, [100 - PERCENTILE, PERCENTILE])  # pyright: ignore
    return min(float(low), 0.0), max(float(high), 0.0)


def _least_error(values: Tensor, low: float, high: float) -> tuple[float, float]:
    """Return the range within [low, high] that quantizes `values` with the least squared error."""
    if len(values) > 1 << 14:
        generator = torch.Generator().manual_seed(0)
        values = values[torch.randint(len(values), (1 << 14,), generator=generator)]
    shares = [1 - step / 40 for step in range(33)]
    whole = (low, high)
    for end in (0, 1, 0, 1):
        tried = []
        for share in shares:
            ends = [low, high]
            ends[end] = whole[end] * share
            tried.append((_error(values, *ends), *ends))
        _, low, high = min(tried)
    return low, high


def _error(values: Tensor, low: float, high: float) -> float:
    scale = max(high - low, 1e-8) / ACTIVATION_LEVELS
    zero = round(-low / scale)
    levels = (values / scale).round().add(zero).clamp(0, ACTIVATION_LEVELS)
    return float(((levels - zero) * scale - values).square().mean())
