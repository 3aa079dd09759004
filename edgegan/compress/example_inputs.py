"""A contract's inputs as torch tensors."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from edgegan.runtime.contract import Arrays, Contract

ROOM = 16 << 20
"""Bytes that the inputs and outputs of one pass may take; what lies between them takes some tens as much."""


def example(contract: Contract, n: int, seed: int) -> tuple[Tensor, ...]:
    """Return `contract.sample(n, seed)` as CPU tensors (n, *shape), in the order of `contract.inputs`."""
    return tensors(contract, contract.sample(n, seed))


def tensors(contract: Contract, arrays: Arrays) -> tuple[Tensor, ...]:
    """Return arrays by input as CPU tensors, in the order of `contract.inputs`."""
    return tuple(torch.from_numpy(arrays[spec.name]) for spec in contract.inputs)


def at_once(contract: Contract, most: int) -> int:
    """Return how many samples to run in one pass: `most`, or fewer where samples are large, at least 2."""
    each = sum(4 * prod(port.shape) for port in (*contract.inputs, *contract.outputs))
    return min(most, max(2, ROOM // max(1, each)))
