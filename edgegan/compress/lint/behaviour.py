"""Findings that show only when the model runs."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgegan.compress.example_inputs import example
from edgegan.compress.leaves import is_plain, leaves
from edgegan.compress.lint.finding import Finding, together
from edgegan.compress.lint.watch import Watch
from edgegan.compress.plain_attention import Attention
from edgegan.compress.psnr import LEAST_USED, used_db
from edgegan.errors import some
from edgegan.runtime.contract import Contract

SAMPLES, FEWEST = 8, 2
VALUES = 1 << 22
"""Of inputs and outputs, that are looked at: fewer samples of large pictures."""
TOLERANCE = 1e-3
"""Differences up to this fraction of the output's range are rounding."""


def of_shapes(result: Any, contract: Contract) -> Iterator[Finding]:
    """Find outputs that do not fit the contract; `result` is what the model gives of one sample."""
    if not is_plain(result, contract):
        shapes = [f"{'.'.join(path)}: {tuple(value.shape)}" for path, value in leaves(result)]
        yield Finding(
            "error",
            "",
            "the model returns other than the contract's outputs in a row",
            f"one sample gives {some(shapes) or type(result).__name__}; the contract names "
            f"{some([spec.name for spec in contract.outputs])}",
            'return these alone; or name their paths in a recipe, as in model: {outputs: {image: "0"}}',
        )
        return
    found = [tuple(output.shape) for output in (result if isinstance(result, (tuple, list)) else [result])]
    wanted = [(1, *spec.shape) for spec in contract.outputs]
    if found != wanted:
        yield Finding(
            "error",
            "",
            "outputs do not fit the contract",
            f"one sample gives {found}; the contract says {wanted}, the batch axis first",
            "correct the shapes of the contract's outputs",
        )


def of_types(watch: Watch) -> Iterator[Finding]:
    """Find what computes in less than float32."""
    if watch.halves:
        yield Finding(
            "error",
            together(watch.halves),
            "float16 inside",
            "these layers compute in less than float32, in which no stage can train, quantize or prove",
            "take the casts and torch.autocast out of forward; `export` writes a float16 file itself",
            tuple(watch.halves),
        )


def of_runs(module: nn.Module, contract: Contract) -> Iterator[Finding]:
    """Find noise, dependence on the batch, and values out of range, on eight samples, or fewer large ones."""
    each = sum(prod(spec.shape) for spec in (*contract.inputs, *contract.outputs))
    samples = max(FEWEST, min(SAMPLES, VALUES // max(1, each)))
    inputs = example(contract, samples, 0)
    first, again = _run(module, inputs), _run(module, inputs)
    singles = [_run(module, tuple(one[index : index + 1] for one in inputs)) for index in range(samples)]
    for index, spec in enumerate(contract.outputs):
        low, high = spec.range
        slack = TOLERANCE * (high - low)
        output, alone = first[index], torch.cat([single[index] for single in singles])
        if not torch.isfinite(output).all():
            yield Finding(
                "error", "", f"output {spec.name!r} is NaN or infinite", "nothing can be learned from it",
                "see which layer overflows",
            )  # fmt: skip
        elif _gap(output, again[index]) > slack:
            yield Finding(
                "error",
                "",
                f"the same input gives another output {spec.name!r}",
                f"two runs differ by up to {_gap(output, again[index]):.3g}: no stage can prove that it "
                "keeps the model's outputs",
                "say in the recipe what to put in the noise's place: model: {noise: fixed}, {noise: mean} "
                "(dropout is off then), or the names of inputs of the contract; compress_module takes "
                'noise="fixed" and noise="mean"',
            )
        elif _gap(output, alone) > slack:
            why, cure = _mixing(module)
            yield Finding(
                "warning",
                "",
                f"output {spec.name!r} depends on the rest of the batch",
                f"alone, a sample's output differs by up to {_gap(output, alone):.3g}: {why}",
                cure,
            )
        if output.min() < low - slack or output.max() > high + slack:
            yield Finding(
                "warning",
                "",
                f"output {spec.name!r} leaves the contract's range",
                f"{samples} samples lie in [{output.min():.4g}, {output.max():.4g}]; the contract says "
                f"[{low:g}, {high:g}], and uint8 images clip there",
                "correct the contract's range, or clamp in the model",
            )
        elif (used := float(output.max() - output.min()) / (high - low)) < LEAST_USED:
            yield Finding(
                "warning",
                "",
                f"output {spec.name!r} uses {100 * used:.2g}% of the contract's range",
                f"{samples} samples lie in [{output.min():.4g}, {output.max():.4g}]; the contract says "
                f"[{low:g}, {high:g}], and dB against that are {used_db(used):.0f} more than against what is "
                "used",
                "correct the contract's range; or, where real outputs reach farther, draw the inputs as they "
                "really are: `low: 0, high: 255` where the network takes pictures of 0..255",
            )


def _mixing(module: nn.Module) -> tuple[str, str]:
    """Return what may make a sample's output depend on the others, and what to do about it."""
    layers = list(module.modules())
    if any(isinstance(layer, _BatchNorm) and layer.running_mean is None for layer in layers):
        return (
            "a norm takes its statistics over the batch",
            "use BatchNorm with running statistics (track_running_stats=True), in eval mode",
        )
    series = (layer for layer in layers if isinstance(layer, (nn.RNNBase, nn.MultiheadAttention, Attention)))
    if not all(layer.batch_first for layer in series):
        return (
            "a recurrent layer or attention takes the samples of a batch for the steps of a series",
            "build it with batch_first=True, or turn the axes before and after it in forward",
        )
    return "forward computes something over the batch axis", "compute each sample by itself"


def _run(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    with torch.no_grad():
        outputs = module(*inputs)
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def _gap(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()
