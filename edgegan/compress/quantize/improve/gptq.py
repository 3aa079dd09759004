"""Weights rounded so that the layer's outputs, rather than its weights, stay as near as they can."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DAMPING = 0.01
BLOCK = 128
"""Inputs that make up for each other's errors at once, before those behind do: it saves memory traffic."""

Rounding = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""Chooses the levels of a layer's weights, with the arguments of `round_weights`."""


def round_weights(weight: Tensor, gram: Tensor, scale: Tensor, high: int) -> Tensor:
    """Round the weights of a layer one input at a time, so that those still to come make up for each error.

    This is GPTQ (Frantar et al. 2022, arXiv:2210.17323): like AdaRound (Nagel et al. 2020, arXiv:2004.10568)
    it looks for the least squared error of the layer's outputs, a quadratic form of the weights' errors, but
    in closed form, and it may leave the two nearest levels.

    Args:
        weight: (outputs, inputs), as they should be.
        gram: (inputs, inputs), the mean products of any two inputs, float64.
        scale: (outputs,), the step between levels.
        high: the largest level; the lowest is its negative.

    Returns:
        The weights' levels, (outputs, inputs), whole numbers in float64.
    """
    spread = gram.diagonal()
    damped = gram + (DAMPING * spread.mean()).clamp(min=1e-12) * torch.eye(len(gram), dtype=gram.dtype)
    order = spread.argsort(descending=True, stable=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped[order][:, order]))
    factor = torch.linalg.cholesky(inverse, upper=True)
    left = weight.double()[:, order]
    levels = torch.empty_like(left)
    for start in range(0, len(order), BLOCK):
        end = min(start + BLOCK, len(order))
        errors = torch.empty_like(left[:, start:end])
        for i in range(start, end):
            levels[:, i] = (left[:, i] / scale).round().clamp(-high, high)
            error = (left[:, i] - levels[:, i] * scale) / factor[i, i]
            left[:, i + 1 : end] -= error[:, None] * factor[i, i + 1 : end]
            errors[:, i - start] = error
        left[:, end:] -= errors @ factor[start:end, end:]
    return levels[:, order.argsort()]
