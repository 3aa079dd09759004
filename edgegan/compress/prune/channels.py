"""Which channels belong together, found by following them through every operator of a run.

Dependencies as in DepGraph (Fang et al. 2023, arXiv:2301.12900), but of each axis of each tensor and not of
layers: so weights that a style scales (Karras et al. 2020, arXiv:1912.04958), recurrent layers, views, and
parameters of norms that a network computes are followed as well.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNBase, RNNCellBase

from edgegan.compress.example_inputs import example
from edgegan.compress.prune.couplings import Classes, Couplings, Labels, stay
from edgegan.compress.prune.graph import BARE, Group, Side, Slot, axes, is_over_all, width
from edgegan.compress.prune.operator_couplings import RULES, tie_groups
from edgegan.compress.prune.tracker import Tracker
from edgegan.compress.sandbox import limited
from edgegan.compress.structure import is_own
from edgegan.module_copy import copy_of
from edgegan.runtime.contract import Contract

SECONDS, GIBIBYTES = 120.0, 4.0
OUTPUT = "its channels are the model's output"
"""Why an output layer stays whole: as it should be."""
GIVEN = "its channels meet those of the model's input"
ONE = "it has one channel"
TIED = "its channels are all tied to each other"
UNREAD = "nothing reads its channels"

Place = tuple[str, Side]
"""A layer and one of its sides."""
Unit = dict[Place, list[int]]
"""Positions that are lost together."""


@dataclass(frozen=True)
class Found:
    """Groups of channels, in the order of the model's layers and in two readings, and why layers stay whole.

    The readings differ where a view leaves open which of its axes are channels: the longest, or the shortest,
    as where attention loses features of every head, or heads.
    """

    readings: tuple[tuple[Group, ...], ...]
    behind_norms: tuple[Group, ...]
    """Those, and in their place the ones that norms over all channels keep whole in the readings."""
    whole: dict[str, str]


def find_groups(module: nn.Module, contract: Contract) -> Found:
    """Run `module`, which must hold no parametrizations, on a sample of the contract.

    Raises:
        ModelError: it does not run, or not within two minutes and 4 GiB.
    """
    found = limited(
        lambda: _find(module, contract),
        "the model's dependency graph cannot be built",
        seconds=SECONDS,
        gibibytes=GIBIBYTES,
    )
    layers = dict(module.named_modules())
    readings = [
        tuple(_group(layers, slots) for slots in reading)
        for reading in (*found["readings"], found["behind_norms"])
    ]
    return Found(tuple(readings[:-1]), readings[-1], found["whole"])


def _find(module: nn.Module, contract: Contract) -> dict[str, Any]:
    classes, places = _follow(copy_of(module), contract, through_norms=False)
    found = {
        "readings": [list(_groups(reading, places)) for reading in classes],
        "whole": dict(_whole(classes[0], places, dict(module.named_modules()))),
        "behind_norms": [],
    }
    if any(map(is_over_all, module.modules())):
        classes, places = _follow(copy_of(module), contract, through_norms=True)
        found["behind_norms"] = list(_groups(classes[0], places))
    return found


def _follow(
    module: nn.Module, contract: Contract, *, through_norms: bool
) -> tuple[list[Classes], dict[Place, Labels]]:
    tracker = Tracker(Couplings(), RULES, through_norms=through_norms)
    module.requires_grad_(False)
    inputs = example(contract, 1, 0)
    for tensor in inputs:
        _label_input(tracker, tensor)
    layers = dict(module.named_modules())
    places: dict[Place, Labels] = {}
    for name, layer in layers.items():
        _register(tracker, places, name, layer)
    with ExitStack() as stack:
        for name, layer in layers.items():
            _watch(tracker, stack, places, name, layer)
        _use_plain_kernels(stack, layers)
        stack.enter_context(torch.no_grad())
        stack.enter_context(tracker)
        outputs = module(*inputs)
    for output in outputs if isinstance(outputs, (tuple, list)) else [outputs]:
        tracker.keep(tracker.axes(output), OUTPUT)
    return [tracker.couplings.classes(prefer) for prefer in (len, lambda labels: -len(labels))], places


def _label_input(tracker: Tracker, tensor: Tensor) -> None:
    """Label an input, whose channels stay: the second axis of pictures and sounds, the last of rows."""
    channels = {1} if tensor.ndim > 3 else {1, tensor.ndim - 1}
    axes = [
        tracker.couplings.new(size) if axis in channels else stay(size)
        for axis, size in enumerate(tensor.shape)
    ]
    tracker.label(tensor, axes)
    tracker.keep(axes, GIVEN)


def _use_plain_kernels(stack: ExitStack, layers: Mapping[str, nn.Module]) -> None:
    """Turn off kernels that do the work of many operators in one."""
    fast = torch.backends.mha.get_fastpath_enabled()
    stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
    torch.backends.mha.set_fastpath_enabled(False)
    if any(isinstance(layer, RNNBase) for layer in layers.values()):
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))


def _register(tracker: Tracker, places: dict[Place, Labels], name: str, layer: nn.Module) -> None:
    """Label a layer's tensors, and note the side of the layer that each axis is; axes of none stay."""
    alike: dict[str, Labels] = {}
    for key, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if tensor.ndim == 0:
            continue
        for axis, labels in enumerate(tracker.axes(tensor)):
            side = _side(layer, key, axis)
            if side is None:
                tracker.keep([labels], f"{type(layer).__name__} {name!r} needs all of its channels")
            elif (name, side) in places:
                tracker.couplings.tie(places[name, side], labels)
            else:
                places[name, side] = labels
            if isinstance(layer, RNNBase) and key.startswith(("weight_hh", "weight_hr")) and axis == 1:
                # all layers and directions have one hidden size, and one that they project to
                tracker.couplings.tie(alike.setdefault(key[: len("weight_hh")], labels), labels)
    if len(alike) > 1:  # torch tells projections by another size than the hidden one: they shrink together
        tie_groups(tracker, gcd(*map(len, alike.values())), *alike.values())


def _side(layer: nn.Module, key: str, axis: int) -> Side | None:
    """Return which side of `layer` an axis of its tensor `key` is; None where it cannot lose positions."""
    if isinstance(layer, (RNNBase, RNNCellBase)):
        return f"{BARE}:{key}:{axis}"
    if is_own(layer):
        return None if key in layer._non_persistent_buffers_set else f"{BARE}:{key}:{axis}"
    return next((side for side in ("outputs", "inputs") if (key, axis) in (axes(layer, side) or [])), None)


def _watch(
    tracker: Tracker, stack: ExitStack, places: dict[Place, Labels], name: str, layer: nn.Module
) -> None:
    """Tell the tracker which layer runs; a norm without tensors of its own follows what it is given."""

    def enter(*_: object) -> None:
        tracker.layers.append(name)

    def leave(_: nn.Module, args: object, output: Any) -> None:
        tracker.layers.pop()
        if (size := _bare_width(layer)) is not None:
            labels = places.setdefault((name, "outputs"), tracker.couplings.new(size))
            tracker.couplings.tie(labels, tracker.axes(output)[1])

    stack.callback(layer.register_forward_pre_hook(enter).remove)
    stack.callback(layer.register_forward_hook(leave).remove)


def _bare_width(layer: nn.Module) -> int | None:
    bare = isinstance(layer, (_NormBase, nn.GroupNorm)) and not layer.state_dict()
    return width(layer, "outputs") if bare else None


def _groups(
    classes: Classes, places: Mapping[Place, Labels]
) -> Iterator[list[tuple[str, Side, list[list[int]]]]]:
    """Yield, for each set of classes that lie in the same places, these places and the positions of each."""
    alike: dict[tuple[Any, ...], list[Unit]] = defaultdict(list)
    for unit in _units(classes, places).values():
        alike[_signature(unit)].append(unit)
    for signature, members in alike.items():
        if len(signature) > 1 and len(members) > 1:
            yield [(*place, [unit[place] for unit in members]) for place, _ in signature]


def _units(classes: Classes, places: Mapping[Place, Labels]) -> dict[int, Unit]:
    units: dict[int, Unit] = defaultdict(lambda: defaultdict(list))
    for place, labels in places.items():
        for position, one in classes.units(labels):
            units[one][place].append(position)
    return units


def _signature(unit: Unit) -> tuple[tuple[Place, int], ...]:
    return tuple((place, len(found)) for place, found in unit.items())


def _whole(
    classes: Classes, places: Mapping[Place, Labels], layers: Mapping[str, nn.Module]
) -> Iterator[tuple[str, str]]:
    """Yield the layers of which no output channel is in a group, and why."""
    units = _units(classes, places)
    alike: dict[tuple[Any, ...], int] = defaultdict(int)
    for unit in units.values():
        alike[_signature(unit)] += 1
    for name, layer in layers.items():
        if isinstance(layer, (_ConvNd, nn.Linear)) and (labels := places.get((name, "outputs"))) is not None:
            signatures = [_signature(units[one]) for _, one in classes.units(labels)]
            if len(labels) == 1:
                yield name, ONE
            elif not signatures:
                yield name, classes.reason(labels)
            elif all(len(one) < 2 for one in signatures):
                yield name, UNREAD
            elif all(alike[one] < 2 for one in signatures):
                yield name, TIED


def _group(layers: Mapping[str, nn.Module], found: list[tuple[str, Side, list[list[int]]]]) -> Group:
    slots = tuple(
        Slot(layer, side, tuple(tuple(one) for one in positions)) for layer, side, positions in found
    )

    def rank(slot: Slot) -> tuple[bool, bool, bool]:
        held = sum(map(len, slot.positions))
        return slot.side == "outputs", slot.side != "inputs", held == width(layers[slot.layer], slot.side)

    root = max(slots, key=rank)
    tensor = [] if root.side == "outputs" else root.side.split(":")[1:2]
    return Group(".".join([*filter(None, [root.layer]), *tensor]), len(root.positions), slots)
