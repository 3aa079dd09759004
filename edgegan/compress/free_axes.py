"""A contract's free sizes on the host: as `torch.export` has their axes, and which of them to try."""

from __future__ import annotations

from typing import Any

import torch

from edgegan.runtime.contract import Contract
from edgegan.runtime.sizes import Size

FEWER, MORE = 0.7, 1.3
"""Trials are of so many times the nominal size, one way round and the other."""


def dynamic_shapes(contract: Contract) -> tuple[dict[int, Any], ...]:
    """Return, for each input, its free axes: the batch, and those of free sizes, in multiples."""
    batch = torch.export.Dim("batch")
    steps = {size.name: _steps(size) for size in contract.sizes}
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


def _steps(size: Size) -> Any:
    name = f"{size.name}_steps" if size.multiple > 1 else size.name
    least, most = -(-size.min // size.multiple), size.max // size.multiple
    return torch.export.Dim(name, min=max(2, least), max=max(3, most))


def traceable(contract: Contract) -> Contract:
    """Return the contract at sizes of two multiples at least: `torch.export` takes one for fixed."""
    return contract.at({size.name: max(size.nominal, 2 * size.multiple) for size in contract.sizes})


def trials(contract: Contract, *, smallest: bool = True) -> list[dict[str, int]]:
    """Return the sizes to try beside the nominal ones: the smallest, and oblong ones of odd multiples."""
    if not contract.sizes:
        return []
    few, many = ({size.name: _near(size, share) for size in contract.sizes} for share in (FEWER, MORE))
    least = {size.name: size.padded(size.min) for size in contract.sizes}
    turns = [
        {name: (few, many)[(place + turn) % 2][name] for place, name in enumerate(few)} for turn in (0, 1)
    ]
    found = [*([least] if smallest else []), *turns]
    return [
        sizes for place, sizes in enumerate(found) if sizes != contract.nominal and sizes not in found[:place]
    ]


def written(sizes: dict[str, int]) -> str:
    """Return sizes as people read them: "H = 37, W = 53"."""
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())


def _near(size: Size, share: float) -> int:
    """Return about `share` of a size: an odd multiple, within its bounds."""
    steps = int(size.nominal * share) // size.multiple | 1
    least, most = -(-size.min // size.multiple), size.max // size.multiple
    return min(max(steps, least), most) * size.multiple
