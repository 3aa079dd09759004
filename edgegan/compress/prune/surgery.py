"""Take channels out of a copy of a model, or set them to zero in a copy that keeps its widths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from edgegan.compress.parametrization import plain_copy
from edgegan.compress.plain_layers import replace_layer
from edgegan.compress.prune.graph import Group, Side, axes, is_over_all, width
from edgegan.compress.structure import resize, shapes

Kept = dict[str, dict[Side, list[int]]]
"""Layer name to side to the positions that stay, in rising order."""


def kept_positions(module: nn.Module, groups: Sequence[Group], kept: Sequence[Sequence[int]]) -> Kept:
    """Return what stays of each layer when group i keeps the channels `kept[i]`."""
    layers = dict(module.named_modules())
    gone: dict[tuple[str, Side], set[int]] = defaultdict(set)
    for group, stay in zip(groups, kept, strict=True):
        lost = sorted(set(range(group.channels)) - set(stay))
        for slot in group.slots:
            gone[slot.layer, slot.side].update(place for channel in lost for place in slot.positions[channel])
    result: Kept = {}
    for (layer, side), places in gone.items():
        size = width(layers[layer], side)
        if places and size is not None:
            result.setdefault(layer, {})[side] = [place for place in range(size) if place not in places]
    return result


def pruned_shapes(module: nn.Module, kept: Kept) -> dict[str, list[int]]:
    """Return the shapes that `module` has after `cut(module, kept)`."""
    result = {key: list(shape) for key, shape in shapes(module).items()}
    for key, by_axis in _by_tensor(module, kept).items():
        for axis, places in by_axis.items():
            result[key][axis] = len(places)
    return result


def cut(module: nn.Module, kept: Kept) -> nn.Module:
    """Return a copy of `module` that holds only what `kept` names."""
    tensors = dict(module.state_dict())
    for key, by_axis in _by_tensor(module, kept).items():
        for axis, places in by_axis.items():
            if key in tensors:
                tensors[key] = tensors[key].index_select(axis, torch.tensor(places, dtype=torch.long))
    result = plain_copy(module)
    resize(result, pruned_shapes(module, kept))
    result.load_state_dict(tensors)
    return result


def mask(module: nn.Module, kept: Kept) -> nn.Module:
    """Return a copy of `module` with its widths, and zeros wherever `kept` does not name a channel.

    Zero are: the weights and biases that make the channel, the gain, bias and running mean of norms, the
    features of embeddings, and the weights that read the channel. Norms over all channels are taken over
    those that stay.
    """
    tensors = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    for key, by_axis in _by_tensor(module, kept).items():
        for axis, places in by_axis.items():
            if key in tensors and not key.endswith("running_var"):
                lost = sorted(set(range(tensors[key].shape[axis])) - set(places))
                tensors[key].index_fill_(axis, torch.tensor(lost, dtype=torch.long), 0)
    result = plain_copy(module)
    result.load_state_dict(tensors)
    over_all = [name for name in kept if is_over_all(module.get_submodule(name))]
    narrow = cut(module, kept) if over_all else module
    for name in over_all:
        norm = _NormOfKept(narrow.get_submodule(name), kept[name]["outputs"])
        replace_layer(result, result.get_submodule(name), norm)
    return result


class _NormOfKept(nn.Module):
    """A norm over some channels of what it is given, and zero in the others."""

    def __init__(self, norm: nn.Module, kept: list[int]) -> None:
        super().__init__()
        self.norm, self.kept = norm, torch.tensor(kept)
        self.axis = -len(norm.normalized_shape) if isinstance(norm, nn.LayerNorm) else 1

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x.index_select(self.axis, self.kept))
        return torch.zeros_like(x).index_copy(self.axis, self.kept, normed)


def _by_tensor(module: nn.Module, kept: Kept) -> Mapping[str, dict[int, list[int]]]:
    """Turn layers and sides into state-dict keys and axes; a tensor known by two names has both."""
    layers = dict(module.named_modules(remove_duplicate=False))
    names: dict[int, list[str]] = defaultdict(list)
    for name, layer in layers.items():
        names[id(layer)].append(name)
    result: dict[str, dict[int, list[int]]] = defaultdict(dict)
    for layer, sides in kept.items():
        for side, places in sides.items():
            for tensor, axis in axes(layers[layer], side) or []:
                for name in names[id(layers[layer])]:
                    result[f"{name}.{tensor}" if name else tensor][axis] = places
    return result
