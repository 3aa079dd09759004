"""Which channels belong together, as plain data: groups, and the tensors of each layer that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgegan.compress.structure import own_numbers

BARE = "parameter"

Side = str
"""Of a layer: "inputs" or "outputs"; of what a module of the network's own holds: "parameter:NAME:AXIS"."""
Axis = tuple[str, int]


@dataclass(frozen=True)
class Slot:
    """One side of one layer: for each of the group's channels, its positions there."""

    layer: str
    side: Side
    positions: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Group:
    """Channels that must go or stay together in all `slots`; `root` names what makes them."""

    root: str
    channels: int
    slots: tuple[Slot, ...]

    @property
    def span(self) -> int:
        """How many channels of a layer go with each: more than one where groups are lost."""
        return max(1, min(min(map(len, slot.positions)) for slot in self.slots))

    def aligned(self, align: int) -> int:
        """Return of how many of the group's channels its layers lose multiples of `align`."""
        return -(-align // self.span)


@dataclass(frozen=True)
class Groups:
    """The groups that can be pruned, in the order of the model's layers, and why other layers stay whole.

    Those `behind_norms` can be pruned too, where norms over all channels are taken over those that stay.
    """

    prunable: tuple[Group, ...]
    behind_norms: tuple[Group, ...]
    whole: dict[str, str]


def is_over_all(layer: nn.Module) -> bool:
    """Whether it is a norm over all channels, which changes with each that is lost."""
    return isinstance(layer, nn.LayerNorm) or (isinstance(layer, nn.GroupNorm) and layer.num_groups == 1)


def axes(layer: nn.Module, side: Side) -> list[Axis] | None:
    """Return the tensors of `layer` and their axis that run over the channels of `side`.

    A bare parameter is the one that `side` names. A norm without tensors has the pseudo-tensor `num_features`
    or `num_channels`. None: this kind cannot lose channels. Of a grouped convolution one side has them all,
    since it loses groups.
    """
    if side.startswith(BARE):
        _, name, axis = side.split(":")
        return [(name, int(axis))]
    if isinstance(layer, _ConvNd):
        return _convolution_axes(layer, side)
    if isinstance(layer, nn.Linear):
        return [("weight", 1)] if side == "inputs" else [("weight", 0), *_present(layer, "bias")]
    if isinstance(layer, nn.Embedding):
        return [("weight", 1)]
    if isinstance(layer, _NormBase):
        return _present(layer, "weight", "bias", "running_mean", "running_var") or [("num_features", 0)]
    if isinstance(layer, nn.GroupNorm):
        return _present(layer, "weight", "bias") or [("num_channels", 0)]
    if isinstance(layer, nn.LayerNorm):
        return _present(layer, "weight", "bias")
    if isinstance(layer, nn.PReLU):
        return [("weight", 0)] if layer.num_parameters > 1 else []
    return None


def held(layer: nn.Module, name: str) -> Any:
    """Return a tensor or number of `axes`."""
    own = own_numbers(layer)
    return own[name] if name in own else getattr(layer, name)


def width(layer: nn.Module, side: Side) -> int | None:
    """Return how many channels `layer` has on `side`; None where it holds nothing that runs over them."""
    for name, axis in axes(layer, side) or []:
        value = held(layer, name)
        return value.shape[axis] if isinstance(value, Tensor) else value
    return None


def _convolution_axes(layer: _ConvNd, side: Side) -> list[Axis] | None:
    if layer.groups > 1:
        first: Side = "inputs" if isinstance(layer, _ConvTransposeNd) else "outputs"
        depthwise = layer.groups == layer.in_channels == layer.out_channels
        rows: list[Axis] = [("weight", 0)] if depthwise or side == first else []
        return [*rows, *(_present(layer, "bias") if depthwise or side == "outputs" else [])]
    outputs = 1 if isinstance(layer, _ConvTransposeNd) else 0
    return [("weight", 1 - outputs)] if side == "inputs" else [("weight", outputs), *_present(layer, "bias")]


def _present(layer: nn.Module, *names: str) -> list[Axis]:
    return [(name, 0) for name in names if getattr(layer, name, None) is not None]
