"""Outputs in float64, so that a proof tells a wrong result from rounding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from edgegan.compress.strips import convolve
from edgegan.module_copy import copy_of


def precise_outputs(module: nn.Module, samples: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """Run a copy of `module` in float64 throughout, whatever types its forward names.

    None where it does not run so, as where bits are reinterpreted.
    """
    wide = copy_of(module).double()
    try:
        with torch.no_grad(), _Widened():
            result = wide(*(_widen(sample) for sample in samples))
    except Exception:
        return None
    outputs = (result,) if isinstance(result, Tensor) else tuple(result)
    return tuple(output.double() for output in outputs)


class _Widened(TorchDispatchMode):
    """Makes every number of an operation float64: its tensors, the types that it is asked for, its result."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map(_widen, (args, kwargs or {}))
        if func is torch.ops.aten.convolution.default and not args[6]:
            return convolve(*args[:6], groups=args[8])
        return tree_map(_widen, func(*args, **kwargs))


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.double()
    return torch.float64 if isinstance(value, torch.dtype) and value.is_floating_point else value
