"""Spectral and weight norm resolved into plain weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from edgegan.compress.rewrite.change import Change
from edgegan.module_copy import copy_of


def without_parametrizations(module: nn.Module) -> tuple[nn.Module, list[Change]]:
    """Return a copy of `module` in eval mode whose parametrized weights are plain ones.

    Both forms are known: `torch.nn.utils.parametrizations`, and the older hooks of `torch.nn.utils`.
    """
    copied = copy_of(module).eval()
    changes = []
    for name, layer in copied.named_modules():
        if parametrize.is_parametrized(layer):
            changes += _remove_parametrizations(name, layer)
        for hook in list(layer._forward_pre_hooks.values()):
            if isinstance(hook, SpectralNorm):
                remove_spectral_norm(layer, hook.name)
            elif isinstance(hook, WeightNorm):
                remove_weight_norm(layer, hook.name)
            else:
                continue
            changes.append(Change("without_parametrizations", name, f"{hook.name}: {type(hook).__name__}"))
    return copied, changes


def _remove_parametrizations(name: str, layer: nn.Module) -> list[Change]:
    """Do as `parametrize.remove_parametrizations`, without its change of the class, which copies share."""
    parametrizations = layer.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    with torch.no_grad():
        values = {tensor: getattr(layer, tensor).detach().clone() for tensor in parametrizations}
    del layer.parametrizations
    layer.__class__ = type(layer).__bases__[0]
    changes = []
    for tensor, chain in parametrizations.items():
        if any(True for _ in chain.parameters(recurse=False)):
            layer.register_parameter(tensor, nn.Parameter(values[tensor]))
        else:
            layer.register_buffer(tensor, values[tensor])
        kinds = ", ".join(type(step).__name__.strip("_") for step in chain.children())
        changes.append(Change("without_parametrizations", name, f"{tensor}: {kinds}"))
    return changes
