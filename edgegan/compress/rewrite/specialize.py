"""One input held at one value, as for a generator of one class, and what then need not be computed."""

from __future__ import annotations

from dataclasses import replace as with_fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen

from edgegan.compress.example_inputs import example
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
    outputs,
    prove,
    replace,
    shape,
    trace,
)
from edgegan.compress.rewrite.parametrization import without_parametrizations
from edgegan.errors import InputError
from edgegan.runtime.contract import Contract

ARITHMETIC = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)


def with_fixed_input(
    module: nn.Module, contract: Contract, name: str, value: Any
) -> tuple[GraphModule, Contract]:
    """Return `module` as a graph without the input `name`, which is always `value`, and its contract.

    `fold_constants` then computes what depends on that input alone, and `fold_batch_norm` folds conditional
    norms like plain ones.

    Args:
        module: a module that fits `contract`; not changed.
        contract: two inputs or more.
        name: the input to hold.
        value: a number or an array of the input's shape, without the batch axis.

    Raises:
        InputError: there is no such input, no other one, or the value does not fit it.
        ModelError: the module cannot be traced.
    """
    names = [spec.name for spec in contract.inputs]
    if name not in names:
        raise InputError(f"there is no input {name!r} to fix", next=f"name one of {', '.join(names)}")
    if len(names) == 1:
        raise InputError(f"{name!r} is the only input: with it fixed, all outputs would be the same")
    index = names.index(name)
    spec = contract.inputs[index]
    array = np.asarray(value)
    if array.dtype.kind == np.dtype(spec.dtype).kind or (array.dtype.kind, spec.dtype) == ("i", "float32"):
        array = array.astype(spec.dtype)
    with_fields(contract, inputs=(spec,)).check_inputs({name: array[None]})
    others = with_fields(contract, inputs=(*contract.inputs[:index], *contract.inputs[index + 1 :]))

    plain = module if isinstance(module, GraphModule) else without_parametrizations(module)[0]
    held = torch.from_numpy(array[None].copy())
    graph = trace(plain, contract)
    _hold(graph, index, name, held)
    graph = trace(graph, others)
    samples = example(others, 4, seed=0)
    whole = (*samples[:index], held.expand(4, *spec.shape), *samples[index:])
    done = Change("with_fixed_input", name, str(value))
    prove(outputs(plain, whole), outputs(graph, samples), [done])
    return graph, others


def fold_constants(graph: GraphModule, contract: Contract) -> list[Change]:
    """Compute once whatever depends on no input, but perhaps on the batch size, as on a fixed input it does.

    Where a Linear reads it beside an input, it goes into the Linear's bias.
    """
    inputs = _inputs(graph)
    changes = []
    for node in list(graph.graph.nodes):
        varying = [user for user in node.users if inputs[user] or user.op == "output"]
        if node.op != "call_function" or inputs[node] or not varying or not _is_tensor(node):
            continue
        row = _row(graph, node)
        if row is None:
            continue
        for reader in varying:
            _give(graph, node, reader, row)
        changes.append(Change("fold_constants", node.name, "x".join(map(str, row.shape[1:]))))
    return changes


def _hold(graph: GraphModule, index: int, name: str, value: Tensor) -> None:
    """Let a constant take the place of the placeholder at `index`; `value` is (1, *shape)."""
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    held, other = placeholders[index], placeholders[index - 1 if index else 1]
    with graph.graph.inserting_after(placeholders[-1]):
        size = graph.graph.call_function(aten.sym_size.int, (other, 0))
    with graph.graph.inserting_after(size):
        rows = graph.graph.call_function(aten.expand.default)
    with graph.graph.inserting_before(rows):
        one = add_constant(graph, name, value)
    rows.args = (one, [size, *value.shape[1:]])
    replace(held, rows)
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    results = output.args[0]
    output.args = (results[0] if isinstance(results, (list, tuple)) and len(results) == 1 else results,)
    graph.graph.set_codegen(CodeGen())
    graph.recompile()


def _inputs(graph: GraphModule) -> dict[Node, frozenset[Node]]:
    """Return the inputs whose values each node depends on; a size is not such a value."""
    inputs: dict[Node, frozenset[Node]] = {}
    for node in graph.graph.nodes:
        is_size = node.target == aten.sym_size.int
        inputs[node] = frozenset() if is_size else depends_on(node, inputs)
    return inputs


def _is_tensor(node: Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def _row(graph: GraphModule, node: Node) -> Tensor | None:
    """Return the (1, ...) value of each sample, or None where samples differ or there is no batch axis."""
    if shape(node)[:1] != (-1,) or -1 in shape(node)[1:]:
        return None
    sizes = [other for other in graph.graph.nodes if other.target == aten.sym_size.int]
    one, two = (evaluate(graph, node, dict.fromkeys(sizes, n)) for n in (1, 2))
    same = one.shape[0] == 1 and torch.allclose(one.expand_as(two), two, rtol=1e-5, atol=1e-6)
    return one if same else None


def _give(graph: GraphModule, node: Node, reader: Node, row: Tensor) -> None:
    """Let `reader` read the constant `row` in the place of `node`."""
    if reader.target == aten.cat.default and _into_bias(graph, node, reader, row):
        return
    with graph.graph.inserting_before(reader):
        value = add_constant(graph, node.name, row)
        others = [other for other in reader.all_input_nodes if other is not node]
        if reader.target not in ARITHMETIC or any(shape(other) != shape(reader) for other in others):
            placeholder = next(other for other in graph.graph.nodes if other.op == "placeholder")
            size = graph.graph.call_function(aten.sym_size.int, (placeholder, 0))
            value = graph.graph.call_function(aten.expand.default, (value, [size, *row.shape[1:]]))
    reader.replace_input_with(node, value)


def _into_bias(graph: GraphModule, node: Node, cat: Node, row: Tensor) -> bool:
    """Take `row` out of a concatenation that a Linear alone reads; False where it is another case."""
    parts, linear = list(cat.args[0]), next(iter(cat.users))  # pyright: ignore[reportArgumentType]
    if row.dim() != 2 or argument(cat, 1, "dim", 0) not in (1, -1) or len(parts) < 2:
        return False
    if linear.target != aten.linear.default or not only_reader(cat, linear) or parts.count(node) != 1:
        return False
    weight_node, bias_node = argument(linear, 1, "weight"), argument(linear, 2, "bias")
    weight, bias = constant(graph, weight_node), constant(graph, bias_node)
    if weight is None or (bias is None) != (bias_node is None):
        return False
    place = parts.index(node)
    start = sum(shape(part)[1] for part in parts[:place])
    before, ours, after = weight.tensor_split((start, start + row.shape[1]), dim=1)
    shift = ours.double() @ row[0].double()
    name = layer_of(weight_node)
    with graph.graph.inserting_before(linear):
        new_weight = add_constant(graph, f"{name}.weight", torch.cat([before, after], dim=1))
        shift = shift if bias is None else shift + bias.double()
        new_bias = add_constant(graph, f"{name}.bias", shift.to(weight.dtype))
    del parts[place]
    cat.args = (parts, 1)
    linear.args = (cat if len(parts) > 1 else parts[0], new_weight, new_bias)
    return True
