"""Channels brought nearer to one range before they share one scale, while the outputs stay as they are.

Cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721), over residual sums and conditional norms too:
a channel multiplied by s where it is made is divided by s wherever it is read, as long as all that lies
between is positively homogeneous. An instance norm takes the mean and the size of each channel away: what it
reads is centred as well, and has factors of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress import memory
from edgegan.compress.example_inputs import example
from edgegan.compress.operators import CONVOLUTIONS
from edgegan.compress.quantize.choose.effort import Effort
from edgegan.compress.quantize.improve.channel_groups import Groups, constant_of, grouped
from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.graph import add_constant, argument, aten, constant, layer_of, watch
from edgegan.runtime.contract import Contract

SAMPLES = 64
SEED = 0xE9
LARGEST = 64.0
"""No channel is scaled by more than this, relative to the widest one."""
DRIFT = 2e-5
"""By so much of itself an instance norm's output may change, as its epsilon counts for less."""


def center_channels(graph: GraphModule, contract: Contract) -> list[Change]:
    """Move biases that instance norms take away again, so that channels reach as far up as down."""
    layers = [
        node
        for node in graph.graph.nodes
        if node.target in CONVOLUTIONS and node.users and all(_normalizes(user, node) for user in node.users)
    ]
    lows: dict[Node, Tensor] = {}
    highs: dict[Node, Tensor] = {}

    def see(node: Node, value: Any) -> None:
        if node in layers:
            low, high = value.transpose(0, 1).flatten(1).aminmax(dim=1)
            _gather(lows, node, low, torch.minimum)
            _gather(highs, node, high, torch.maximum)

    _watch_samples(graph, contract, see)
    changes = []
    for node, low in lows.items():
        middle = (low + highs[node]) / 2
        name, bias = layer_of(argument(node, 1, "weight")), constant(graph, argument(node, 2, "bias"))
        with graph.graph.inserting_before(node):
            centred = add_constant(graph, f"{name}.bias", -middle if bias is None else bias - middle)
        node.args = (*node.args[:2], centred, *node.args[3:])
        changes.append(Change("center_channels", name, f"by up to {float(middle.abs().max()):.3g}"))
    return changes


def equalize_channels(graph: GraphModule, contract: Contract) -> list[Change]:
    """Scale the channels of each tensor between layers towards one range, as far as this is exact.

    What instance norms read comes to one range. Elsewhere ranges come half the way, as SmoothQuant
    does it (Xiao et al. 2023, arXiv:2211.10438) without a look at the weights: layers take the factors back
    in their weights, which are rounded too, and a channel that seldom holds much would be cut off where it
    does.
    """
    groups = grouped(graph)
    scales = _scales(graph, contract, groups)
    changes = []
    for node in list(graph.graph.nodes):
        if node in groups.layers:
            changes += _rescale_layer(graph, node, scales)
        elif node in groups.constants:
            changes += _rescale_constant(graph, node, groups.constants[node], scales)
        elif node in groups.norms and node in scales:
            changes.append(_rescale_norm(graph, node, scales[node]))
    return changes


def _scales(graph: GraphModule, contract: Contract, groups: Groups) -> dict[Node, Tensor]:
    """Return the factor of each channel of each node that is not fixed."""
    widest: dict[Node, Tensor] = {}
    most: dict[Node, Tensor] = {}

    def see(node: Node, value: Any) -> None:
        if node not in groups.parent or node in groups.fixed:
            return
        name, repeats = groups.name(node), groups.repeats[node]
        ranges = value.abs().amax([axis for axis in range(value.dim()) if axis != 1])
        ranges = ranges.double().clamp(min=1e-30).view(-1, repeats).amax(dim=1)
        _gather(widest, name, ranges, torch.maximum)
        for norm in groups.norms & set(node.users):
            _gather(most, name, _room(value, norm).view(-1, repeats).amin(dim=1), torch.minimum)

    _watch_samples(graph, contract, see)
    read = {groups.name(source) for layer in groups.layers for source in _unfixed(groups, layer)}
    scales = {}
    for node in groups.parent:
        if node not in groups.fixed:
            name = groups.name(node)
            factor = (widest[name].max() / widest[name]).clamp(max=LARGEST)
            factor = factor.sqrt() if name in read or name not in most else factor
            factor = torch.minimum(factor, most[name]) if name in most else factor
            scales[node] = factor.repeat_interleave(groups.repeats[node])
    return scales


def _watch_samples(graph: GraphModule, contract: Contract, see: Callable[[Node, Any], None]) -> None:
    """Show what nodes give on the contract's samples, in batches that there is room for."""
    count = Effort.of(graph, SAMPLES).judging
    drawn = example(contract, count, SEED)
    for batch in zip(*(tensor.split(memory.samples(memory.live_bytes(graph))) for tensor in drawn)):
        watch(graph, batch, see)


def _unfixed(groups: Groups, layer: Node) -> list[Node]:
    return [node for node in layer.all_input_nodes if node in groups.parent and node not in groups.fixed]


def _gather(
    into: dict[Node, Tensor], name: Node, value: Tensor, join: Callable[[Tensor, Tensor], Tensor]
) -> None:
    into[name] = join(into[name], value) if name in into else value


def _room(value: Tensor, norm: Node) -> Tensor:
    """Return the factors (C,) by which what `norm` reads may grow: its epsilon counts for less then."""
    variance = value.flatten(2).var(dim=2, unbiased=False).amin(dim=0).double()
    share = 2 * DRIFT * variance / argument(norm, 7, "eps")
    return (1 - share).clamp(min=1e-30) ** -0.5


def _normalizes(node: Node, source: Node) -> bool:
    inputs = argument(node, 0, "input") is source and argument(node, 5, "use_input_stats")
    return node.target == aten.instance_norm.default and bool(inputs)


def _rescale_layer(graph: GraphModule, node: Node, scales: dict[Node, Tensor]) -> list[Change]:
    made, read = scales.get(node), scales.get(node.args[0])  # pyright: ignore[reportArgumentType]
    if made is None and read is None:
        return []
    weight_node, bias_node = argument(node, 1, "weight"), argument(node, 2, "bias")
    weight, bias = constant(graph, weight_node), constant(graph, bias_node)
    assert weight is not None
    scaled = weight.double()
    if read is not None:
        scaled = scaled / read.view(1, -1, *(1 for _ in weight.shape[2:]))
    if made is not None:
        scaled = scaled * made.view(-1, *(1 for _ in weight.shape[1:]))
    name = layer_of(weight_node)
    with graph.graph.inserting_before(node):
        operands = [add_constant(graph, f"{name}.weight", scaled.to(weight.dtype)), bias_node]
        if bias is not None and made is not None:
            operands[1] = add_constant(graph, f"{name}.bias", (bias.double() * made).to(bias.dtype))
    node.args = (node.args[0], *operands, *node.args[3:])
    if made is None:
        return []
    return [_change(name, made)]


def _change(name: str, factors: Tensor) -> Change:
    return Change("equalize_channels", name, f"factors {factors.min():.3g} to {factors.max():.3g}")


def _rescale_norm(graph: GraphModule, node: Node, made: Tensor) -> Change:
    for index, name, without in ((1, "weight", 1.0), (2, "bias", 0.0)):
        operand = argument(node, index, name)
        value = constant(graph, operand)
        value = torch.full(made.shape, without, dtype=node.meta["val"].dtype) if value is None else value
        with graph.graph.inserting_before(node):
            scaled = (value.double() * made).to(value.dtype)
            new = add_constant(graph, f"{layer_of(operand) or node.name}.{name}", scaled)
        node.args = (*node.args[:index], new, *node.args[index + 1 :])
    return _change(layer_of(node.args[1]), made)


def _rescale_constant(
    graph: GraphModule, node: Node, operand: Node, scales: dict[Node, Tensor]
) -> list[Change]:
    source = next(value for value in node.all_input_nodes if value is not operand)
    made, read = scales.get(node), scales.get(source)
    value = constant_of(graph, operand)
    assert value is not None
    scaled = value.double()
    axes = [1, -1] + [1] * (value.dim() - 2)
    if made is not None:
        scaled = scaled * made.view(axes)
    if read is not None and node.target == aten.mul.Tensor:
        scaled = scaled / read.view(axes)
    kept = operand.args[0] if operand.target == aten.index_select.default else operand
    with graph.graph.inserting_before(node):
        new = add_constant(graph, str(kept.target), scaled.to(value.dtype))  # pyright: ignore
        if operand is not kept:
            new = graph.graph.call_function(aten.index_select.default, (new, *operand.args[1:]))
    node.replace_input_with(operand, new)
    return [_change(layer_of(kept), made)] if made is not None else []
