"""What inputs are drawn from, and where outputs lie: by norms' statistics, bounds and likeness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from edgegan.compress.psnr import LEAST_USED
from edgegan.init.inputs import Guess
from edgegan.init.output_bounds import Range
from edgegan.init.trying import call, chosen, outputs

LATENTS: dict[str, Range | None] = {"normal": None, "uniform -1..1": (-1.0, 1.0), "uniform 0..1": (0.0, 1.0)}
PICTURES: tuple[Range, ...] = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0))
LATENT_SAMPLES, PICTURE_SAMPLES = 64, 2
NORMS = 3
"""How many norms are asked, the first to run: the later ones see more of the network than of its inputs."""
CLEAR = 0.6
"""Of the usual distribution's gap, what another's must be under to take its place."""


@dataclass(frozen=True)
class Drawn:
    """How an input is drawn: None is standard normal. `why` says what that rests on."""

    range: Range | None
    why: str
    sure: bool = False


def values_of(inputs: Sequence[Guess], n: int, ranges: dict[str, Range | None], seed: int = 0) -> list[Any]:
    """Return `n` samples of the inputs; those named in `ranges` are drawn from them, None for a normal."""
    return [
        _within(guess, n, ranges[guess.name], seed) if guess.name in ranges else guess.draw(n, seed)
        for guess in inputs
    ]


def latent_drawn(module: nn.Module, inputs: Sequence[Guess], latent: Guess) -> Drawn:
    """Find what `latent` was drawn from in training: batch norms remember its statistics."""
    gaps = {
        name: gap
        for name, held in LATENTS.items()
        if (gap := statistics_gap(module, values_of(inputs, LATENT_SAMPLES, {latent.name: held}))) is not None
    }
    usual = gaps.get("normal")
    if usual is None:
        return Drawn(
            None,
            "standard normal, as most are; the network does not say; else {kind: uniform, low: -1, high: 1}",
        )
    best = min(gaps, key=lambda name: gaps[name])
    if best == "normal" or gaps[best] > CLEAR * usual:
        return Drawn(None, "standard normal, as the first batch norms remember it", usual < 1)
    return Drawn(LATENTS[best], f"{best}: the first batch norms remember inputs of its spread", True)


def statistics_gap(module: nn.Module, values: Sequence[Any]) -> float | None:
    """Return how far what the first batch norms see is from what they remember; None where they don't."""
    gaps: list[float] = []

    def look(layer: nn.Module, given: tuple[Any, ...]) -> None:
        mean, var = layer.running_mean, layer.running_var
        assert isinstance(mean, Tensor)
        assert isinstance(var, Tensor)
        axes = [axis for axis in range(given[0].dim()) if axis != 1]
        if len(gaps) < NORMS and given[0].dim() > 1 and not (mean.eq(0).all() and var.eq(1).all()):
            spread, centre = given[0].var(axes), given[0].mean(axes)
            scale = (spread / var.clamp(min=1e-12)).clamp(min=1e-6).log().abs().median()
            shift = ((centre - mean).abs() / var.clamp(min=1e-12).sqrt()).median()
            gaps.append(float(scale + shift))

    with ExitStack() as stack:
        for layer in module.modules():
            if isinstance(layer, _BatchNorm) and layer.running_mean is not None:
                stack.callback(layer.register_forward_pre_hook(look).remove)
        call(module, values)
    return sum(gaps) / len(gaps) if gaps else None


def picture_drawn(module: nn.Module, inputs: Sequence[Guess], picture: Guess, bound: Range | None) -> Drawn:
    """Find between which values a picture lies: as the norms remember, or as the output is nearest to it.

    `bound` is that of the output, where its last operations have one.
    """
    pictures = [guess.name for guess in inputs if guess.is_picture and not guess.is_mask]
    scores: dict[Range, float] = {}
    told: dict[Range, list[str]] = {}
    for held in PICTURES:
        values = values_of(inputs, PICTURE_SAMPLES, dict.fromkeys(pictures, held))
        gap, scores[held], told[held] = statistics_gap(module, values), 0.0, []
        if gap is not None:
            scores[held] += gap
            told[held].append("the batch norms")
        result = chosen(outputs(call(module, values), PICTURE_SAMPLES))[0][1]
        if result.dim() == 4 and result.shape[1] in (1, 3):
            scores[held] += _unlike(
                values[[guess.name for guess in inputs].index(picture.name)], result, held
            )
            told[held].append("the output's own range")
        if bound in PICTURES and bound != held:
            scores[held] += 0.5
    best = min(PICTURES, key=lambda held: round(scores[held], 2))
    others = sorted(score for held, score in scores.items() if held != best)
    sure = others[0] > 2 * scores[best] + 0.1
    why = " and ".join(told[best]) or "what is usual"
    return Drawn(best, f"judged by {why}; else {_others(best)}", sure)


def _unlike(given: Tensor, result: Tensor, held: Range) -> float:
    """Return how unlike an output is a picture of the same values: 0 for the same contents, 2 at the most."""
    width = held[1] - held[0]
    low, high = torch.quantile(result.flatten()[: 1 << 20], torch.tensor([0.02, 0.98])).tolist()
    spread = (abs(low - held[0]) + abs(high - held[1])) / width
    if result.shape[1] == given.shape[1]:
        small = F.adaptive_avg_pool2d(result, 8), F.adaptive_avg_pool2d(given, 8)
        spread += 4 * float((small[0] - small[1]).abs().mean()) / width
    return min(spread, 2.0) if math.isfinite(spread) else 2.0


def output_range(
    bound: Range | None, value: Tensor, picture: bool, usual: Range | None
) -> tuple[Range, str, bool]:
    """Return an output's range, what it rests on, and whether that is sure.

    Args:
        bound: what its last operations hold it between.
        value: some outputs; they use enough of the range for dB to tell something (`LEAST_USED`).
        picture: whether it is an image: then one of the usual ranges is likely.
        usual: that of the input that is a picture.
    """
    if bound is not None:
        return bound, "its last operations hold it there", True
    low, high = float(value.min()), float(value.max())

    def used(held: Range) -> bool:
        return high - low >= LEAST_USED * (held[1] - held[0])

    if picture and usual is not None and used(usual):
        return usual, f"as the input; {_measured(low, high)}", False
    near = min(PICTURES, key=lambda held: _far(low, high, held))
    if picture and used(near):
        return near, _measured(low, high), False
    return _round(low, high), _measured(low, high), False


def _far(low: float, high: float, held: Range) -> float:
    """Return how far a measured range is from a usual one: by the ratio of the widths, and by the middle."""
    width, usual = max(high - low, 1e-6), held[1] - held[0]
    return abs(math.log(width / usual)) + abs(low + high - sum(held)) / 2 / max(width, usual)


def _measured(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g} was measured"


def _round(low: float, high: float) -> Range:
    """Return a range of round numbers with some room around the measured one."""
    most = max(abs(low), abs(high), 1e-6) * 1.1
    unit = 10.0 ** math.floor(math.log10(most))
    top = next(unit * step for step in (1, 2, 3, 4, 5, 6, 8, 10) if unit * step >= most)
    top = float(f"{top:.0e}")  # 0.3, and not 3 * 0.1
    return (0.0 if low >= 0 else -top), (top if high > 0 else 0.0)


def _others(best: Range) -> str:
    return " or ".join(f"low: {low:g}, high: {high:g}" for low, high in PICTURES if (low, high) != best)


def _within(guess: Guess, n: int, held: Range | None, seed: int) -> Tensor:
    drawn = guess.draw(n, seed)
    if guess.is_picture:
        low, high = held or (0.0, 1.0)
        return drawn * (high - low) + low
    if held is None:
        return torch.randn(drawn.shape, generator=torch.Generator().manual_seed(seed))
    return torch.empty(drawn.shape).uniform_(*held, generator=torch.Generator().manual_seed(seed))
