"""What the tensors of a graph hold on samples, and from that the levels of the graph that was prepared."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.operators import INT8_LAYERS
from edgegan.compress.quantize.calibrate.calibrators import Calibrator, Histogram, weight_scales
from edgegan.compress.quantize.calibrate.output_sensitivity import parts, squared_gradients
from edgegan.compress.quantize.prepare.fake_quantize import Levels
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.quantize.prepare.quantizer import activations, fused_relu, origin
from edgegan.compress.rewrite.graph import argument, aten, constant, shape, watch

Batches = Sequence[tuple[Tensor, ...]]


@dataclass(frozen=True)
class Statistics:
    """What a graph's tensors held on samples, by node name."""

    histograms: dict[str, Histogram]
    powers: dict[str, Tensor]
    """Of each layer's input, the mean square of each channel, (groups, inputs of a group), in float64."""


def observe(graph: GraphModule, batches: Batches) -> Statistics:
    """Run `graph` on `batches`; return what its tensors held and how much of it matters."""
    histograms = {node.name: Histogram() for node in activations(graph)}
    layers = list(layer_names(graph))
    powers: dict[str, Tensor] = {}

    def see(node: Node, value: Any) -> None:
        if node.name in histograms:
            histograms[node.name].add(value)
        for layer in layers:
            if argument(layer, 0, "input") is node:
                powers[layer.name] = powers.get(layer.name, 0) + _power(layer, value)

    for batch in batches:
        watch(graph, batch, see)
    squared_gradients(
        graph,
        parts(graph, batches),
        histograms,
        lambda name, values, weights: histograms[name].weigh(values, weights),
    )
    return Statistics(histograms, {name: total / len(batches) for name, total in powers.items()})


def _power(layer: Node, value: Tensor) -> Tensor:
    """Return the mean square of each channel that `layer` reads."""
    axes = 0 if layer.target == aten.linear.default else len(shape(argument(layer, 1, "weight"))) - 2
    channels = value.dim() - 1 - axes
    others = [axis for axis in range(value.dim()) if axis != channels]
    squares = value.square()
    powers = squares.mean(dim=others, dtype=torch.float64) if others else squares.double()
    return powers.view(1 if not axes else argument(layer, 6, "groups", 1), -1)


@dataclass(frozen=True)
class Calibration:
    """Sets levels from statistics."""

    statistics: Statistics
    calibrator: Calibrator
    headroom: float = 1.0
    """How many times as far as the calibrator says activations' levels reach."""

    def __call__(self, prepared: GraphModule) -> None:
        """Set the levels of every tensor of a prepared graph."""
        for node, levels in quantizers(prepared):
            source = node.all_input_nodes[0]
            weight = constant(prepared, source)
            if weight is not None:
                scales = weight_scales(weight, levels.quant_max, self._power(node))
                levels.set(scales, torch.zeros(len(scales), dtype=torch.int64))
            elif not len(levels.scale):
                histogram = self.statistics.histograms[origin(source).name]
                scale, zero = histogram.levels(
                    self.calibrator,
                    levels.quant_min,
                    levels.quant_max,
                    symmetric=levels.quant_min == -levels.quant_max,
                )
                levels.set(torch.tensor([scale * self.headroom]), torch.tensor([zero]))

    def _power(self, weight: Node) -> Tensor | None:
        """Return the power of what the layers with this weight read; None where it is not known."""
        known = [self.statistics.powers.get(layer.name) for layer in weight.users]
        found = [power for power in known if power is not None]
        return torch.stack(found).sum(dim=0) if found and len(found) == len(known) else None


def quantizers(prepared: GraphModule) -> list[tuple[Node, Levels]]:
    """Return the nodes of a prepared graph that round a tensor, each with its levels."""
    found = []
    for node in prepared.graph.nodes:
        module = prepared.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, Levels):
            found.append((node, module))
    return found


def split_readers(prepared: GraphModule) -> None:
    """Give each reader of a rounded tensor levels of its own, so that it can be rounded for one alone."""
    for node, levels in quantizers(prepared):
        for index, reader in enumerate(list(node.users)[1:]):
            name = f"{node.target}_reader_{index}"
            prepared.add_submodule(name, copy.deepcopy(levels))
            with prepared.graph.inserting_after(node):
                own = prepared.graph.call_module(name, node.args)
            reader.replace_input_with(node, own)
    prepared.recompile()


def levels_around(prepared: GraphModule, *, outputs: bool) -> dict[str, set[Levels]]:
    """Return, by layer's node, the levels that are there for its sake: of what it reads, and of its weights.

    With `outputs` of what it gives as well; without, of what that is added to. Each reader has levels of its
    own (see `split_readers`).
    """
    rounders = dict(quantizers(prepared))
    around: dict[str, set[Levels]] = {}
    for node in prepared.graph.nodes:
        weight = argument(node, 1, "weight") if node.target in INT8_LAYERS.torch else None
        if weight not in rounders:
            continue
        given = [node, *([relu] if (relu := fused_relu(node)) else [])]
        readers = [user for of in given for user in of.users]
        added = [of for user in readers if user.target == aten.add.Tensor for of in user.all_input_nodes]
        near = [argument(node, 0, "input"), weight, *(readers if outputs else added)]
        around[node.name] = {rounders[of] for of in near if of in rounders}
    return around
