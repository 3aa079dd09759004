"""How far outputs are from others: PSNR with each output's range as peak; of several outputs, the worst's."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from torch import Tensor

from edgegan.measure.metrics.psnr import LEAST_ERROR
from edgegan.runtime.contract import Contract

EQUAL = 1e-20
"""The error that stands for none: 200 dB."""
BROKEN_DB = {"fp16": 40.0, "int8": 15.0}
"""Under these a file is broken, not coarse: float16 has 11 significant bits, and published generators reach
22 dB and more in INT8."""
CONFIDENCE = 1.28
"""Standard errors above a mean that it stays under with 90% confidence."""


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


def decibels(error: float) -> float:
    """Return a mean square error, as a share of the range squared, in dB: 200 for none."""
    return -10 * log10(max(error, EQUAL))


def psnr_of(errors: Sequence[Tensor]) -> float:
    """Return the PSNR in dB of all samples as one, of each output's `squared_errors`."""
    return min(_decibels(of.mean().clamp(min=EQUAL)) for of in errors)


def sure_psnr_of(errors: Sequence[Tensor]) -> float:
    """Return what the PSNR of any other samples is at the least, as `psnr_of`, with 90% confidence.

    By the normal distribution of a mean of each output's `squared_errors`.
    """
    bounds = (
        of.mean() + CONFIDENCE * of.std() / len(of) ** 0.5 if len(of) > 1 else of.mean() for of in errors
    )
    return min(_decibels(bound.clamp(min=EQUAL)) for bound in bounds)


def mean_psnr_of(errors: Sequence[Tensor]) -> float:
    """Return the mean over samples of each one's PSNR in dB, of each output's `squared_errors`."""
    return min(_decibels((of + LEAST_ERROR).log().mean().exp()) for of in errors)


def _decibels(error: Tensor) -> float:
    return float(-10 * error.log10())
