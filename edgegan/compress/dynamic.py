"""A contract's free axes, as `torch.export` has them."""

from __future__ import annotations

from typing import Any

import torch

from edgegan.runtime.contract import Contract


def dynamic_shapes(contract: Contract) -> tuple[dict[int, Any], ...]:
    """Return, for each input, its free axes: the batch, and those of free sizes, in multiples."""
    batch = torch.export.Dim("batch")
    steps = {
        size.name: torch.export.Dim(f"{size.name}_steps" if size.multiple > 1 else size.name)
        for size in contract.sizes
    }
    multiples = {size.name: size.multiple for size in contract.sizes}
    shapes: list[dict[int, Any]] = []
    for spec in contract.inputs:
        free: dict[int, Any] = {0: batch}
        for place, axis in enumerate(spec.axes, 1):
            if axis:
                times = axis.times * multiples[axis.size] // axis.over
                length = steps[axis.size] if times == 1 else times * steps[axis.size]
                free[place] = length + axis.plus if axis.plus else length
        shapes.append(free)
    return tuple(shapes)
