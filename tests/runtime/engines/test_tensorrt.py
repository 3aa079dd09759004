"""What of TensorRT needs neither TensorRT nor a GPU: versions, names, types, shapes, descriptions."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegan.errors import InputError, MissingDependency, ModelError
from edgegan.runtime.engines.base import Port, fitted
from edgegan.runtime.engines.tensorrt import cuda
from edgegan.runtime.engines.tensorrt.build import slug, timing_file
from edgegan.runtime.engines.tensorrt.cuda import Gpu
from edgegan.runtime.engines.tensorrt.layers import layers
from edgegan.runtime.engines.tensorrt.module import NAMES, Name, describe, find, require

PORTS = {"z": Port("float32", (None, 4)), "label": Port("int64", (None,))}
INPUTS = {"z": np.ones((3, 4), np.float32), "label": np.arange(3)}

RTX = """Layers:
Name: __mye103_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , Metadata: 
Name: conv_myl0_2, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [-1,4,8,8], Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ { Name: w, Dimensions: [8,4,3,3], Datatype: Float, Format: x }], Outputs: [ { Name: b, Dimensions: [-1,8,8,8], Datatype: Half, Format: x }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: conv[0]]\x1f[ONNX Layer: dx]

I/O Tensors:
 Name: x, IOMode: Input, DataType: Float, Dimensions: [-1,3,8,8]
"""  # noqa: E501, W291
OLDER = (
    "Layers:\n"
    "Name: conv1 + relu, LayerType: CaskConvolution, Inputs: [ { Name: q, Dimensions: [1,3], "
    "Format/Datatype: Thirty-two wide channel vectorized row major Int8 format }], "
    "Outputs: [ { Name: y, Format/Datatype: Row major linear FP16 format }], TacticValue: 0x1\n"
)


def test_descriptions_of_all_versions_are_read() -> None:
    call, conv = layers(RTX)
    assert (call.kind, call.inputs, call.precision) == ("shape_call", (), "")
    assert (conv.name, conv.kind) == ("conv_myl0_2", "correlation")
    assert (conv.inputs, conv.outputs, conv.precision) == (("int8",), ("float16",), "int8")
    assert conv.nodes == ("conv[0]", "dx")
    (old,) = layers(OLDER)
    assert (old.name, old.inputs, old.outputs) == ("conv1 + relu", ("int8",), ("float16",))


def test_indices_are_not_what_a_layer_computes_in() -> None:
    text = "Name: g, LayerType: kgen, Inputs: [ {{ Datatype: Int64, }}{0}], Outputs: [], Metadata: \n"
    assert layers(text.format(", { Datatype: Float, }"))[0].precision == "float32"
    assert layers(text.format(""))[0].precision == "int64"


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    for layer in layers(text):
        assert layer.name is not None


@pytest.mark.parametrize(
    ("name", "version", "strong", "batch", "int64", "timings", "portable"),
    [
        ("tensorrt", (8, 6, 1), False, True, False, True, False),
        ("tensorrt", (10, 3, 0), True, False, True, True, False),
        ("tensorrt", (11, 4, 1), True, False, True, True, False),
        ("tensorrt_rtx", (1, 7, 1, 116), True, False, True, False, True),
    ],
)
def test_what_each_version_is_capable_of(
    name, version, strong: bool, batch: bool, int64: bool, timings: bool, portable: bool
) -> None:
    trt = describe(None, name, version)
    got = (trt.strong_typing, trt.explicit_batch, trt.int64, trt.timing_cache, trt.portable)
    assert got == (strong, batch, int64, timings, portable)
    assert trt.text == f"{name} {'.'.join(map(str, version))}"


def test_a_stub_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    for stub in (types.ModuleType("tensorrt"), None):
        monkeypatch.setitem(sys.modules, "tensorrt", stub)
        assert find() is None
        with pytest.raises(MissingDependency, match=r"pip install 'edgegan\[tensorrt\]'"):
            require()


@pytest.mark.parametrize("name", NAMES)
def test_jetpacks_own_comes_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in NAMES:
        monkeypatch.setitem(sys.modules, other, None)
    module = types.SimpleNamespace(__version__="10.3.0.post1", Builder=1, OnnxParser=1, Runtime=1)
    monkeypatch.setitem(sys.modules, name, module)
    found = find()
    assert found is not None
    assert (found.name, found.version) == (name, (10, 3, 0, 1))


def test_without_cuda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cuda.MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency, match=r"cuda-bindings is not installed.*\n.*edgegan\[tensorrt\]"):
        cuda.Cuda()
    assert cuda.gpu() is None


def test_inputs_that_fit_pass_through() -> None:
    assert fitted(INPUTS, PORTS) == INPUTS


@pytest.mark.parametrize(
    ("changed", "error", "what"),
    [
        ({"z": None}, InputError, r"inputs are \['label', 'z'\], not \['label'\]"),
        ({"z": np.ones((3, 4))}, ModelError, r"'z' is float64 \(3, 4\), not float32 \(None, 4\)"),
        ({"z": np.ones((3, 5), np.float32)}, ModelError, r"\(3, 5\), not"),
        ({"z": np.ones(3, np.float32)}, ModelError, r"\(3,\), not"),
        ({"label": np.arange(3, dtype=np.int32)}, ModelError, "int32"),
        ({"label": np.arange(2)}, ModelError, r"batches of \{'z': 3, 'label': 2\}"),
        ({"z": np.ones((0, 4), np.float32), "label": np.arange(0)}, ModelError, "batches of"),
    ],
)
def test_inputs_that_do_not_fit(changed: dict, error: type[Exception], what: str) -> None:
    inputs = {name: array for name, array in {**INPUTS, **changed}.items() if array is not None}
    with pytest.raises(error, match=what):
        fitted(inputs, PORTS)


@given(st.text())
def test_any_name_of_a_gpu_is_a_safe_part_of_a_file_name(name: str) -> None:
    assert set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len(slug(name)) <= 32


def test_timings_are_of_one_version_and_gpu() -> None:
    gpu, other = Gpu("NVIDIA GeForce RTX 4070", "8.9"), Gpu("Orin", "8.7")
    ten, eight = describe(None, "tensorrt", (10, 3, 0)), describe(None, "tensorrt", (8, 6, 1))
    names = {timing_file(trt, device) for trt in (ten, eight) for device in (gpu, other)}
    assert len(names) == 4
    assert "timing-tensorrt-10.3.0-nvidia-geforce-rtx-4070-8.9.bin" in names


@pytest.mark.parametrize(
    ("name", "capability", "takes"),
    [
        ("tensorrt_rtx", "8.9", True),
        ("tensorrt_rtx", "12.1", True),
        ("tensorrt_rtx", "9.0", False),
        ("tensorrt_rtx", "8.7", False),
        ("tensorrt", "8.7", True),
        ("tensorrt", "9.0", True),
    ],
)
def test_which_gpus_a_module_takes(name: Name, capability: str, takes: bool) -> None:
    assert describe(None, name, (10, 3, 0)).takes(capability) is takes
