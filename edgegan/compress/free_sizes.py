"""What a contract says of free sizes, proved at several of them: odd, oblong, the smallest."""

from __future__ import annotations

from typing import Any

from torch import nn

from edgegan.compress.agreement import agreement
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract
from edgegan.runtime.sizes import Size

FEWER, MORE = 0.7, 1.3
"""Trials are of so many times the nominal size, one way round and the other."""


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


def written(sizes: dict[str, int]) -> str:
    """Return sizes as people read them: "H = 37, W = 53"."""
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())


def _near(size: Size, share: float) -> int:
    """Return about `share` of a size: an odd multiple, within its bounds."""
    steps = int(size.nominal * share) // size.multiple | 1
    least, most = -(-size.min // size.multiple), size.max // size.multiple
    return min(max(steps, least), most) * size.multiple
