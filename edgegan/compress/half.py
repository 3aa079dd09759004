"""Float16 files: which operators have to stay in float32, and the conversion of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgegan.compress import memory
from edgegan.compress.onnx_graph import tidy
from edgegan.runtime.contract import Contract
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

LARGEST = 65504.0
MARGIN = 4.0
"""Other inputs reach further than the contract's samples: what passes a quarter of float16's range stays."""
BATCHES = (4, 1)
LARGEST_ANGLE = 16.0
"""Steps of float16 are a hundredth of a radian from there on."""
WAVES = ("Sin", "Cos")
SUMMING = ("CumSum", "ScatterElements", "ScatterND")
"""Operators that sum up: along an axis, where roundings add up, or in places, for which ONNX Runtime has no
float16 on CPUs."""
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN")
PRECISE = ("QuantizeLinear", "DequantizeLinear", "Cast")
"""Operators whose types say nothing of what a graph computes in."""


def to_half(
    model: onnx.ModelProto, contract: Contract, *, kept: Collection[str] = (), kinds: Collection[str] = ()
) -> onnx.ModelProto:
    """Return `model` with weights and computation in float16; inputs and outputs keep their types.

    In float32 stay the operators that read, hold or give values past a quarter of 65,504 on the contract's
    samples, waves of large angles with what makes these of layers' outputs, those named `kept`, those of the
    given `kinds` and of `SUMMING`, and those that ONNX has in float32 alone.
    """
    from onnx_ir.passes.common import TopologicalSortPass
    from onnx_ir.serde import from_proto, to_proto
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    _name_nodes(copied.graph)
    _type_zeros(copied.graph)
    largest = _largest(copied, contract)
    wide = {*kept, *_overflowing(copied, largest), *_of_angles(copied.graph, largest)}
    blocked = sorted(_with_readers(wide, copied.graph))
    half = convert_float_to_float16(
        copied,
        keep_io_types=True,
        node_block_list=blocked,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *SUMMING, *kinds, *_float32_alone(model)],
    )
    _drop_repeats(half.graph)
    _skip_round_trips(half.graph)
    sorted_half = from_proto(half)
    TopologicalSortPass()(sorted_half)
    return tidy(to_proto(sorted_half))


def _float32_alone(model: onnx.ModelProto) -> set[str]:
    """Return the kinds of operators, as Celu, that take float32 in the file's opset and no float16."""
    versions = {opset.domain: opset.version for opset in model.opset_import}
    found = set[str]()
    for kind, domain in {(node.op_type, node.domain) for node in model.graph.node}:
        if onnx.defs.has(kind, domain):
            schema = onnx.defs.get_schema(kind, versions[domain], domain)
            types = {one for constraint in schema.type_constraints for one in constraint.allowed_type_strs}
            if "tensor(float)" in types and "tensor(float16)" not in types:
                found.add(kind)
    return found


def overflowing(model: onnx.ModelProto, contract: Contract) -> list[str]:
    """Return the names of the operators that read or give values past float16's range, less the margin."""
    return _overflowing(model, _largest(model, contract))


def _overflowing(model: onnx.ModelProto, largest: Mapping[str, float]) -> list[str]:
    past = {name for name, size in largest.items() if not size * MARGIN <= LARGEST}
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and (values := numpy_helper.to_array(tensor)).size:
            past |= {tensor.name} if np.abs(values).max() > LARGEST else set()
    return [node.name for node in model.graph.node if past & {*node.input, *node.output}]


def _of_angles(graph: onnx.GraphProto, largest: Mapping[str, float]) -> set[str]:
    """Return the names of waves whose angles pass `LARGEST_ANGLE`, and of what makes these out of layers."""
    makers = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    rest = [node for node in graph.node if node.op_type in WAVES]
    rest = [node for node in rest if largest.get(node.input[0], 0.0) > LARGEST_ANGLE]
    while rest:
        node = rest.pop()
        if node.name not in found and node.op_type not in LAYERS:
            found.add(node.name)
            rest += [makers[name] for name in node.input if name in makers]
    return found


def in_float32(model: onnx.ModelProto) -> list[str]:
    """Return the operators that compute in float32 in a file that computes in float16 else; [] elsewhere."""
    typed = onnx.shape_inference.infer_shapes(model)
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*typed.graph.value_info, *typed.graph.output, *typed.graph.input)
    }
    if TensorProto.FLOAT16 not in types.values():
        return []
    return [
        node.name
        for node in model.graph.node
        if node.op_type not in PRECISE and any(types.get(name) == TensorProto.FLOAT for name in node.output)
    ]


def _drop_repeats(graph: onnx.GraphProto) -> None:
    """Leave one of equal casts: onnxruntime before 1.32 writes one for each that reads it."""
    given: set[str] = set()
    for node in [node for node in graph.node if node.op_type == "Cast"]:
        if given & {*node.output}:
            graph.node.remove(node)
        given |= {*node.output}


def _skip_round_trips(graph: onnx.GraphProto) -> None:
    """Let an operator in float32 read what another gives as it is, not through float16 and back."""
    makers = {name: node for node in graph.node for name in node.output}

    def source(name: str, to: int) -> str | None:
        node = makers.get(name)
        same = node is not None and node.op_type == "Cast" and node.attribute[0].i == to
        return node.input[0] if same and node is not None else None

    for node in graph.node:
        for index, name in enumerate(node.input):
            halved = source(name, TensorProto.FLOAT)
            if halved is not None and (whole := source(halved, TensorProto.FLOAT16)) is not None:
                node.input[index] = whole
    read = {name for node in graph.node for name in node.input} | {port.name for port in graph.output}
    while idle := [node for node in graph.node if node.op_type == "Cast" and not read & {*node.output}]:
        for node in idle:
            graph.node.remove(node)
        read = {name for node in graph.node for name in node.input} | {port.name for port in graph.output}


def _with_readers(names: set[str], graph: onnx.GraphProto) -> set[str]:
    """Return `names`, and the operators that read levels for them: an engine merges the two."""
    makers = {name: node for node in graph.node for name in node.output}
    read = (makers.get(name) for node in graph.node if node.name in names for name in node.input)
    return names | {node.name for node in read if node is not None and node.op_type == "DequantizeLinear"}


def _name_nodes(graph: onnx.GraphProto) -> None:
    taken: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)


def _type_zeros(graph: onnx.GraphProto) -> None:
    """Write what ConstantOfShape fills with: the zeros that it has by itself stay float32 when converted."""
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and not node.attribute:
            zero = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
            node.attribute.append(helper.make_attribute("value", zero))


def _largest(model: onnx.ModelProto, contract: Contract) -> dict[str, float]:
    """Return value to its largest magnitude on the contract's samples, measured by the graph itself."""
    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    graph = measured.graph
    values = list(_floats(model))
    for name in values:
        graph.node.append(helper.make_node("Abs", [name], [f"{name}__size"]))
        graph.node.append(helper.make_node("ReduceMax", [f"{name}__size"], [f"{name}__largest"], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(f"{name}__largest", TensorProto.FLOAT, []))
    found = dict.fromkeys(values, 0.0)
    with OnnxRuntimeEngine(measured.SerializeToString(), threads=1, optimized=False) as engine:
        for seed, batch in enumerate(BATCHES):
            results = engine(contract.sample(memory.samples_of(contract, batch), seed))
            for name in values:
                size = float(results[f"{name}__largest"])
                found[name] = size if np.isnan(size) else max(found[name], size)
    return found


def _floats(model: onnx.ModelProto) -> Iterator[str]:
    """Yield the float32 values that operators give, and the float inputs."""
    typed = onnx.shape_inference.infer_shapes(model)
    for value in (*typed.graph.value_info, *typed.graph.output, *typed.graph.input):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            yield value.name
