"""What the tensors of a graph hold on samples, and from that the levels of the graph that was prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.quantize.calibrate.calibrators import Calibrator, Histogram, weight_scales
from edgegan.compress.quantize.calibrate.output_sensitivity import parts, squared_gradients
from edgegan.compress.quantize.prepare.fake_quantize import Levels
from edgegan.compress.quantize.prepare.quantizer import activations, origin
from edgegan.compress.rewrite.graph import constant, watch

Batches = Sequence[tuple[Tensor, ...]]


def observe(graph: GraphModule, batches: Batches) -> dict[str, Histogram]:
    """Run `graph` on `batches`; return what its tensors held and how much of it matters, by node name."""
    histograms = {node.name: Histogram() for node in activations(graph)}

    def see(node: Node, value: Any) -> None:
        if node.name in histograms:
            histograms[node.name].add(value)

    for batch in batches:
        watch(graph, batch, see)
    squared_gradients(
        graph,
        parts(graph, batches),
        histograms,
        lambda name, values, weights: histograms[name].weigh(values, weights),
    )
    return histograms


@dataclass(frozen=True)
class Calibration:
    """Sets levels from histograms, by node name."""

    histograms: dict[str, Histogram]
    calibrator: Calibrator

    def __call__(self, prepared: GraphModule) -> None:
        """Set the levels of every tensor of a prepared graph."""
        for node, levels in quantizers(prepared):
            source = node.all_input_nodes[0]
            weight = constant(prepared, source)
            if weight is not None:
                scales = weight_scales(weight, levels.quant_max)
                levels.set(scales, torch.zeros(len(scales), dtype=torch.int64))
            elif not len(levels.scale):
                histogram = self.histograms[origin(source).name]
                scale, zero = histogram.levels(
                    self.calibrator,
                    levels.quant_min,
                    levels.quant_max,
                    symmetric=levels.quant_min == -levels.quant_max,
                )
                levels.set(torch.tensor([scale]), torch.tensor([zero]))


def quantizers(prepared: GraphModule) -> list[tuple[Node, Levels]]:
    """Return the nodes of a prepared graph that round a tensor, each with its levels."""
    found = []
    for node in prepared.graph.nodes:
        module = prepared.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, Levels):
            found.append((node, module))
    return found
