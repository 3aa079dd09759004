"""Copies of torch modules."""

from __future__ import annotations

import copy
import warnings

from torch import Tensor, nn


def copy_of(module: nn.Module) -> nn.Module:
    """Copy a module whose older hooks may hold computed weights, which `deepcopy` alone refuses."""
    computed = {
        id(value): value.detach().clone()
        for layer in module.modules()
        for value in vars(layer).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    with warnings.catch_warnings():
        # torch warns of its own class, as it copies the graphs that it exports.
        warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
        return copy.deepcopy(module, computed)
