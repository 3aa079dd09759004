"""How far outputs are from others: PSNR with each output's range as peak; of several outputs, the worst's."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log10

import torch
from scipy import stats
from torch import Tensor

from edgegan.measure.metrics.psnr import LEAST_ERROR
from edgegan.runtime.contract import Contract

EQUAL = 1e-20
"""The error that stands for none: 200 dB."""
BROKEN_DB = {"fp16": 40.0, "int8": 15.0}
"""Under these a file is broken, not coarse: float16 has 11 significant bits, and published generators reach
22 dB and more in INT8."""
BEHIND_DB = 0.5
"""By no more than this may a file be farther from the student than its graph is: other last bits, or float16
between the layers, move values, but not farther away on the whole."""
LEAST_USED = 0.05
"""Of its range, what an output has to use for dB to say much: where it uses less, 40 dB are less than 14."""
CONFIDENCE, CLEAR = 0.95, 0.99
DRAWN = 32
"""Of so many other samples, taken as one, is said what their PSNR is with that confidence."""


def psnr_db(actual: Sequence[Tensor], expected: Sequence[Tensor], contract: Contract) -> float:
    """Return the PSNR in dB of all samples as one, 200 where equal.

    Tensors (N, ...) are in the order of the contract's outputs.
    """
    return psnr_of(squared_errors(actual, expected, contract))


def mean_psnr_db(actual: Sequence[Tensor], expected: Sequence[Tensor], contract: Contract) -> float:
    """Return the mean over samples of each one's PSNR in dB: no one outweighs the others."""
    return mean_psnr_of(squared_errors(actual, expected, contract))


def squared_errors(actual: Sequence[Tensor], expected: Sequence[Tensor], contract: Contract) -> list[Tensor]:
    """Return, of each output, each sample's mean square error (N,) as a share of its range squared."""
    errors = []
    for given, true, spec in zip(actual, expected, contract.outputs, strict=True):
        share = (given.double() - true.double()) / (spec.range[1] - spec.range[0])
        errors.append(share.square().reshape(len(share), -1).mean(dim=1))
    return errors


def psnr_of(errors: Sequence[Tensor]) -> float:
    """Return the PSNR in dB of all samples as one, of each output's `squared_errors`."""
    return min(_decibels(of.mean().clamp(min=EQUAL)) for of in errors)


def each_psnr_of(errors: Sequence[Tensor]) -> Tensor:
    """Return each sample's PSNR in dB (N,), of each output's `squared_errors`."""
    return torch.stack([-10 * of.clamp(min=EQUAL).log10() for of in errors]).amin(0)


def used_db(share: float) -> float:
    """Return by how many dB, 120 at most, an output that uses this share of its range seems nearer."""
    return -20 * log10(max(share, 1e-6))


def sure_psnr_of(errors: Sequence[Tensor]) -> float:
    """Return what the PSNR of `DRAWN` other samples, as `psnr_of`, is at the least, with 95% confidence.

    By Student's distribution of the logarithm of each output's mean: the errors of samples have long tails,
    and few draws may hold one bad sample or more. Of one sample alone it is that sample's.
    """
    return min(_decibels(_bound(of).clamp(min=EQUAL)) for of in errors)


def _bound(errors: Tensor) -> Tensor:
    count, mean = len(errors), errors.mean()
    if count < 2:
        return mean
    spread = errors.std() / mean.clamp(min=EQUAL)
    width = stats.t.ppf(CONFIDENCE, count - 1) * (1 / count + 1 / DRAWN) ** 0.5
    return mean * (width * spread).exp()


def mean_psnr_of(errors: Sequence[Tensor]) -> float:
    """Return the mean over samples of each one's PSNR in dB, of each output's `squared_errors`."""
    return min(_decibels((of + LEAST_ERROR).log().mean().exp()) for of in errors)


def behind_db(errors: Sequence[Tensor], others: Sequence[Tensor]) -> tuple[float, float]:
    """Return by how much `mean_psnr_of(errors)` is under that of `others`, and how far it may be off.

    Both are of the same samples. The margin is that of 99% by Student's distribution of the differences of
    the worst output's: an output of one number is as near by chance as it is far. Infinite of one sample.
    """
    behind = mean_psnr_of(others) - mean_psnr_of(errors)
    worst = min(range(len(errors)), key=lambda index: mean_psnr_of(errors[index : index + 1]))
    count = len(errors[worst])
    if count < 2:
        return behind, inf
    differences = 10 * ((errors[worst] + LEAST_ERROR) / (others[worst] + LEAST_ERROR)).log10()
    return behind, float(stats.t.ppf(CLEAR, count - 1) * differences.std() / count**0.5)


def _decibels(error: Tensor) -> float:
    return float(-10 * error.log10())
