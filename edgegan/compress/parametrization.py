"""Spectral norm, weight norm and other parametrizations, resolved into plain weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

from edgegan.module_copy import copy_of


@dataclass(frozen=True)
class Removed:
    """A tensor that was computed at each call, and is a plain one now."""

    layer: str
    tensor: str
    kinds: str


def parametrized(module: nn.Module) -> list[str]:
    """Return the names of the layers that `remove_parametrizations` would change."""
    return [
        name
        for name, layer in module.named_modules()
        if parametrize.is_parametrized(layer) or _norm_hooks(layer)
    ]


def plain_copy(module: nn.Module) -> nn.Module:
    """Return a deep copy in eval mode, without parametrizations; `module` itself is left as it is."""
    copied = copy_of(module).eval()
    remove_parametrizations(copied)
    return copied


def remove_parametrizations(module: nn.Module) -> list[Removed]:
    """Fix every spectral norm, weight norm or other parametrization at its present value, in place.

    Both forms are known: `torch.nn.utils.parametrizations`, and the older hooks of `torch.nn.utils`.
    """
    removed: list[Removed] = []
    for name, layer in module.named_modules():
        if parametrize.is_parametrized(layer):
            removed += _fix(name, layer)
        for hook in _norm_hooks(layer):
            remove = remove_spectral_norm if isinstance(hook, SpectralNorm) else remove_weight_norm
            remove(layer, hook.name)
            _forget_old_checkpoints(layer)
            removed.append(Removed(name, hook.name, type(hook).__name__))
    return removed


def _fix(name: str, layer: nn.Module) -> list[Removed]:
    """Do as `parametrize.remove_parametrizations`, without its change of the class, which copies share.

    What was a parameter stays one, also in a layer that is frozen.
    """
    chains = layer.parametrizations
    assert isinstance(chains, nn.ModuleDict)
    with torch.no_grad():
        values = {tensor: getattr(layer, tensor).detach().clone() for tensor in chains}
    del layer.parametrizations
    layer.__class__ = type(layer).__bases__[0]
    removed = []
    for tensor, chain in chains.items():
        learnt = [original.requires_grad for original in chain.parameters(recurse=False)]
        if learnt:
            layer.register_parameter(tensor, nn.Parameter(values[tensor], requires_grad=any(learnt)))
        else:
            layer.register_buffer(tensor, values[tensor])
        removed.append(
            Removed(name, tensor, ", ".join(type(s).__name__.strip("_") for s in chain.children()))
        )
    return removed


def _forget_old_checkpoints(layer: nn.Module) -> None:
    """Drop the hook that torch's `remove_spectral_norm` means to drop, and misses as it is wrapped by now."""
    hooks = layer._load_state_dict_pre_hooks
    for key, hook in list(hooks.items()):
        if isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook):
            del hooks[key]


def _norm_hooks(layer: nn.Module) -> list[SpectralNorm | WeightNorm]:
    return [
        hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, (SpectralNorm, WeightNorm))
    ]
