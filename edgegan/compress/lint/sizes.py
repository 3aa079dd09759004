"""Findings on free sizes: what the model does at others than the nominal ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgegan.compress.example_inputs import example
from edgegan.compress.free_axes import trials, written
from edgegan.compress.lint.finding import Finding
from edgegan.runtime.contract import Contract


def of_sizes(module: nn.Module, contract: Contract) -> Iterator[Finding]:
    """Find sizes within the contract's bounds at which the model fails, or gives other sizes than it says."""
    for sizes in trials(contract):
        at = contract.at(sizes)
        text = written(sizes)
        try:
            with torch.no_grad():
                result = module(*example(at, 1, 0))
        except Exception as error:
            lines = str(error).strip().splitlines()
            yield Finding(
                "error",
                "",
                f"the model does not run at {text}",
                f"{type(error).__name__}: {lines[0] if lines else ''}",
                "correct the contract's `sizes`: a larger `min`, or the `multiple` that the model takes",
            )
            return
        outputs = [result] if isinstance(result, Tensor) else list(result)
        for spec, output in zip(at.outputs, outputs):
            if tuple(output.shape[1:]) == spec.shape:
                continue
            yield Finding(
                "error",
                "",
                f"output {spec.name!r} has another size than the contract says",
                f"at {text} it is {tuple(output.shape[1:])}; the contract says {spec.shape}",
                "correct the output's shape, as in [3, 4*H, 4*W]; or the `multiple` that the model takes",
            )
            return
