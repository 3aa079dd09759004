"""Random draws that depend on (seed, step) alone: the same on every device, process and resumed run."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from edgegan.errors import InputError
from edgegan.learning.augment import NUMBERS
from edgegan.learning.devices import to_device
from edgegan.reading import open_npz, refusing
from edgegan.runtime.contract import Contract, Input, Sample


class Stream(IntEnum):
    """What a draw is for; draws of different streams are independent."""

    TRAIN = 0
    DISCRIMINATOR = 1
    AUGMENT = 2
    CALIBRATE = 3
    HELD_OUT = 4
    TORCH = 5
    DATA = 6
    PENALTY = 7
    LABELLED = 8
    VARY = 9


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
    # By the first version of streams, so that students stay what they are: seeds of 63 random bits are never
    # in each other's way, as small ones were.
    arrays = replace(contract, streams=1).sample(n, seed)
    return tuple(to_device(torch.from_numpy(arrays[spec.name][part]), device) for spec in contract.inputs)


def with_targets(contract: Contract) -> Contract:
    """Return `contract` with more inputs: the outputs that stored inputs should give, where there are such.

    They are arrays of the outputs' names in the files of stored inputs, and drawn together with these.

    Raises:
        InputError: there are none, or a file cannot be read.
    """
    found = []
    for file, path in contract.stored.items():
        with (
            refusing(InputError, "the stored inputs cannot be read", where=str(path)),
            open_npz(path) as rows,
        ):
            found += [
                Input(spec.name, spec.shape, sample=Sample("stored", *spec.range, file=file))
                for spec in contract.outputs
                if spec.name in rows.entries
            ]
    if not found:
        names = ", ".join(spec.name for spec in contract.outputs)
        raise InputError(
            f"no file of stored inputs has targets: arrays named {names}",
            where=str(contract.folder),
            next="store them beside the inputs, or set the weight of `targets` to 0",
        )
    return replace(contract, inputs=(*contract.inputs, *found))


def augmentation(n: int, seed: int, part: slice = slice(None), numbers: int = NUMBERS) -> Tensor:
    """Draw what augments `n` images and return the rows of `part`: (rows, numbers) in [0, 1)."""
    return torch.from_numpy(np.random.default_rng(seed).random((n, numbers), dtype=np.float32)[part])


def rewind_noise() -> bool:
    """Let the noise that networks draw from here on be the one that they drew since the step began.

    Return whether they drew any on the GPU, as far as can be told: while a step is captured nothing is done.
    """
    cuda = torch.cuda.is_available()
    if cuda and torch.cuda.is_current_stream_capturing():
        return False
    drawn = cuda and torch.cuda.default_generators[torch.cuda.current_device()].get_offset() > 0
    torch.manual_seed(torch.initial_seed())
    return drawn
