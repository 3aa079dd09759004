"""Which tensors of a graph are quantized, and how: a torchao quantizer for what a target wants."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from edgegan.compress.operators import INT8_LAYERS, MOVES
from edgegan.compress.quantize.prepare.fake_quantize import Levels
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.quantize.prepare.pt2e import (
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
    SharedQuantizationSpec,
)
from edgegan.compress.rewrite.graph import argument, aten, shape
from edgegan.target import Int8


@dataclass
class Int8Quantizer(Quantizer):
    """Marks the tensors to quantize, as the engine of a target wants them.

    Weights are symmetric int8, per output channel; activations are uint8 or int8, per tensor. All engines
    want the inputs of each layer quantized. ONNX Runtime's kernels take over only where the outputs are too;
    for TensorRT that would round twice. Where TensorRT adds a layer's output to another branch, it wants
    that other branch quantized, and adds in the layer's kernel.
    """

    int8: Int8
    skip: Collection[str] = ()
    """Names of layers that stay in float."""
    float_outputs: Collection[str] = ()
    """Names of layers whose input and weight are quantized, but not their output."""

    def annotate(self, model: GraphModule) -> GraphModule:
        """Mark the tensors to quantize."""
        activation, weight = _specs(self.int8)
        names = layer_names(model)
        taken = {node for node, name in names.items() if name not in self.skip}
        levels: set[Node] = set()
        for node in model.graph.nodes:
            if node in taken:
                source, weights = argument(node, 0, "input"), argument(node, 1, "weight")
                levels |= _quantize_before_moves(source, levels, activation)
                _mark(node, {source: activation, weights: weight}, None)
                if self.int8.outputs and names[node] not in self.float_outputs:
                    tail = fused_relu(node) or node
                    _mark(tail, {}, activation)
                    levels |= {node, tail}
            elif moves(node) and node.args[0] in levels:
                _mark_move(node, activation)
                levels.add(node)
            elif (branch := other_branch(node)) and self._adds_to_layer(taken, node, branch):
                levels |= _quantize_before_moves(branch, levels, activation)
                _mark(node, {branch: activation}, None)
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to check: `annotate` marks only what it knows."""

    def _adds_to_layer(self, taken: set[Node], addition: Node, branch: Node) -> bool:
        return self.int8.sums and any(
            value in taken for value in addition.all_input_nodes if value is not branch
        )


def moves(node: Node) -> bool:
    """Whether a node only moves values about, or repeats them."""
    if node.target == aten.pad.default:
        return argument(node, 2, "mode", "constant") in ("reflect", "replicate")
    return node.target in MOVES.torch


def other_branch(node: Node) -> Node | None:
    """Return what a residual sum adds to the layer's output that it reads last; None where `node` is none."""
    values = [value for value in node.args[:2] if isinstance(value, Node) and value.op == "call_function"]
    if node.target != aten.add.Tensor or len(values) != 2 or shape(values[0]) != shape(values[1]):
        return None
    layers = [value for value in values if value.target in INT8_LAYERS.torch and len(value.users) == 1]
    order = list(node.graph.nodes)
    last = max(layers, key=order.index, default=None)
    return next((value for value in values if value is not last), None) if last else None


def activations(model: GraphModule) -> set[Node]:
    """Return the nodes whose values any target may want quantized."""
    found: set[Node] = set()
    for node in model.graph.nodes:
        if node.target in INT8_LAYERS.torch:
            found |= {origin(argument(node, 0, "input")), node}
            found |= {relu for relu in [fused_relu(node)] if relu}
        elif branch := other_branch(node):
            found.add(origin(branch))
    return found


def weight_max(int8: Int8) -> int:
    """Return the largest level of a weight."""
    return 2 ** (int8.weight_bits - 1) - 1


def _specs(int8: Int8) -> tuple[QuantizationSpec, QuantizationSpec]:
    """Return how activations, and how weights are quantized."""
    unsigned = int8.activations == "uint8"
    dtype = torch.uint8 if unsigned else torch.int8
    low, high = (0, 255) if unsigned else ((-127, 127) if int8.symmetric else (-128, 127))
    widest = weight_max(int8)
    activation = QuantizationSpec(
        dtype=dtype,
        observer_or_fake_quant_ctr=Levels.with_args(low=low, high=high),
        quant_min=low,
        quant_max=high,
        qscheme=torch.per_tensor_affine,
    )
    weight = QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=Levels.with_args(low=-widest, high=widest, axis=0),
        quant_min=-widest,
        quant_max=widest,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
    )
    return activation, weight


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
    while source not in levels and moves(source) and len(source.users) == 1:
        chain.append(source)
        source = source.args[0]  # pyright: ignore[reportAssignmentType]
    for move in reversed(chain):
        _mark_move(move, activation)
    return set(chain)


def origin(source: Node) -> Node:
    """Return the value that `source` is but a rearrangement of."""
    while moves(source) and isinstance(source.args[0], Node):
        source = source.args[0]
    return source


def fused_relu(node: Node) -> Node | None:
    """Return the ReLU that alone reads `node`: uint8 with zero as its lowest level does it for free."""
    readers = list(node.users)
    return readers[0] if len(readers) == 1 and readers[0].target == aten.relu.default else None
