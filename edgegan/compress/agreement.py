"""How far an exported file's outputs are from its module's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgegan.compress import memory
from edgegan.compress.example_inputs import example, tensors
from edgegan.compress.free_axes import trials, written
from edgegan.compress.precise import precise_outputs
from edgegan.compress.psnr import psnr_of, sure_psnr_of
from edgegan.compress.rewrite.graph import outputs
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Arrays, Contract
from edgegan.runtime.engines.registry import open_artifact


@dataclass(frozen=True)
class Comparison:
    """How far a file's outputs are from its module's."""

    batches: list[int]
    max_difference: float = 0.0
    """The largest, as a share of the output's range."""
    errors: tuple[Tensor, ...] = ()
    """Of each output, each sample's mean square error, as a share of the range squared; none where the file
    gives NaN, infinity or another shape."""
    range_used_share: float = 1.0
    """Of the ranges, what the module's outputs span: the least of all outputs."""

    @property
    def psnr_db(self) -> float:
        """The PSNR over all values in dB, of the worst output; 0 where there are no errors."""
        return psnr_of(self.errors) if self.errors else 0.0

    @property
    def sure_psnr_db(self) -> float:
        """What `psnr_db` is of other samples (see `sure_psnr_of`); 0 where there are no errors."""
        return sure_psnr_of(self.errors) if self.errors else 0.0


def compare(
    file: Artifact | Path, module: nn.Module, contract: Contract, inputs: Iterable[Arrays]
) -> Comparison:
    """Compare a file on ONNX Runtime with its module, on batches of inputs.

    Where an output is uint8 in the file, the module's is encoded in the same way.
    """
    batches: list[int] = []
    largest, found = 0.0, []
    spans: list[list[float]] = [[] for _ in contract.outputs]
    with open_artifact(file, threads=1) as engine:
        for arrays in inputs:
            batches.append(len(next(iter(arrays.values()))))
            actual = engine(arrays)
            errors = []
            for spec, result, span in zip(
                contract.outputs, outputs(module, tensors(contract, arrays)), spans, strict=True
            ):
                expected, got, width = result.numpy(), actual[spec.name], spec.range[1] - spec.range[0]
                if got.dtype == np.uint8:
                    expected, width = spec.modality.encode(expected, spec), 255.0
                if got.shape != expected.shape or not np.isfinite(got).all():
                    return Comparison(batches)
                span += [float(expected.min()) / width, float(expected.max()) / width]
                difference = (got.astype(np.float64) - expected.astype(np.float64)) / width
                largest = max(largest, float(np.abs(difference).max()))
                squares = np.square(difference).reshape(len(difference), -1).mean(axis=1)
                errors.append(torch.from_numpy(squares))
            found.append(errors)
    used = min(max(span) - min(span) for span in spans)
    return Comparison(batches, largest, tuple(torch.cat(parts) for parts in zip(*found)), used)


def agreement(
    file: Artifact | Path,
    module: nn.Module,
    contract: Contract,
    *,
    batches: tuple[int, ...] = (1, 8),
    seed: int = 0,
) -> dict[str, Any]:
    """Compare a file on ONNX Runtime with its module, on contract samples in batches of the given sizes.

    Batches are smaller where samples are large. Where an output is uint8 in the file, the module's is encoded
    in the same way.

    Returns:
        `max_difference`: the largest difference, as a share of the output's range; `psnr_db`: the peak
        signal-to-noise ratio over all values, with the range as peak (equal outputs count as 200 dB);
        `finite`; `batches`. Several outputs count as one: the worst of each figure.
    """
    inputs = (contract.sample(memory.samples_of(contract, batch), seed) for batch in batches)
    return figures(compare(file, module, contract, inputs))


def figures(found: Comparison) -> dict[str, Any]:
    """Return a comparison as `agreement` does."""
    finite = bool(found.errors)
    return {
        "max_difference": found.max_difference if finite else None,
        "psnr_db": round(found.psnr_db, 2) if finite else None,
        "finite": finite,
        "batches": found.batches,
    }


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
    each = {"psnr_db_at": {text: one["psnr_db"] for text, one in found.items()}}
    if not all(one["finite"] for one in found.values()):
        return {"finite": False, "max_difference": None, "psnr_db": None, **each}
    return {
        "finite": True,
        "max_difference": max(one["max_difference"] for one in found.values()),
        "psnr_db": min(one["psnr_db"] for one in found.values()),
        **each,
    }


def rounding(module: nn.Module, contract: Contract, *, batch: int = 8, seed: int = 0) -> float:
    """Return how far float32 takes `module` itself from float64, as a share of the output's range.

    0 where it does not run in float64.
    """
    samples = example(contract, memory.samples_of(contract, batch), seed)
    precise = precise_outputs(module, samples)
    if precise is None:
        return 0.0
    return max(
        float((rounded.double() - exact).abs().max()) / (spec.range[1] - spec.range[0])
        for rounded, exact, spec in zip(outputs(module, samples), precise, contract.outputs)
    )
