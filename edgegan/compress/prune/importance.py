"""How much each channel of a group matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from edgegan.compress.example_inputs import example
from edgegan.compress.prune.graph import BARE, Group, Slot, axes, held
from edgegan.runtime.contract import Contract

Kind = Literal["magnitude", "taylor", "bn_scale", "random"]
Scores = NDArray[np.float64]
TAYLOR_SAMPLES = 16


def scores(
    kind: Kind, norm: int, module: nn.Module, contract: Contract, groups: Sequence[Group], seed: int
) -> list[Scores]:
    """Score the channels of each group: higher stays longer. The mean within a group is 1.

    - `magnitude`: the L1 or L2 norm (`norm`) of all weights in the channel (Li et al. 2017, arXiv:1608.08710,
      over whole groups as in Fang et al. 2023, arXiv:2301.12900).
    - `taylor`: sum of |weight * gradient| (Molchanov et al. 2019, arXiv:1906.10771), where the loss is the
      mean squared output on 16 of the contract's own samples: without data or a target, this says how much
      of the output's energy hangs on the channel.
    - `bn_scale`: mean |gain| of the group's affine norms (Liu et al. 2017, arXiv:1708.06519); a group without
      one is ranked by magnitude.
    - `random`: uniform in [0, 1), the control.
    """
    if kind == "random":
        raw = [
            np.random.default_rng([seed, index]).random(group.channels) for index, group in enumerate(groups)
        ]
    elif kind == "taylor":
        gradients = _gradients(module, contract, seed)
        raw = [_sum(module, group, lambda key, weight: (weight * gradients[key]).abs()) for group in groups]
    else:
        raw = [_magnitude(module, group, norm) for group in groups]
        if kind == "bn_scale":
            raw = [_gains(module, group, other) for group, other in zip(groups, raw)]
    return [one / one.mean() if one.mean() > 0 else np.ones_like(one) for one in raw]


def _magnitude(module: nn.Module, group: Group, norm: int) -> Scores:
    return _sum(module, group, lambda _, weight: weight.abs() ** norm) ** (1 / norm)


def _gains(module: nn.Module, group: Group, otherwise: Scores) -> Scores:
    layers = dict(module.named_modules())
    norms = [(slot, layers[slot.layer]) for slot in group.slots]
    gains = [
        _per_channel(layer.weight.detach().double().abs(), 0, slot)
        for slot, layer in norms
        if isinstance(layer, _NormBase) and layer.affine
    ]
    return np.mean(gains, axis=0) if gains else otherwise


def _sum(module: nn.Module, group: Group, term: Callable[[str, Tensor], Tensor]) -> Scores:
    """Sum `term` of each weight (not bias) over every layer of the group."""
    layers = dict(module.named_modules())
    total = np.zeros(group.channels)
    for slot in group.slots:
        for name, axis in axes(layers[slot.layer], slot.side) or []:
            weight = held(layers[slot.layer], name)
            if _is_weight(name, weight, slot):
                key = f"{slot.layer}.{name}" if slot.layer else name
                total += _per_channel(term(key, weight.detach().double()), axis, slot)
    return total


def _is_weight(name: str, value: object, slot: Slot) -> bool:
    """Whether it is a layer's weight, or what a module of the network's own computes one from."""
    if not isinstance(value, nn.Parameter):
        return False
    return name == "weight" or (slot.side.startswith(BARE) and sum(size > 1 for size in value.shape) > 1)


def _per_channel(values: Tensor, axis: int, slot: Slot) -> Scores:
    others = [dim for dim in range(values.ndim) if dim != axis]
    line = (values.sum(others) if others else values).numpy()
    return np.array([line[list(places)].sum() for places in slot.positions])


def _gradients(module: nn.Module, contract: Contract, seed: int) -> Mapping[str, Tensor]:
    weights = {key: weight for key, weight in module.named_parameters() if weight.is_floating_point()}
    with torch.enable_grad():
        for weight in weights.values():
            weight.requires_grad_(True)
        outputs = module(*example(contract, TAYLOR_SAMPLES, seed))
        loss = sum(
            out.square().mean() for out in (outputs if isinstance(outputs, (tuple, list)) else [outputs])
        )
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)  # pyright: ignore
    return {
        key: torch.zeros_like(weight) if gradient is None else gradient.double()
        for (key, weight), gradient in zip(weights.items(), found)
    }
