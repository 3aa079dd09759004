"""Normalization with fixed statistics, absorbed where it costs nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgegan.compress.operators import CONVOLUTIONS, RESHAPES, TRANSPOSED
from edgegan.compress.rewrite.affine import Affine, affines, batch_norms
from edgegan.compress.rewrite.change import Change
from edgegan.compress.rewrite.graph import (
    add_constant,
    argument,
    aten,
    constant,
    depends_on,
    evaluate,
    layer_of,
    only_reader,
    replace,
    shape,
)
from edgegan.runtime.contract import Contract

OUTPUT_AXIS = {
    aten.linear.default: 0,
    **dict.fromkeys(CONVOLUTIONS, 0),
    **dict.fromkeys(TRANSPOSED, 1),
}


def fold_batch_norm(graph: GraphModule, contract: Contract) -> list[Change]:
    """Fold each BatchNorm into the Conv, ConvTranspose or Linear whose only reader it is.

    A reshape of a Linear's features to channels may lie between. A multiply and an add of constants, one or
    both, are folded as well.
    """
    changes = []
    for norm in affines(graph):
        layer, repeats = norm.source, 1
        if layer.target in RESHAPES.torch and only_reader(layer, norm.nodes[0]):
            before, after = shape(layer.args[0]), shape(layer)
            channels = norm.scale.numel()
            if len(before) != 2 or after[:2] != (before[0], channels):
                continue
            repeats = before[1] // channels
            layer, reader = layer.args[0], layer
        else:
            reader = norm.nodes[0]
        if not isinstance(layer, Node) or not only_reader(layer, reader):
            continue
        if not _fold_into(graph, layer, norm, repeats):
            continue
        norm.remove()
        changes.append(Change("fold_batch_norm", norm.name, f"into {layer_of(layer.args[1])}"))
    return changes


def batch_norm_to_affine(graph: GraphModule, contract: Contract) -> list[Change]:
    """Write each BatchNorm that is left as one multiply and one add of constants.

    Further norms, multiplies and adds of constants that follow are absorbed.
    """
    changes = []
    for norm in affines(graph):
        if norm.is_plain:
            continue
        axes = [1, -1] + [1] * (len(shape(norm.node)) - 2)
        dtype = norm.node.meta["val"].dtype
        with graph.graph.inserting_before(norm.node):
            scale = add_constant(graph, f"{norm.name}.scale", norm.scale.view(axes).to(dtype))
            shift = add_constant(graph, f"{norm.name}.shift", norm.shift.view(axes).to(dtype))
            product = graph.graph.call_function(aten.mul.Tensor, (norm.source, scale))
            replace(norm.node, graph.graph.call_function(aten.add.Tensor, (product, shift)))
        changes.append(Change("batch_norm_to_affine", norm.name, f"{norm.scale.numel()} channels"))
    return changes


def tabulate_conditional_norm(graph: GraphModule, contract: Contract) -> list[Change]:
    """Reduce BatchNorm, and gain and bias that depend on the label alone, to one multiply and one add.

    Whatever computes gain g and bias h from the label (embeddings, chunks, a small network) becomes a table
    each, with a row a class, into which the running statistics and the norm's own affine part are absorbed:
    (x s + t) g + h = x (s g) + (t g + h). Without a BatchNorm the tables alone are made. Left alone where a
    table would hold more numbers than what it replaces.
    """
    changes = []
    norms = {norm.node: norm for norm in batch_norms(graph)}
    inputs = _inputs(graph)
    for match in _conditionals(graph, contract):
        gain, bias = (_table(graph, value, match) for value in (match.gain, match.bias))
        if gain is None or bias is None:
            continue
        source, name = match.source, _first_layer(match.gain, inputs)
        norm = norms.get(source)
        if norm is not None and only_reader(source, match.product):
            axes = [1, -1] + [1] * (gain.dim() - 2)
            bias = bias + gain * norm.shift.view(axes)
            gain = gain * norm.scale.view(axes)
            source, name = norm.source, norm.name
        with graph.graph.inserting_before(match.product):
            rows = []
            for kind, table in (("gain", gain), ("bias", bias)):
                weight = add_constant(graph, f"{name}.{kind}_table", table.to(match.dtype))
                rows.append(graph.graph.call_function(aten.index_select.default, (weight, 0, match.label)))
        match.product.args = (source, rows[0])
        match.node.args = (match.product, rows[1])
        absorbed = ", statistics absorbed" if source is not match.source else ""
        detail = f"{gain.shape[0]} classes, {gain.shape[1]} channels{absorbed}"
        changes.append(Change("tabulate_conditional_norm", name, detail))
    return changes


@dataclass(frozen=True)
class _Conditional:
    """`node` = source * gain + bias; gain and bias are computed from `label` (0..classes-1) alone."""

    node: Node
    product: Node
    source: Node
    gain: Node
    bias: Node
    label: Node
    classes: int
    dtype: torch.dtype


def _conditionals(graph: GraphModule, contract: Contract) -> list[_Conditional]:
    inputs = _inputs(graph)
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    classes = {
        node: spec.sample.classes
        for node, spec in zip(placeholders, contract.inputs)
        if spec.sample.kind == "labels" and spec.sample.classes
    }

    def split(node: object, operator: object) -> tuple[Node, Node] | None:
        """Return (what is not of a label alone, what is)."""
        if not isinstance(node, Node) or node.target != operator or len(node.args) != 2 or node.kwargs:
            return None
        both = [value for value in node.args if isinstance(value, Node)]
        ours = [value for value in both if len(inputs[value]) == 1 and inputs[value] <= classes.keys()]
        others = [value for value in both if value not in ours]
        return (others[0], ours[0]) if len(ours) == len(others) == 1 else None

    found = []
    for node in graph.graph.nodes:
        total = split(node, aten.add.Tensor)
        product = split(total[0], aten.mul.Tensor) if total else None
        if not total or not product or not only_reader(total[0], node):
            continue
        (label,), value = inputs[product[1]], product[0].meta["val"]
        if inputs[total[1]] == {label}:
            found.append(_Conditional(node, total[0], *product, total[1], label, classes[label], value.dtype))
    return found


def _table(graph: GraphModule, node: Node, match: _Conditional) -> Tensor | None:
    """Return `node` for every class, (classes, C, 1, ...) in float64; None where it is not such a table."""
    source = shape(match.source)
    if len(source) < 2 or shape(node) != (-1, source[1], *(1 for _ in source[2:])):
        return None
    if _constants(graph, node) < match.classes * source[1]:
        return None
    everyone = torch.arange(match.classes)
    table = evaluate(graph, node, {match.label: everyone})
    alone = evaluate(graph, node, {match.label: everyone[-1:]})
    if not torch.allclose(table[-1:], alone, rtol=1e-5, atol=1e-6):
        return None
    return table.double()


def _constants(graph: GraphModule, node: Node) -> int:
    """Return how many numbers the module holds to compute `node`."""
    seen, todo, total = set(), [node], 0
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            todo += current.all_input_nodes
            value = constant(graph, current)
            total += value.numel() if value is not None else 0
    return total


def _first_layer(node: Node, inputs: dict[Node, frozenset[Node]]) -> str:
    """Return the name of a layer that `node` is computed by."""
    while node.all_input_nodes:
        weights = [source for source in node.all_input_nodes if not inputs[source]]
        if weights:
            return layer_of(weights[0])
        node = node.all_input_nodes[0]
    return ""


def _inputs(graph: GraphModule) -> dict[Node, frozenset[Node]]:
    inputs: dict[Node, frozenset[Node]] = {}
    for node in graph.graph.nodes:
        inputs[node] = depends_on(node, inputs)
    return inputs


def _fold_into(graph: GraphModule, layer: Node, norm: Affine, repeats: int) -> bool:
    axis = OUTPUT_AXIS.get(layer.target)  # pyright: ignore[reportArgumentType]
    weight_node, bias_node = argument(layer, 1, "weight"), argument(layer, 2, "bias")
    weight, bias = constant(graph, weight_node), constant(graph, bias_node)
    if axis is None or weight is None or (bias is None) != (bias_node is None):
        return False
    if layer.target == aten.linear.default and len(shape(layer)) != 2:
        return False
    scale = norm.scale.repeat_interleave(repeats)
    shift = norm.shift.repeat_interleave(repeats)
    if axis == 1:
        groups = argument(layer, 6, "groups", 1)
        columns = (
            scale.view(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1).reshape(weight.shape[0], -1)
        )
        factor = columns.view(*columns.shape, *(1 for _ in weight.shape[2:]))
    else:
        factor = scale.view(-1, *(1 for _ in weight.shape[1:]))
    folded = shift if bias is None else bias.double() * scale + shift
    name = layer_of(weight_node)
    with graph.graph.inserting_before(layer):
        new_weight = add_constant(graph, f"{name}.weight", (weight.double() * factor).to(weight.dtype))
        new_bias = add_constant(graph, f"{name}.bias", folded.to(weight.dtype))
    layer.args = (layer.args[0], new_weight, new_bias, *layer.args[3:])
    return True
