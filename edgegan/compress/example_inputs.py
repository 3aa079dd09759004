"""A contract's inputs as torch tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from edgegan.runtime.contract import Arrays, Contract


def example(contract: Contract, n: int, seed: int) -> tuple[Tensor, ...]:
    """Return `contract.sample(n, seed)` as CPU tensors (n, *shape), in the order of `contract.inputs`."""
    return tensors(contract, contract.sample(n, seed))


def tensors(contract: Contract, arrays: Arrays) -> tuple[Tensor, ...]:
    """Return arrays by input as CPU tensors, in the order of `contract.inputs`."""
    return tuple(torch.from_numpy(arrays[spec.name]) for spec in contract.inputs)
