"""Engines that run on a real GPU: outputs, CUDA graphs, turns, the inspector, a bundle end to end."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these tests make ONNX models")

import tensorrt_models as made

from edgegan.errors import EngineFallback, InputError, ModelError
from edgegan.runtime import Bundle, Contract, Generator, write_bundle
from edgegan.runtime.contract import Input, Output, Sample
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.runtime.engines.tensorrt.build import build_engine
from edgegan.runtime.engines.tensorrt.bundle_engines import build_engines
from edgegan.runtime.engines.tensorrt.cuda import gpu
from edgegan.runtime.engines.tensorrt.engine import TensorRTEngine
from edgegan.runtime.engines.tensorrt.module import find

GPU, TENSORRT = gpu(), find()
pytestmark = pytest.mark.skipif(
    GPU is None or TENSORRT is None or not TENSORRT.takes(GPU.compute_capability),
    reason="this machine has no NVIDIA GPU, or no TensorRT that takes it",
)
CONTRACT = Contract(
    (Input("z", (4,)), Input("label", (), "int64", Sample("labels", classes=10))),
    (Output("image", (16, 6, 6), layout=""),),
)
RNG = np.random.default_rng(1)


def agree(model: bytes, inputs: dict, output: str, tolerance: float, *, cuda_graph: bool) -> None:
    with (
        TensorRTEngine(build_engine(model).plan, cuda_graph=cuda_graph) as engine,
        OnnxRuntimeEngine(model) as reference,
    ):
        assert engine.inputs == reference.inputs
        assert engine.outputs.keys() == reference.outputs.keys()
        for n in (1, 3, 16, 1, 40, 3):
            batch = {name: array[:n] for name, array in inputs.items()}
            got, expected = engine(batch)[output], reference(batch)[output]
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 5e-3), ("float16", 3e-2)])
def test_a_generators_outputs_are_those_of_onnxruntime(
    dtype: str, tolerance: float, cuda_graph: bool
) -> None:
    agree(made.generator(dtype), CONTRACT.sample(40, 0), "image", tolerance, cuda_graph=cuda_graph)


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_int8_outputs_are_those_of_onnxruntime(cuda_graph: bool) -> None:
    x = RNG.standard_normal((40, 8, 6, 6)).astype(np.float32)
    agree(made.quantized(), {"x": x}, "y", 1e-3, cuda_graph=cuda_graph)


def test_pixels_leave_as_uint8() -> None:
    x = RNG.random((40, 4)).astype(np.float32)
    agree(made.pixels(), {"x": x}, "y", 0, cuda_graph=False)


def test_the_inspector_says_what_the_builder_said() -> None:
    built = build_engine(made.quantized())
    with TensorRTEngine(built.plan) as engine:
        seen = [layer for layer in engine.layers() if "conv" in layer.nodes and layer.precision == "int8"]
    assert seen
    assert "int8" in {layer.precision for layer in built.layers if "conv" in layer.nodes}


def test_two_engines_share_the_gpu_and_close_twice() -> None:
    plan = build_engine(made.quantized()).plan
    x = np.ones((2, 8, 6, 6), np.float32)
    first, second = TensorRTEngine(plan), TensorRTEngine(plan, cuda_graph=True)
    np.testing.assert_array_equal(first({"x": x})["y"], second({"x": x})["y"])
    first.close()
    first.close()
    np.testing.assert_array_equal(second({"x": x})["y"], second({"x": x})["y"])
    second.close()
    with pytest.raises(InputError, match="closed"):
        first({"x": x})


@pytest.mark.parametrize("plan", [b"", b"not an engine", bytes(4096)])
def test_what_is_no_engine(plan: bytes) -> None:
    with pytest.raises(ModelError, match="cannot load the engine"):
        TensorRTEngine(plan)


def test_a_batch_below_the_least() -> None:
    plan = build_engine(made.quantized(), batches=(4, 4, 8)).plan
    with TensorRTEngine(plan) as engine, pytest.raises(ModelError, match="does not take 'x'"):
        engine({"x": np.ones((2, 8, 6, 6), np.float32)})


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "fp32.onnx").write_bytes(made.generator())
    return write_bundle(
        tmp_path / "bundle",
        name="small",
        contract=CONTRACT,
        models={"fp32": tmp_path / "fp32.onnx"},
        default="fp32",
    )


def test_a_bundle_is_built_stored_and_loaded(bundle: Bundle) -> None:
    expected = Generator.load(bundle.folder, engine="onnxruntime")(n=20, seed=3)
    with pytest.warns(EngineFallback, match="has no engine .*: built one from"):
        unstored = Generator.load(bundle.folder, engine="tensorrt")
    np.testing.assert_allclose(unstored(n=20, seed=3), expected, atol=5e-3)
    (stored,) = build_engines(bundle.folder)
    assert stored.entry.precision == "fp32"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for engine in ("tensorrt", "auto"):
            generator = Generator.load(bundle.folder, engine=engine, trust_engines=True)
            assert generator.engine.name.startswith("tensorrt")
            assert generator.engine_notes == ()
            np.testing.assert_allclose(generator(n=20, seed=3), expected, atol=5e-3)


def test_a_damaged_plan_with_a_true_hash_gives_way(bundle: Bundle) -> None:
    (stored,) = build_engines(bundle.folder)
    Bundle.open(bundle.folder).add_engines({stored.entry: b"damaged"})
    with pytest.warns(EngineFallback, match="cannot load the engine"):
        generator = Generator.load(bundle.folder, trust_engines=True)
    assert generator.engine.name.startswith("onnxruntime")
    with pytest.warns(EngineFallback, match="built one from"):
        generator = Generator.load(bundle.folder, engine="tensorrt", trust_engines=True)
    assert generator.engine.name.startswith("tensorrt")
