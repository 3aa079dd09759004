"""Which tensors of a graph are quantized, and how: a torchao quantizer for ONNX Runtime's x64 kernels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import prod

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
    SharedQuantizationSpec,
)

from edgegan.compress.quantize.observer import ActivationObserver, Calibrator, WeightObserver
from edgegan.compress.rewrite.graph import argument, aten, constant, layer_of, shape

COMPUTE = (
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv1d.padding,
    aten.conv2d.padding,
    aten.linear.default,
)
MOVES = (
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
    aten.pixel_shuffle.default,
    aten.slice.Tensor,
    aten.reshape.default,
    aten.view.default,
    aten.permute.default,
    aten.transpose.int,
    aten.unflatten.int,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.flatten.using_ints,
    aten.max_pool2d.default,
)
"""Operators that only move values about: their output has the levels of their input."""
RELUS = (aten.relu.default, aten.relu_.default)


@dataclass
class X64Quantizer(Quantizer):
    """Static INT8 as ONNX Runtime's CPU kernels want it.

    Weights are symmetric int8 per output channel; activations are asymmetric uint8 per tensor, quantized at
    the inputs and the outputs of each layer. Residual sums stay in float: as uint8 they cost 2 to 3 dB, and
    saved 2% of the time.
    """

    weight_max: int = 63
    calibrator: Calibrator = "mse"
    skip: Collection[str] = ()
    """Names of layers that stay in float."""
    float_outputs: Collection[str] = ()
    """Names of layers whose input and weight are quantized, but not their output."""

    def annotate(self, model: GraphModule) -> GraphModule:
        """Mark the tensors to quantize."""
        activation = QuantizationSpec(
            dtype=torch.uint8,
            observer_or_fake_quant_ctr=ActivationObserver.with_args(calibrator=self.calibrator),
            quant_min=0,
            quant_max=255,
            qscheme=torch.per_tensor_affine,
        )
        weight = QuantizationSpec(
            dtype=torch.int8,
            observer_or_fake_quant_ctr=WeightObserver.with_args(quant_max=self.weight_max),
            quant_min=-self.weight_max,
            quant_max=self.weight_max,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )
        levels: set[Node] = set()
        for node in model.graph.nodes:
            if self._takes(model, node):
                source, weights = argument(node, 0, "input"), argument(node, 1, "weight")
                levels |= _quantize_before_moves(source, levels, activation)
                _mark(node, {source: activation, weights: weight}, None)
                if layer_of(weights) not in self.float_outputs:
                    tail = _fused_relu(node) or node
                    _mark(tail, {}, activation)
                    levels |= {node, tail}
            elif node.target in MOVES and node.args[0] in levels:
                _mark_move(node, activation)
                levels.add(node)
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to check: `annotate` marks only what it knows."""

    def _takes(self, model: GraphModule, node: Node) -> bool:
        if node.target not in COMPUTE:
            return False
        weight = argument(node, 1, "weight")
        return constant(model, weight) is not None and layer_of(weight) not in self.skip


def layer_macs(graph: GraphModule) -> dict[str, int]:
    """Return the layers that can be quantized, in the order in which they run: name to MACs of one sample."""
    macs = {}
    for node in graph.graph.nodes:
        weight = constant(graph, argument(node, 1, "weight")) if node.target in COMPUTE else None
        if weight is not None:
            positions = prod(shape(node)[2:] if weight.dim() > 2 else shape(node)[1:-1])
            macs[layer_of(argument(node, 1, "weight"))] = positions * weight.numel()
    return macs


def last_layers(graph: GraphModule) -> dict[str, bool]:
    """Return the layers that no other reads from, those that paint the output: name to whether linear."""
    followed: set[Node] = set()
    last = {}
    for node in reversed(graph.graph.nodes):
        if node.target in COMPUTE and node not in followed:
            last[layer_of(argument(node, 1, "weight"))] = node.target == aten.linear.default
        if node.target in COMPUTE or node in followed:
            followed |= set(node.all_input_nodes)
    return last


def _mark(node: Node, inputs: dict[Node, QuantizationSpecBase], output: QuantizationSpecBase | None) -> None:
    annotation = node.meta.setdefault("quantization_annotation", QuantizationAnnotation(_annotated=True))
    annotation.input_qspec_map.update(inputs)
    if output is not None:
        annotation.output_qspec = output


def _mark_move(node: Node, activation: QuantizationSpec) -> None:
    source = node.args[0]
    assert isinstance(source, Node)
    _mark(node, {source: activation}, SharedQuantizationSpec((source, node)))


def _quantize_before_moves(source: Node, levels: set[Node], activation: QuantizationSpec) -> set[Node]:
    """Quantize the value that `source` is but a rearrangement of, so that the moves handle bytes.

    Returns the nodes that hold levels thereby.
    """
    chain = []
    while source not in levels and source.target in MOVES and len(source.users) == 1:
        chain.append(source)
        source = source.args[0]  # pyright: ignore[reportAssignmentType]
    for move in reversed(chain):
        _mark_move(move, activation)
    return set(chain)


def _fused_relu(node: Node) -> Node | None:
    """Return the ReLU that alone reads `node`: uint8 with zero as its lowest level does it for free."""
    readers = list(node.users)
    return readers[0] if len(readers) == 1 and readers[0].target in RELUS else None
