"""Spectral and weight norm resolved into plain weights."""

from __future__ import annotations

from torch import nn

from edgegan.compress.parametrization import remove_parametrizations
from edgegan.compress.rewrite.change import Change
from edgegan.module_copy import copy_of


def without_parametrizations(module: nn.Module) -> tuple[nn.Module, list[Change]]:
    """Return a copy of `module` in eval mode whose parametrized weights are plain ones."""
    copied = copy_of(module).eval()
    return copied, [
        Change("without_parametrizations", each.layer, f"{each.tensor}: {each.kinds}")
        for each in remove_parametrizations(copied)
    ]
