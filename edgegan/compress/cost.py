"""What a model costs: parameters, and multiply-accumulates of one sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from edgegan.compress.example_inputs import example
from edgegan.module_copy import copy_of
from edgegan.runtime.contract import Contract

Size = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """`params`: learnable numbers, each counted once; `macs`: multiply-accumulates of one sample."""

    params: int
    macs: int


def count(module: nn.Module, contract: Contract) -> Cost:
    """Count parameters, and the multiply-accumulates of one sample, by running it once.

    Convolutions, transposed convolutions (input positions times kernel, what is cropped included), linear
    layers, matrix products and attention are counted wherever they are called, also outside of layers.
    Element-wise work, norms and rearrangements (PixelShuffle, Upsample) count nothing.
    """
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={attention: _attention_flops})
    frozen = copy_of(module).requires_grad_(False)
    with torch.no_grad(), _plain_attention(), counter:
        frozen(*example(contract, 1, 0))
    return Cost(sum(parameter.numel() for parameter in module.parameters()), counter.get_total_flops() // 2)


def _attention_flops(query: Size, key: Size, value: Size, *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Turn off the fused transformer layers, whose work the counter cannot see."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
