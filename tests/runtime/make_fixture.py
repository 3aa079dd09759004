"""Makes the small models in `models/`, which the tests load where there is no onnx: `python make_fixture.py`.

labelled.onnx          z (N, 4), label (N,) -> image (N, 3, 2, 4) = tanh(z W + b[label]), in [-1, 1]
labelled.uint8.onnx    the same, image as uint8 (N, 2, 4, 3)
two_outputs.onnx       the same image, and `code` = z as float16
fixed_batch.onnx       labelled.onnx, for batches of 2 only
external.onnx          an initializer whose values are in another folder
external_nested.onnx   the same, for an attribute within a subgraph
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent / "models"
OPSET, IR_VERSION = 17, 8


def models() -> dict[str, onnx.ModelProto]:
    return {
        "labelled": _model(_labelled(), [_image()]),
        "labelled.uint8": _model([*_labelled("float"), *_to_uint8()], [_image_uint8()]),
        "two_outputs": _model([*_labelled(), _half()], [_image(), _value("code", TensorProto.FLOAT16, 4)]),
        "fixed_batch": _model(_labelled(), [_image(2)], batch=2),
        "external": _external(),
        "external_nested": _external_nested(),
    }


def _model(nodes: list, outputs: list, batch: int | str = "N") -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    constants = {
        "W": rng.standard_normal((4, 24)).astype(np.float32),
        "b": rng.standard_normal((10, 1)).astype(np.float32),
        "shape": np.array([-1, 3, 2, 4]),
        "one": np.float32(1),
        "half": np.float32(127.5),
    }
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "labelled",
        [_value("z", TensorProto.FLOAT, 4, batch=batch), _value("label", TensorProto.INT64, batch=batch)],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _value(name: str, dtype: int, *shape: int, batch: int | str = "N") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, [batch, *shape])


def _image(batch: int | str = "N") -> onnx.ValueInfoProto:
    return _value("image", TensorProto.FLOAT, 3, 2, 4, batch=batch)


def _image_uint8() -> onnx.ValueInfoProto:
    return _value("image", TensorProto.UINT8, 2, 4, 3)


def _labelled(output: str = "image") -> list[onnx.NodeProto]:
    return [
        helper.make_node("MatMul", ["z", "W"], ["mixed"]),
        helper.make_node("Gather", ["b", "label"], ["bias"]),
        helper.make_node("Add", ["mixed", "bias"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], [output]),
    ]


def _to_uint8() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Add", ["float", "one"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "half"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["rounded"]),
        helper.make_node("Transpose", ["rounded"], ["turned"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["turned"], ["image"], to=TensorProto.UINT8),
    ]


def _half() -> onnx.NodeProto:
    return helper.make_node("Cast", ["z"], ["code"], to=TensorProto.FLOAT16)


def _elsewhere(name: str) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4, 24])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret.bin")
    return tensor


def _external() -> onnx.ModelProto:
    model = _model(_labelled(), [_image()])
    model.graph.initializer[0].CopyFrom(_elsewhere("W"))
    return model


def _external_nested() -> onnx.ModelProto:
    constant = helper.make_node("Constant", [], ["branch"], value=_elsewhere("hidden"))
    branch = helper.make_graph([constant], "branch", [], [_value("branch", TensorProto.FLOAT, 24)])
    model = _model(_labelled(), [_image()])
    model.graph.node.append(
        helper.make_node("If", ["label"], ["unused"], then_branch=branch, else_branch=branch)
    )
    return model


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, model in models().items():
        (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
