"""Small ONNX models for TensorRT, and ones that it must refuse. Needs onnx."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 20, 10
RNG = np.random.default_rng(0)
WEIGHTS = (RNG.standard_normal((16, 8, 3, 3)) * 0.1).astype(np.float32)
CODE = RNG.standard_normal((4, 8 * 6 * 6)).astype(np.float32)
BIASES = RNG.standard_normal((10, 1)).astype(np.float32)


def generator(dtype: str = "float32") -> bytes:
    """z (N, 4), label (N,) -> image (N, 16, 6, 6) = tanh(conv(z CODE + bias[label])) in `dtype` within."""
    half = [("z", "z0"), ("label_bias", "bias")] if dtype == "float16" else []
    nodes = [
        helper.make_node("Gather", ["BIASES", "label"], ["label_bias" if half else "bias"], name="embed")
    ]
    nodes += [helper.make_node("Cast", [source], [made], to=TensorProto.FLOAT16) for source, made in half]
    nodes += [
        helper.make_node("MatMul", ["z0" if half else "z", "CODE"], ["mixed"], name="linear"),
        helper.make_node("Add", ["mixed", "bias"], ["sum"], name="add"),
        helper.make_node("Reshape", ["sum", "shape"], ["plane"], name="reshape"),
        helper.make_node("Conv", ["plane", "WEIGHTS"], ["raw"], name="conv", pads=[1] * 4),
        helper.make_node("Tanh", ["raw"], ["half" if half else "image"], name="tanh"),
    ]
    if half:
        nodes.append(helper.make_node("Cast", ["half"], ["image"], to=TensorProto.FLOAT))
    constants = {"CODE": CODE.astype(dtype), "WEIGHTS": WEIGHTS.astype(dtype), "BIASES": BIASES}
    inputs = [value("z", TensorProto.FLOAT, 4), value("label", TensorProto.INT64)]
    outputs = [value("image", TensorProto.FLOAT, 16, 6, 6)]
    return model(nodes, inputs, outputs, {**constants, "shape": np.array([-1, 8, 6, 6])})


def quantized(zero: int = 0, dtype: str = "int8", *, bias: bool = False) -> bytes:
    """x (N, 8, 6, 6) -> y (N, 16, 6, 6): a convolution with Q/DQ on its input and weights, per channel."""
    scales = np.abs(WEIGHTS).max((1, 2, 3)) / 127
    constants = {
        "scale": np.float32(0.02),
        "zero": np.array(zero, dtype),
        "weights": np.rint(WEIGHTS / scales[:, None, None, None]).astype(np.int8),
        "scales": scales.astype(np.float32),
        "zeros": np.zeros(16, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="dequantize"),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["w"], axis=0, name="weight"),
    ]
    if bias:
        constants |= {"bias": np.arange(16, dtype=np.int32), "bias_zero": np.zeros(16, np.int32)}
        nodes.append(
            helper.make_node("DequantizeLinear", ["bias", "scales", "bias_zero"], ["b"], axis=0, name="bias")
        )
    nodes.append(
        helper.make_node("Conv", ["d", "w", *(["b"] if bias else [])], ["y"], name="conv", pads=[1] * 4)
    )
    inputs, outputs = [value("x", TensorProto.FLOAT, 8, 6, 6)], [value("y", TensorProto.FLOAT, 16, 6, 6)]
    return model(nodes, inputs, outputs, constants)


def pixels() -> bytes:
    """x (N, 4) -> y (N, 4) uint8: what `output: uint8` ends in."""
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["y"], to=TensorProto.UINT8),
    ]
    inputs, outputs = [value("x", TensorProto.FLOAT, 4)], [value("y", TensorProto.UINT8, 4)]
    return model(nodes, inputs, outputs, {"scale": np.float32(255)})


def unknown() -> bytes:
    """A node that no TensorRT knows."""
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], name="odd", domain="example.org")]
    return model(nodes, [value("x", TensorProto.FLOAT, 4)], [value("y", TensorProto.FLOAT, 4)], {})


def relu(*shape: int | str) -> bytes:
    """x -> y of `shape`, the batch axis included."""
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("x", "y"))
    return model(nodes, inputs, outputs, {})


def value(name: str, dtype: int, *shape: int):
    return helper.make_tensor_value_info(name, dtype, ["N", *shape])


def model(nodes: list, inputs: list, outputs: list, constants: dict) -> bytes:
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "made", inputs, outputs, initializers)
    sets = [helper.make_opsetid("", OPSET), helper.make_opsetid("example.org", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=IR_VERSION).SerializeToString()
