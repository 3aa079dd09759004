"""From the values that a tensor takes in calibration to the range that its levels cover."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Calibrator = Literal["minmax", "percentile", "entropy", "mse", "mae", "weighted_mse"]

PERCENTILE = 99.99
BINS = 1 << 13
ENTROPY_BINS = 2048
ENTROPY_STEP = 16
SHARES = [1 - step / 50 for step in range(20)] + [0.6 * 0.9**step for step in range(32)]
"""Of a weight's reach, what its levels may cover."""
QUIET = 1e-4
"""A channel counts as if it had at least this share of the mean power: it may fire on other samples."""
COUNTED = 1 << 20
"""Of a larger tensor about so many values are counted, spread over all of it; the ends are those of all."""


class Histogram:
    """The values of one tensor, counted."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0
        self.counts, self.reach = torch.zeros(BINS, dtype=torch.float64), 2.0**-20
        self.weights = torch.zeros(BINS, dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        """Count the values of `x`, of any shape; of a large one, some."""
        self._widen(x)
        self.counts += torch.histc(_some(x.detach()).float(), BINS, -self.reach, self.reach)

    def weigh(self, x: Tensor, weights: Tensor) -> None:
        """Say how much an error of each value of `x` matters: `weights`, of its shape, not negative."""
        self._widen(x)
        values, weights = _some(x), _some(weights)
        bins = ((values + self.reach) * (BINS / 2 / self.reach)).long().clamp(0, BINS - 1)
        self.weights.index_add_(0, bins, weights.double())

    def _widen(self, x: Tensor) -> None:
        low, high = (float(end) for end in x.detach().aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)
        while self.reach < max(high, -low):
            self.counts, self.weights = _halved(self.counts), _halved(self.weights)
            self.reach *= 2

    def levels(self, calibrator: Calibrator, low: int, high: int, *, symmetric: bool) -> tuple[float, int]:
        """Return scale and zero point of the levels `low` to `high`; zero is always a level.

        Args:
            calibrator: `minmax` takes the whole range. `percentile` cuts 0.01% off each end. `entropy` cuts
                where the Kullback-Leibler divergence of the quantized distribution is least (TensorRT's
                calibrator: Migacz, GTC 2017). `mse` takes the range whose quantization error is least in the
                mean square, and `mae` that whose mean absolute error is least: it cuts more off long tails,
                which the output's tanh forgives. `weighted_mse` takes the range that gives the outputs the
                least squared error, as far as their gradients tell (`weigh`).
            low: the lowest level.
            high: the highest level.
            symmetric: the zero point is 0.
        """
        count = high - low
        if calibrator in ("mse", "mae", "weighted_mse"):
            known = calibrator == "weighted_mse" and bool(self.weights.any())
            weights = self.weights if known else self.counts
            first, last = self._least_error(weights, 1 if calibrator == "mae" else 2, count, symmetric)
        else:
            first, last = {
                "minmax": lambda: (self.low, self.high),
                "percentile": self._percentiles,
                "entropy": lambda: self._least_divergence(count),
            }[calibrator]()
            first, last = _ends(first, last, symmetric)
        scale = max(last - first, 1e-8) / count
        return scale, 0 if symmetric else low + round(-first / scale)

    def _percentiles(self) -> tuple[float, float]:
        share = self.counts.cumsum(0) / self.counts.sum()
        rank = torch.tensor([1 - PERCENTILE / 100, PERCENTILE / 100], dtype=torch.float64)
        first, last = torch.searchsorted(share, rank).tolist()
        width = 2 * self.reach / BINS
        low, high = first * width - self.reach, (last + 1) * width - self.reach
        return max(min(low, 0.0), self.low), min(max(high, 0.0), self.high)

    def _least_error(self, weights: Tensor, power: int, count: int, symmetric: bool) -> tuple[float, float]:
        filled = weights > 0
        width = 2 * self.reach / BINS
        values = ((torch.arange(BINS) + 0.5) * width - self.reach)[filled].clamp(self.low, self.high)
        weights = weights[filled]
        widest = _ends(self.low, self.high, symmetric)

        def best(candidates: list[tuple[float, float]]) -> tuple[float, float]:
            return min((_error(values, weights, power, count, *ends), ends) for ends in candidates)[1]

        shares = [1 - step / 40 for step in range(40)]
        if symmetric:
            return best([(share * widest[0], share * widest[1]) for share in shares])
        low, high = widest
        for _ in range(2):
            low, _ = best([(share * widest[0], high) for share in shares])
            _, high = best([(low, share * widest[1]) for share in shares])
        return low, high

    def _least_divergence(self, count: int) -> tuple[float, float]:
        one_sided = min(-self.low, self.high) <= 1e-3 * max(-self.low, self.high)
        groups = (count + 1) if one_sided else (count + 1) // 2
        sizes = (self.counts[BINS // 2 :] + self.counts[: BINS // 2].flip(0)).view(ENTROPY_BINS, -1).sum(1)
        last = int(sizes.nonzero().max()) + 1 if sizes.any() else 1
        width = self.reach / ENTROPY_BINS
        tried = [
            (_divergence(sizes[:last], kept, groups), kept)
            for kept in range(min(groups, last), last + 1, ENTROPY_STEP)
        ]
        reach = min(tried)[1] * width
        return max(self.low, -reach), min(self.high, reach)


def weight_scales(weight: Tensor, high: int, power: Tensor | None = None) -> Tensor:
    """Return the symmetric scale of each output channel with the least squared error of what it gives.

    Args:
        weight: (outputs, inputs, ...).
        high: the largest level, 127 or less.
        power: (groups, inputs), the mean square of what each input channel holds: a large weight of a channel
            that hardly ever fires must not rule the steps of all others. Without, all inputs count alike.

    Returns:
        (outputs,), positive.
    """
    rows = weight.flatten(1)
    counts = torch.ones_like(rows) if power is None else _counts(weight, power)
    widest = rows.abs().amax(dim=1).clamp(min=1e-8) / high
    best, least = widest, torch.full_like(widest, torch.inf)
    for share in SHARES:
        scale = (widest * share)[:, None]
        error = ((rows / scale).round().clamp(-high, high) * scale - rows).square().mul_(counts).sum(dim=1)
        best = torch.where(error < least, scale[:, 0], best)
        least = torch.minimum(error, least)
    return best


def _counts(weight: Tensor, power: Tensor) -> Tensor:
    """Return how much an error of each weight matters, in the form of the weight's rows."""
    known = power + QUIET * power.mean().clamp(min=1e-30)
    rows = known.to(weight.dtype).repeat_interleave(len(weight) // len(power), dim=0)
    return rows.repeat_interleave(weight[0, 0].numel(), dim=1)


def _some(x: Tensor) -> Tensor:
    """Return some of a tensor's values, as many at most as are counted; an odd step meets every column."""
    return x.flatten()[:: x.numel() // COUNTED | 1] if x.numel() > COUNTED else x.flatten()


def _halved(counts: Tensor) -> Tensor:
    """Return the counts in bins of double width."""
    outside = torch.zeros(BINS // 4, dtype=torch.float64)
    return torch.cat([outside, counts.view(-1, 2).sum(dim=1), outside])


def _ends(low: float, high: float, symmetric: bool) -> tuple[float, float]:
    reach = max(-low, high)
    return (-reach, reach) if symmetric else (low, high)


def _error(values: Tensor, weights: Tensor, power: int, count: int, low: float, high: float) -> float:
    scale = max(high - low, 1e-8) / count
    zero = round(-low / scale)
    levels = (values / scale).round().add(zero).clamp(0, count)
    return float((((levels - zero) * scale - values).abs().pow(power) * weights).sum())


def _divergence(sizes: Tensor, kept: int, groups: int) -> float:
    """Return how far the first `kept` bins are from themselves in `groups` levels, the rest cut."""
    inside = sizes[:kept]
    reference = inside.clone()
    reference[-1] += sizes[kept:].sum()
    group = torch.arange(kept) * groups // kept
    filled = (inside > 0).double()
    totals = torch.zeros(groups, dtype=torch.float64).index_add_(0, group, inside)
    members = torch.zeros(groups, dtype=torch.float64).index_add_(0, group, filled)
    spread = (totals / members.clamp(min=1))[group] * filled
    p, q = reference / reference.sum(), spread / spread.sum().clamp(min=1e-30)
    both = p > 0
    return float((p[both] * (p[both] / q[both].clamp(min=1e-12)).log()).sum())
