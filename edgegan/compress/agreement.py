"""How far an exported file's outputs are from its module's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgegan.compress.example_inputs import example, tensors
from edgegan.compress.free_axes import trials, written
from edgegan.compress.precise import precise_outputs
from edgegan.compress.psnr import decibels
from edgegan.compress.rewrite.graph import outputs
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Arrays, Contract
from edgegan.runtime.engines.registry import open_artifact


def agreement(
    file: Artifact | Path,
    module: nn.Module,
    contract: Contract,
    *,
    batches: tuple[int, ...] = (1, 8),
    seed: int = 0,
    inputs: Sequence[Arrays] = (),
) -> dict[str, Any]:
    """Compare a file on ONNX Runtime with its module, on contract samples in batches of the given sizes.

    With `inputs`, on these, as they are batched, in place of samples from `seed`.

    Where an output is uint8 in the file, the module's is encoded in the same way.

    Returns:
        `max_difference`: the largest difference, as a share of the output's range; `psnr_db`: the peak
        signal-to-noise ratio over all values, with the range as peak (equal outputs count as 200 dB);
        `finite`; `batches`. Several outputs count as one: the worst of each figure.
    """
    worst: dict[str, Any] = {
        "max_difference": 0.0,
        "psnr_db": decibels(0.0),
        "finite": True,
        "batches": [len(next(iter(arrays.values()))) for arrays in inputs] or list(batches),
    }
    squares: dict[str, list[NDArray[np.float64]]] = {spec.name: [] for spec in contract.outputs}
    with open_artifact(file, threads=1) as engine:
        for arrays in inputs or (contract.sample(batch, seed) for batch in batches):
            actual = engine(arrays)
            results = outputs(module, tensors(contract, arrays))
            for spec, result in zip(contract.outputs, results, strict=True):
                expected, got, width = result.numpy(), actual[spec.name], spec.range[1] - spec.range[0]
                if got.dtype == np.uint8:
                    expected, width = spec.modality.encode(expected, spec), 255.0
                if got.shape != expected.shape or not np.isfinite(got).all():
                    worst |= {"finite": False, "max_difference": None, "psnr_db": None}
                    return worst
                difference = (got.astype(np.float64) - expected.astype(np.float64)) / width
                worst["max_difference"] = max(worst["max_difference"], float(np.abs(difference).max()))
                squares[spec.name].append(np.square(difference).ravel())
    for values in squares.values():
        error = float(np.concatenate(values).mean())
        worst["psnr_db"] = min(worst["psnr_db"], decibels(error))
    worst["psnr_db"] = round(float(worst["psnr_db"]), 2)
    return worst


def agreement_at_sizes(artifact: Artifact, module: nn.Module, contract: Contract) -> dict[str, Any]:
    """Return the worst `agreement` of a file with its module at other sizes, and each size's dB.

    {} where the sizes are fixed.
    """
    found = {
        written(sizes): agreement(artifact, module, contract.at(sizes), batches=(1,))
        for sizes in trials(contract)
    }
    if not found:
        return {}
    each = {"psnr_db_at": {text: figures["psnr_db"] for text, figures in found.items()}}
    if not all(figures["finite"] for figures in found.values()):
        return {"finite": False, "max_difference": None, "psnr_db": None, **each}
    return {
        "finite": True,
        "max_difference": max(figures["max_difference"] for figures in found.values()),
        "psnr_db": min(figures["psnr_db"] for figures in found.values()),
        **each,
    }


def rounding(module: nn.Module, contract: Contract, *, batch: int = 8, seed: int = 0) -> float:
    """Return how far float32 takes `module` itself from float64, as a share of the output's range.

    0 where it does not run in float64.
    """
    samples = example(contract, batch, seed)
    precise = precise_outputs(module, samples)
    if precise is None:
        return 0.0
    return max(
        float((rounded.double() - exact).abs().max()) / (spec.range[1] - spec.range[0])
        for rounded, exact, spec in zip(outputs(module, samples), precise, contract.outputs)
    )
