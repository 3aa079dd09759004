"""From the exported Q/DQ model to the file that ships: what the target's engine runs fastest, and no more."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import Sequential
from onnx_ir.passes.common import (
    DeduplicateInitializersPass,
    NameFixPass,
    RemoveUnusedNodesPass,
    ShapeInferencePass,
    TopologicalSortPass,
)

from edgegan.compress.half import to_half
from edgegan.compress.onnx_graph import plain_prelu, tidy
from edgegan.compress.operators import MOVES
from edgegan.runtime.contract import Contract
from edgegan.target import Target


def deploy(model: onnx.ModelProto, target: Target, contract: Contract) -> onnx.ModelProto:
    """Return `model` ready to ship: the same function, in the form that the target's engine likes best.

    Args:
        model: the exported Q/DQ model; no two of its layers have one name.
        target: one with an INT8 scheme.
        contract: whose samples say what stays in float32, where the rest is in float16.
    """
    assert target.int8 is not None
    edited = ShapeInferencePass()(ir.from_proto(model)).model
    _move_bytes(edited.graph)
    _merge_slices(edited.graph)
    if target.engine == "onnxruntime":
        _repeat_by_gather(edited.graph)
        _merge_lookups(edited.graph)
        _keep_in_float(edited.graph)
        _shuffle_pixels(edited.graph)
    if target.int8.bias == "int32":
        _quantize_biases(edited.graph)
    Sequential(RemoveUnusedNodesPass(), DeduplicateInitializersPass(), TopologicalSortPass(), NameFixPass())(
        edited
    )
    deployed = tidy(ir.to_proto(edited))
    if target.engine == "onnxruntime":
        deployed = plain_prelu(deployed)
    return to_half(deployed, contract) if target.int8.rest == "fp16" else deployed


def _move_bytes(graph: ir.Graph) -> None:
    """Write DequantizeLinear, moves, QuantizeLinear of equal levels as the moves alone."""
    for node in list(graph):
        before = _producer(node.inputs[0]) if _moves(node) else None
        if before is None or before.op_type != "DequantizeLinear":
            continue
        moves = [node]
        while (reader := _only_reader(moves[-1])) is not None and _moves(reader):
            moves.append(reader)
        if reader is None or reader.op_type != "QuantizeLinear":
            continue
        if all(_same(a, b) for a, b in zip(before.inputs[1:], reader.inputs[1:], strict=True)):
            node.replace_input_with(0, before.inputs[0])
            for move in moves:
                move.outputs[0].type = before.inputs[0].type  # pyright: ignore[reportOptionalMemberAccess]
            reader.outputs[0].replace_all_uses_with(moves[-1].outputs[0])
            graph.remove(reader, safe=True)
            if not before.outputs[0].consumers():
                graph.remove(before, safe=True)


def _moves(node: ir.Node) -> bool:
    """Whether what a node gives is made of values that it takes: no zeros of its own, and none in between.

    Engines bring MaxPool to bytes themselves, and Split gives several values.
    """
    if node.op_type == "Pad":
        return node.attributes.get_string("mode", "constant") != "constant"
    if node.op_type == "Resize":
        return node.attributes.get_string("mode", "nearest") == "nearest"
    return node.op_type in MOVES.onnx and node.op_type not in ("MaxPool", "Split")


def _only_reader(node: ir.Node) -> ir.Node | None:
    readers = list(node.outputs[0].consumers())
    return readers[0] if len(readers) == 1 and readers[0].inputs[0] is node.outputs[0] else None


def _merge_slices(graph: ir.Graph) -> None:
    """Write slices along one axis after another as one."""
    for node in list(graph):
        before = _producer(node.inputs[0]) if node.op_type == "Slice" else None
        if before is None or before.op_type != "Slice" or len(before.outputs[0].consumers()) != 1:
            continue
        first, second = ([_constant(value) for value in of.inputs[1:]] for of in (before, node))
        if len(first) != 4 or len(second) != 4 or any(part is None for part in (*first, *second)):
            continue
        if set(np.asarray(first[2]).tolist()) & set(np.asarray(second[2]).tolist()):
            continue
        names = (f"{node.name}.{part}" for part in ("starts", "ends", "axes", "steps"))
        for index, name in enumerate(names):
            merged = np.concatenate([first[index], second[index]])  # pyright: ignore
            node.replace_input_with(index + 1, _add_constant(graph, name, merged))
        node.replace_input_with(0, before.inputs[0])
        graph.remove(before, safe=True)


def _shuffle_pixels(graph: ir.Graph) -> None:
    """Write DepthToSpace on bytes as a transposition of whole pixels, with channels last.

    ONNX Runtime's DepthToSpace goes byte by byte between two transpositions of its own, since its INT8
    convolutions have channels last. The Conv before it gives the channels in the order that this takes: first
    those of the block's first pixel.
    """
    for node in list(graph):
        layer = _layer_in_bytes(node) if node.op_type == "DepthToSpace" else None
        size = node.inputs[0].shape if node.inputs[0] else None
        if layer is None or size is None or not all(isinstance(length, int) for length in size[1:]):
            continue
        block, (depth, height, width) = node.attributes["blocksize"].as_int(), map(int, size[1:])  # pyright: ignore
        channels = depth // block**2
        _reorder_channels(graph, layer, np.arange(depth).reshape(channels, -1).T.ravel())
        steps: list[ir.Node] = []
        for operator, by in (
            ("Transpose", [0, 2, 3, 1]),
            ("Reshape", [-1, height, width, block, block * channels]),
            ("Transpose", [0, 1, 3, 2, 4]),
            ("Reshape", [-1, height * block, width * block, channels]),
            ("Transpose", [0, 3, 1, 2]),
        ):
            source = steps[-1].outputs[0] if steps else node.inputs[0]
            if operator == "Transpose":
                steps.append(ir.node(operator, [source], {"perm": by}))
            else:
                shape = _add_constant(graph, f"shape_{'_'.join(map(str, by[1:]))}", np.array(by))
                steps.append(ir.node(operator, [source, shape]))
        graph.insert_before(node, steps)
        node.outputs[0].replace_all_uses_with(steps[-1].outputs[0])
        graph.remove(node, safe=True)


def _layer_in_bytes(node: ir.Node) -> ir.Node | None:
    """Return the Conv, with quantized weights, whose levels the DepthToSpace `node` alone reads."""
    levels = _producer(node.inputs[0])
    if node.attributes.get_string("mode") != "CRD" or levels is None or levels.op_type != "QuantizeLinear":
        return None
    layer = _producer(levels.inputs[0])
    if layer is None or layer.op_type != "Conv" or layer.attributes.get_int("group", 1) != 1:
        return None
    weight = _producer(layer.inputs[1])
    alone = all(len(of.outputs[0].consumers()) == 1 for of in (levels, layer))
    return layer if alone and weight is not None and weight.op_type == "DequantizeLinear" else None


def _reorder_channels(graph: ir.Graph, layer: ir.Node, order: NDArray[np.intp]) -> None:
    """Let a Conv with quantized weights and a float bias give its channels in another order."""
    read = _producer(layer.inputs[1])
    assert read is not None
    parts = [np.asarray(_constant(value))[order] for value in read.inputs]
    names = (f"{layer.name}.shuffled_{part}" for part in ("levels", "scale", "zero"))
    values = [_add_constant(graph, name, part) for name, part in zip(names, parts)]
    reordered = ir.node("DequantizeLinear", values, {"axis": 0})
    graph.insert_before(layer, reordered)
    layer.replace_input_with(1, reordered.outputs[0])
    if len(layer.inputs) > 2:
        bias = np.asarray(_constant(layer.inputs[2]))[order]
        layer.replace_input_with(2, _add_constant(graph, f"{layer.name}.shuffled_bias", bias))


def _repeat_by_gather(graph: ir.Graph) -> None:
    """Write nearest-neighbour enlargement as two look-ups, along rows and pixels with channels last.

    ONNX Runtime's Resize goes byte by byte there, and Gather copies whole pixels and rows.
    """
    for node in list(graph):
        if node.op_type != "Resize" or node.attributes.get_string("mode") != "nearest":
            continue
        scales = _constant(node.inputs[2]) if len(node.inputs) > 2 else None
        size = node.inputs[0].shape if node.inputs[0] else None
        if scales is None or len(scales) != 4 or (scales != scales.astype(int)).any() or size is None:
            continue
        if tuple(scales[:2]) != (1, 1) or not all(isinstance(length, int) for length in size[2:]):
            continue
        steps = [ir.node("Transpose", [node.inputs[0]], {"perm": [0, 2, 3, 1]})]
        for axis in (2, 1):
            length, times = int(size[axis + 1]), int(scales[axis + 1])  # pyright: ignore[reportArgumentType]
            index = _add_constant(graph, f"repeat_{length}_{times}", np.arange(length * times) // times)
            steps.append(ir.node("Gather", [steps[-1].outputs[0], index], {"axis": axis}))
        steps.append(ir.node("Transpose", [steps[-1].outputs[0]], {"perm": [0, 3, 1, 2]}))
        graph.insert_before(node, steps)
        node.outputs[0].replace_all_uses_with(steps[-1].outputs[0])
        graph.remove(node, safe=True)


def _keep_in_float(graph: ir.Graph) -> None:
    """Read the levels that a float layer takes as numbers, with their scale in its weights.

    Since 1.21, ONNX Runtime quantizes the float weights of any layer that it finds between DequantizeLinear
    and QuantizeLinear: by 8 bits, and by one scale for all channels.
    """
    for node in list(graph):
        if node.op_type not in ("Conv", "Gemm"):
            continue
        read, weight = _producer(node.inputs[0]), _constant(node.inputs[1])
        if weight is None or read is None or read.op_type != "DequantizeLinear" or not _is_quantized(node):
            continue
        scale, zero = (np.asarray(_constant(value), np.float32) for value in read.inputs[1:])
        steps = [ir.node("Cast", [read.inputs[0]], {"to": int(ir.DataType.FLOAT)})]
        if zero.any():
            steps.append(
                ir.node("Sub", [steps[0].outputs[0], _add_constant(graph, f"{node.name}.zero", zero)])
            )
        graph.insert_before(node, steps)
        node.replace_input_with(0, steps[-1].outputs[0])
        scaled = _add_constant(graph, f"{node.name}.scaled_weight", np.asarray(weight, np.float32) * scale)
        node.replace_input_with(1, scaled)


def _is_quantized(node: ir.Node) -> bool:
    """Whether what `node` gives is rounded to levels, at once or at the end of a path without branches."""
    readers = list(node.outputs[0].consumers())
    if len(readers) != 1:
        return False
    return readers[0].op_type == "QuantizeLinear" or _is_quantized(readers[0])


def _quantize_biases(graph: ir.Graph) -> None:
    """Store the bias of each layer with quantized input and weight as int32, in the units of the products."""
    for node in list(graph):
        if node.op_type not in ("Conv", "Gemm") or len(node.inputs) < 3:
            continue
        sources = [_producer(value) for value in node.inputs[:2]]
        bias = _constant(node.inputs[2])
        if bias is None or any(source is None or source.op_type != "DequantizeLinear" for source in sources):
            continue
        scale = np.float32(1)
        for source in sources:
            scale = scale * np.asarray(_constant(source.inputs[1] if source else None), np.float32)
        levels = np.clip(np.rint(bias.astype(np.float64) / scale), -(2**31), 2**31 - 1).astype(np.int32)
        values = [
            _add_constant(graph, f"{node.name}.bias_levels", levels),
            _add_constant(graph, f"{node.name}.bias_scale", np.broadcast_to(scale, levels.shape).copy()),
        ]
        read = ir.node("DequantizeLinear", values, {"axis": 0})
        graph.insert_before(node, read)
        node.replace_input_with(2, read.outputs[0])


def _merge_lookups(graph: ir.Graph) -> None:
    """Read all tables with one row a label by a single Gather, and split what it gives along the channels."""
    lookups: dict[tuple[object, ...], list[ir.Node]] = defaultdict(list)
    for node in graph:
        if node.op_type != "Gather" or node.attributes.get_int("axis", 0) != 0:
            continue
        table = _constant(node.inputs[0])
        if table is not None and table.ndim >= 2 and table.dtype == np.float32:
            lookups[(node.inputs[1], len(table), *table.shape[2:])].append(node)
    for (index, *_), nodes in lookups.items():
        if len(nodes) < 2:
            continue
        tables = [np.asarray(_constant(node.inputs[0])) for node in nodes]
        merged = _add_constant(graph, f"{index.name}_tables", np.concatenate(tables, axis=1))  # pyright: ignore
        sizes = np.array([table.shape[1] for table in tables])
        row = ir.node("Gather", [merged, index], {"axis": 0})  # pyright: ignore[reportArgumentType]
        parts = ir.node(
            "Split",
            [row.outputs[0], _add_constant(graph, f"{index.name}_channels", sizes)],  # pyright: ignore
            {"axis": 1},
            num_outputs=len(nodes),
        )
        graph.insert_before(nodes[0], [row, parts])
        for node, part in zip(nodes, parts.outputs):
            node.outputs[0].replace_all_uses_with(part)
            graph.remove(node, safe=True)


def _producer(value: ir.Value | None) -> ir.Node | None:
    return value.producer() if value is not None else None


def _constant(value: ir.Value | None) -> NDArray[np.generic] | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor.numpy() if tensor is not None else None


def _same(a: ir.Value | None, b: ir.Value | None) -> bool:
    return a is b or np.array_equal(np.asarray(_constant(a)), np.asarray(_constant(b)))


def _add_constant(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    if name not in graph.initializers:
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        graph.register_initializer(value)
    return graph.initializers[name]
