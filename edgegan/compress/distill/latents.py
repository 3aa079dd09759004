"""Random draws that depend on (seed, step) alone: the same on every device, process and resumed run."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from edgegan.runtime.contract import Contract


class Stream(IntEnum):
    """What a draw is for; draws of different streams are independent."""

    TRAIN = 0
    DISCRIMINATOR = 1
    AUGMENT = 2
    CALIBRATE = 3
    HELD_OUT = 4
    TORCH = 5


def derive(seed: int, stream: Stream, step: int) -> int:
    """Return the seed in 0..2**63-1 of draw number `step` of `stream`."""
    return int(np.random.SeedSequence([seed, stream, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def draw(
    contract: Contract,
    n: int,
    seed: int,
    *,
    part: slice = slice(None),
    device: torch.device | str = "cpu",
) -> tuple[Tensor, ...]:
    """Draw `n` inputs from `seed` and return the rows of `part`, in the contract's order, on `device`."""
    # Seeds of 63 random bits were never in each other's way, so students stay what they are.
    arrays = replace(contract, streams=1).sample(n, seed)
    return tuple(to_device(torch.from_numpy(arrays[spec.name][part]), device) for spec in contract.inputs)


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Move a CPU tensor to `device`, without waiting where that is a CUDA device."""
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
