"""The ways to quantize, tried in turn on calibration samples; the best on other samples wins."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgegan.compress.inputs import example
from edgegan.compress.quantize.annotate import last_layers, layer_macs
from edgegan.compress.quantize.equalize import equalize_channels
from edgegan.compress.quantize.neural_compressor import quantize
from edgegan.compress.quantize.observer import Calibrator
from edgegan.compress.rewrite import Change, rewrite
from edgegan.compress.rewrite.graph import outputs
from edgegan.errors import StageError
from edgegan.runtime.contract import Contract

BATCH = 32
CALIBRATION_SEED = 0x5EED
JUDGING_SEED = 0x70D6E
JUDGING_SAMPLES = 64
CHEAP_SHARE = 0.1
"""A last convolution with at most this share of the MACs stays in float."""


@dataclass(frozen=True)
class Plan:
    """Which layers to quantize. `macs` names all of them, in the order in which they run."""

    macs: dict[str, int]
    skip: list[str]
    float_outputs: list[str]
    weight_max: int


@dataclass(frozen=True)
class Trial:
    """One way to quantize, and how well it did."""

    equalized: bool
    calibrator: Calibrator
    psnr_db: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain data."""
        return asdict(self)


def plan(graph: GraphModule, skip: Sequence[str], weight_max: int) -> Plan:
    """Decide which layers to quantize.

    A last convolution stays in float where it is cheap, and a last linear layer gives a float output.

    Raises:
        StageError: `skip` names a layer that is not there, or no layer is left.
    """
    macs = layer_macs(graph)
    unknown = sorted(set(skip) - set(macs))
    if unknown:
        raise StageError(
            f"there is no layer {', '.join(unknown)} to skip",
            where="quantize: skip",
            next=f"choose from: {', '.join(macs)}",
        )
    last = last_layers(graph)
    cheap = [name for name in last if not last[name] and macs[name] <= CHEAP_SHARE * sum(macs.values())]
    skipped = sorted({*skip, *cheap})
    if not set(macs) - set(skipped):
        raise StageError(
            "no layer is left to quantize",
            where=f"quantize: layers {', '.join(macs) or 'none'}",
            next="leave the stage `quantize` out of the recipe, or shorten `skip`",
        )
    float_outputs = [name for name, linear in last.items() if linear and name not in skipped]
    return Plan(macs, skipped, float_outputs, weight_max)


def best(
    graph: GraphModule,
    contract: Contract,
    layers: Plan,
    calibrators: Sequence[Calibrator],
    *,
    samples: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> tuple[GraphModule, list[Change], list[Trial]]:
    """Quantize `graph` with each calibrator, with channels equalized and without; keep the best.

    Returns:
        The quantized graph, what equalization changed in it, and the trials, the best first.
    """
    calibration = example(contract, samples, CALIBRATION_SEED + seed)
    batches = list(zip(*(tensor.split(BATCH) for tensor in calibration)))
    judging = example(contract, JUDGING_SAMPLES, JUDGING_SEED + seed)
    expected = outputs(graph, judging)
    starts = {False: (graph, []), True: rewrite(graph, contract, [equalize_channels])}
    trials = [Trial(equalized, calibrator) for equalized, calibrator in product(starts, calibrators)]
    done: list[tuple[Trial, GraphModule]] = []
    for index, trial in enumerate(trials):
        progress(index, len(trials))
        quantized = quantize(
            copy.deepcopy(starts[trial.equalized][0]),
            batches,
            weight_max=layers.weight_max,
            calibrator=trial.calibrator,
            skip=layers.skip,
            float_outputs=layers.float_outputs,
        )
        score = _psnr(outputs(quantized, judging), expected, contract)
        done.append((replace(trial, psnr_db=round(score, 2)), quantized))
    done.sort(key=lambda pair: -pair[0].psnr_db)
    winner, quantized = done[0]
    return quantized, starts[winner.equalized][1], [trial for trial, _ in done]


def _psnr(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...], contract: Contract) -> float:
    """Return the ratio in dB of the outputs' ranges to the errors, of the worst output."""
    errors = [
        float(((a - e) / (spec.range[1] - spec.range[0])).square().mean())
        for a, e, spec in zip(actual, expected, contract.outputs, strict=True)
    ]
    return float(-10 * torch.tensor(max(*errors, 1e-20)).log10())
