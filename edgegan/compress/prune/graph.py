"""Which channels belong together: torch-pruning's dependency graph, as plain data.

DepGraph, Fang et al. 2023 (arXiv:2301.12900). The graph is built in a child process under limits of time and
memory, since some models make the tracer hang.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.overrides import TorchFunctionMode
from torch_pruning.dependency.index_mapping import _FlattenIndexMapping
from torch_pruning.ops import OPTYPE

from edgegan.compress.example_inputs import example
from edgegan.compress.prune.ties import joined
from edgegan.compress.prune.tolerant import Lost, each_node_alone
from edgegan.compress.sandbox import limited, time_limit
from edgegan.runtime.contract import Contract

SECONDS = 120.0
GIBIBYTES = 4.0
LAYER_SECONDS = 4.0
"""For one layer; where its channels multiply on their way, as in computed weights, it stays whole."""

OUTPUT = "its channels are the model's output"
"""Why an output layer stays whole: as it should be."""

BARE = "parameter"

Side = str
"""Of a layer: "inputs" or "outputs"; of a parameter that a module holds itself: "parameter:NAME:AXIS"."""
Axis = tuple[str, int]


@dataclass(frozen=True)
class Slot:
    """One side of one layer: for each of the group's channels, its positions there."""

    layer: str
    side: Side
    positions: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Group:
    """Channels that must go or stay together in all `slots`; `root` is the layer that makes them."""

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
    """The prunable groups, in the order of the model's layers, and why each other layer stays whole."""

    prunable: tuple[Group, ...]
    whole: dict[str, str]


def find_groups(module: nn.Module, contract: Contract) -> Groups:
    """Trace `module`, which must hold no parametrizations.

    Raises:
        ModelError: it cannot be traced, or not within two minutes and 4 GiB.
    """
    found = limited(
        lambda: _trace(module, contract),
        "the model's dependency graph cannot be built",
        seconds=SECONDS,
        gibibytes=GIBIBYTES,
    )
    layers = dict(module.named_modules())
    order = {name: index for index, name in enumerate(layers)}
    prunable: list[Group] = []
    whole: dict[str, str] = {}
    claimed: set[tuple[str, Side, int]] = set()
    for entry in joined(sorted(found, key=lambda entry: order[entry["root"]]), layers):
        group = _to_group(entry, layers)
        if isinstance(group, str):
            whole[entry["root"]] = group
            continue
        places: set[tuple[str, Side, int]] = {
            (slot.layer, slot.side, place) for slot in group.slots for one in slot.positions for place in one
        }
        if places & claimed:
            whole[group.root] = "its channels belong to another group as well"
            continue
        claimed |= places
        prunable.append(group)
    return Groups(tuple(prunable), whole)


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
    if isinstance(layer, nn.PReLU):
        return [("weight", 0)] if layer.num_parameters > 1 else []
    return None


def width(layer: nn.Module, side: Side) -> int | None:
    """Return how many channels `layer` has on `side`; None where it holds nothing that runs over them."""
    for name, axis in axes(layer, side) or []:
        value = getattr(layer, name)
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


def _trace(module: nn.Module, contract: Contract) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    started = time.process_time()
    with torch.enable_grad(), each_node_alone() as lost:
        module.requires_grad_(True)
        graph = _Graph().build_dependency(module, example(contract, 1, 0), forward_fn=_forward, verbose=False)
        _map_pixel_shuffles(graph)
        names = {layer: name for name, layer in module.named_modules()}
        roots = (_ConvNd, nn.Linear)
        visited: set[nn.Module] = set()
        for layer in [layer for layer in graph.module2node if isinstance(layer, roots)]:
            if layer in visited:
                continue
            visited.add(layer)
            left = max(0.1, started + SECONDS / 8 - time.process_time())
            entries.append(_entry(graph, layer, names, visited, lost, min(LAYER_SECONDS, left)))
    return entries


class _Graph(torch_pruning.DependencyGraph):
    """torch-pruning's graph, but for which axis of a bare parameter runs over channels."""

    def _detect_unwrapped_parameters(self, unwrapped_parameters: Any) -> Any:
        names, found = super()._detect_unwrapped_parameters(unwrapped_parameters)
        return names, [one._replace(pruning_dim=_channel_axis(one.parameters)) for one in found]


def _channel_axis(parameter: Tensor) -> int:
    """Return the axis of channels: the second of a picture with a batch axis, the last of a row of tokens.

    Where it is another, the trial of what depends on it finds that out.
    """
    sizes = list(parameter.shape)
    if parameter.ndim >= 4 and sizes[0] == 1:
        return 1
    if sizes[0] > 1 and parameter.ndim != 2:
        return 0
    return max(axis for axis, size in enumerate(sizes) if size > 1)


def _forward(module: nn.Module, inputs: Any) -> Any:
    """End every output in an operation of its own, so that the output is a node even after a bare layer.

    So are the ends of branches that run though nobody takes what they give, as heads for training.
    """
    given: list[Tensor] = []
    layers = [layer for layer in module.modules() if isinstance(layer, (_ConvNd, nn.Linear))]
    hooks = [layer.register_forward_hook(lambda *call: given.append(call[-1])) for layer in layers]
    try:
        with _GluAsProduct():
            outputs = module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    several = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    if not all(output.requires_grad for output in several):
        raise ValueError("an output is cut off from the weights by no_grad() or detach()")
    reached: set[Any] = set()
    for output in several:
        _reach(output, reached)
    for value in reversed(given):
        if value.requires_grad and value.grad_fn not in reached:
            several.append(value)
            _reach(value, reached)
    return [output * 1.0 for output in several]


class _GluAsProduct(TorchFunctionMode):
    """Writes GLU as a product of halves, which torch-pruning can follow."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (_gated if func is functional.glu else func)(*args, **(kwargs or {}))


def _gated(input: Tensor, dim: int = -1) -> Tensor:
    half, gate = input.chunk(2, dim)
    return half * gate.sigmoid()


def _reach(value: Tensor, reached: set[Any]) -> None:
    """Add the operations behind a tensor to those reached."""
    todo = [value.grad_fn]
    while todo:
        step = todo.pop()
        if step is not None and step not in reached:
            reached.add(step)
            todo += [before for before, _ in step.next_functions]


def _map_pixel_shuffles(graph: Any) -> None:
    """Teach the graph that channel c after PixelShuffle(s) comes from channels c*s*s to (c+1)*s*s - 1."""
    for node in graph.module2node.values():
        if not type(node.grad_fn).__name__.startswith("PixelShuffleBackward"):
            continue
        factor = node.grad_fn._saved_upscale_factor**2
        for source in node.inputs:
            for dependency in source.dependencies:
                if dependency.target is node:
                    dependency.index_mapping[0] = _FlattenIndexMapping(stride=factor, reverse=True)
            for dependency in node.dependencies:
                if dependency.target is source:
                    dependency.index_mapping[0] = _FlattenIndexMapping(stride=factor, reverse=False)


def _entry(
    graph: Any,
    layer: nn.Module,
    names: dict[nn.Module, str],
    visited: set[nn.Module],
    lost: Lost,
    seconds: float,
) -> dict[str, Any]:
    entry: dict[str, Any] = {"root": names[layer], "units": [], "blocked": None}
    width = graph.get_pruner_of_module(layer).get_out_channels(layer)
    try:
        with time_limit(seconds):
            together = _follow(graph, layer, [0])
            if all(len(item.idxs) == 1 for item in together):
                together = _follow(graph, layer, list(range(width)))
        for item in together:
            target = item.dep.target.module
            if reason := _obstacle(graph, item, lost):
                entry["blocked"] = reason
            elif target in names and graph.is_out_channel_pruning_fn(item.dep.handler):
                visited.add(target)
        if entry["blocked"] is None:
            with time_limit(seconds):
                entry["units"] = _units(graph, layer, names, together, width, lost)
    except _Stays as stays:
        entry["blocked"] = str(stays)
    except TimeoutError:
        entry["blocked"] = f"torch-pruning does not come to an end with its channels ({seconds:.1f} s)"
    except Exception as error:
        entry["blocked"] = f"torch-pruning cannot follow its channels ({type(error).__name__}: {error})"
    return entry


class _Stays(Exception):  # noqa: N818
    """Why a layer has to stay whole."""


def _obstacle(graph: Any, item: Any, lost: Lost) -> str | None:
    """Return why channels that go through `item` cannot be pruned, or None."""
    target = item.dep.target
    if target in lost:
        return f"torch-pruning cannot follow its channels ({lost[target]})"
    if target.type == OPTYPE.OUTPUT:
        return OUTPUT
    return None


def _units(
    graph: Any, layer: nn.Module, names: dict[nn.Module, str], together: Any, width: int, lost: Lost
) -> list[dict[str, list[int]]]:
    """Return, for each set of channels that go together, their positions by "side of layer"."""
    if all(_one_each(item, width) for item in together):
        units: list[dict[str, list[int]]] = [{} for _ in range(width)]
        for item in together:
            for position, root in zip(item.idxs, item.root_idxs):
                _place(units[root], graph, names, item, [position])
        return units
    units, own, done = [], f"outputs {names[layer]}", set()
    for channel in range(width):
        if channel not in done:
            unit: dict[str, list[int]] = {}
            for item in _follow(graph, layer, [channel]):
                if reason := _obstacle(graph, item, lost):
                    raise _Stays(reason)
                _place(unit, graph, names, item, item.idxs)
            done.update(unit[own])
            units.append(unit)
    return units


def _one_each(item: Any, width: int) -> bool:
    """Whether each channel has positions of its own there; after a PixelShuffle several share one."""
    return set(item.root_idxs) == set(range(width)) and len(set(item.idxs)) == len(item.idxs)


def _follow(graph: Any, layer: nn.Module, channels: list[int]) -> Any:
    return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, channels)


def _place(
    unit: dict[str, list[int]], graph: Any, names: dict[nn.Module, str], item: Any, positions: list[int]
) -> None:
    target = item.dep.target.module
    if isinstance(target, nn.Parameter):
        owner, _, name = graph._param_to_name[target].rpartition(".")
        unit.setdefault(f"{BARE}:{name}:{item.dep.target.pruning_dim} {owner}", []).extend(positions)
    elif (name := names.get(target)) is not None:
        side = "outputs" if graph.is_out_channel_pruning_fn(item.dep.handler) else "inputs"
        unit.setdefault(f"{side} {name}", []).extend(positions)


def _to_group(entry: dict[str, Any], layers: dict[str, nn.Module]) -> Group | str:
    units: list[dict[str, list[int]]] = entry["units"]
    if entry["blocked"]:
        return entry["blocked"]
    if len(units) < 2:
        return "its channels are all tied to each other"
    slots: list[Slot] = []
    for place in dict.fromkeys(place for unit in units for place in unit):
        side, name = place.split(" ", 1)
        found = axes(layers[name], side)
        if found is None:
            return f"its channels meet {name!r}, a {type(layers[name]).__name__}, which needs all of them"
        positions = tuple(tuple(sorted(set(unit.get(place, [])))) for unit in units)
        flat = [position for one in positions for position in one]
        size = width(layers[name], side)
        if side.startswith(BARE) and sorted(flat) != list(range(size or 0)):
            continue  # it is of other axes than these channels, as the trial of the group will prove
        if len(set(flat)) != len(flat) or (size is not None and max(flat) >= size):
            return f"its channels do not line up with those of {name!r}"
        slots.append(Slot(name, side, positions))
    return Group(entry["root"], len(units), tuple(slots))
