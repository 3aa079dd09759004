"""Small edits of ONNX files: write one, tidy one, give it a uint8 image output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgegan.files import write_bytes
from edgegan.runtime.contract import Contract


def save(model: onnx.ModelProto, path: Path) -> None:
    """Check `model` and write it to `path` atomically, weights inside.

    Raises:
        StorageError: the file cannot be written.
    """
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, model.SerializeToString(deterministic=True))


def opset(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that `model` uses."""
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` without what no engine needs: doc strings, metadata, shapes of inner tensors."""
    tidied = onnx.ModelProto()
    tidied.CopyFrom(model)
    graph = tidied.graph
    for holder in (tidied, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        holder.ClearField("doc_string")
        holder.ClearField("metadata_props")
    graph.ClearField("value_info")
    return tidied


def plain_prelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with each PRelu of constant slopes in operators of the same value that run faster.

    One slope for all makes a LeakyRelu, which engines merge into the layer before it; several make
    max(x, 0) + slope * min(x, 0). ONNX Runtime's PRelu goes value by value, and can take longer than the INT8
    convolutions around it.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    slopes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        slope = slopes.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None:
            nodes.append(node)
        elif slope.size == 1:
            alpha = float(slope.item())
            nodes.append(helper.make_node("LeakyRelu", node.input[:1], node.output, node.name, alpha=alpha))
        else:
            nodes += _parts_of_prelu(node, f"zero_{slope.dtype}")
            if not any(tensor.name == f"zero_{slope.dtype}" for tensor in graph.initializer):
                zero = np.zeros((), slope.dtype)
                graph.initializer.append(numpy_helper.from_array(zero, f"zero_{slope.dtype}"))
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused_initializers(graph)
    return changed


def _parts_of_prelu(node: onnx.NodeProto, zero: str) -> list[onnx.NodeProto]:
    (source, slope), (result,) = node.input, node.output
    above, below, scaled = (f"{result}_{part}" for part in ("above", "below", "scaled"))
    steps = [
        ("Relu", [source], above),
        ("Min", [source, zero], below),
        ("Mul", [below, slope], scaled),
        ("Add", [above, scaled], result),
    ]
    return [
        helper.make_node(operator, operands, [target], f"node_{target}")
        for operator, operands, target in steps
    ]


def _drop_unused_initializers(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {port.name for port in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def with_uint8_outputs(model: onnx.ModelProto, contract: Contract) -> onnx.ModelProto:
    """Return `model` with every output that a file can encode as its modality's uint8 `levels`, as images as
    (N, H, W, C), under the same name.

    The arithmetic is that of `edgegan.runtime.modality`: scale, clip to 0..255, round half to even.
    An output that is uint8 already stays as it is.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for spec in contract.outputs:
        output = next(value for value in graph.output if value.name == spec.name)
        levels = spec.modality.levels(spec)
        if levels is None or output.type.tensor_type.elem_type == TensorProto.UINT8:
            continue
        source = f"{spec.name}_float"
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [source if name == spec.name else name for name in names]
        low, high = spec.range
        constants = {"low": low, "scale": 255.0 / (high - low), "zero": 0.0, "full": 255.0}
        named = {key: f"{spec.name}_{key}" for key in constants}
        graph.initializer.extend(
            numpy_helper.from_array(np.array(value, np.float32), named[key])
            for key, value in constants.items()
        )
        steps = [
            ("Sub", [named["low"]], {}),
            ("Mul", [named["scale"]], {}),
            ("Clip", [named["zero"], named["full"]], {}),
            ("Round", [], {}),
            ("Transpose", [], {"perm": levels.order}),
            ("Cast", [], {"to": TensorProto.UINT8}),
        ]
        for position, (operator, operands, attributes) in enumerate(steps):
            last = position == len(steps) - 1
            target = spec.name if last else f"{spec.name}_{operator.lower()}"
            graph.node.append(
                helper.make_node(operator, [source, *operands], [target], name=f"node_{target}", **attributes)
            )
            source = target
        sizes = [size.dim_param or size.dim_value for size in output.type.tensor_type.shape.dim]
        turned = [sizes[axis] for axis in levels.order]
        output.CopyFrom(helper.make_tensor_value_info(spec.name, TensorProto.UINT8, turned))
    return changed
