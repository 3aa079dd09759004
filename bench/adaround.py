"""AdaRound, to compare edgegan's adaptive rounding with."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS, WARM_UP, LEARNING_RATE, WEIGHT = 2000, 0.2, 1e-2, 0.01
BETA = (20.0, 2.0)
STRETCH = (-0.1, 1.1)


def adaround(weight: Tensor, gram: Tensor, scale: Tensor, high: int) -> Tensor:
    """Round each weight up or down for the least squared error of the layer's outputs.

    Adaptive rounding (Nagel et al. 2020, arXiv:2004.10568) with the schedule of its paper, on all inputs at
    once: the error is a quadratic form of `gram`.

    Args:
        weight: (outputs, inputs).
        gram: (inputs, inputs), the mean products of any two inputs.
        scale: (outputs,), the step between levels.
        high: the largest level; the lowest is its negative.

    Returns:
        The weights' levels, (outputs, inputs), whole numbers in float64.
    """
    steps = weight.float() / scale.float()[:, None]
    floor, gram = steps.floor(), (gram / gram.diagonal().mean().clamp(min=1e-30)).float()
    low, top = STRETCH
    rest = (steps - floor).clamp(0.01, 0.99)
    logits = -torch.log((top - low) / (rest - low) - 1)
    logits.requires_grad_(True)
    optimizer = torch.optim.Adam([logits], lr=LEARNING_RATE)

    def up() -> Tensor:
        return (logits.sigmoid() * (top - low) + low).clamp(0, 1)

    with torch.enable_grad():
        for step in range(STEPS):
            error = (floor + up()).clamp(-high, high) - steps
            loss = ((error @ gram) * error).sum()
            progress = (step / STEPS - WARM_UP) / (1 - WARM_UP)
            if progress > 0:
                beta = BETA[0] + (BETA[1] - BETA[0]) * progress
                loss = loss + WEIGHT * (1 - (2 * up() - 1).abs().pow(beta)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (floor + (logits.detach() >= 0)).clamp(-high, high).double()
