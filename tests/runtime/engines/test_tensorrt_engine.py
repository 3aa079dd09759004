"""The engine's own part of running: memory, turns, graphs, types. The GPU is a fake, since none is here."""

from __future__ import annotations

import fake_gpu
import numpy as np
import pytest

from edgegan.errors import InputError, ModelError
from edgegan.runtime.engines.base import Port
from edgegan.runtime.engines.tensorrt import cuda, log
from edgegan.runtime.engines.tensorrt.engine import TensorRTEngine
from edgegan.runtime.engines.tensorrt.module import TensorRT, describe


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> fake_gpu.Runtime:
    made = fake_gpu.Runtime()
    monkeypatch.setattr(cuda, "_module", lambda: made)
    monkeypatch.setattr(log, "_LOGGERS", {})
    return made


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def trt(runtime: fake_gpu.Runtime, request: pytest.FixtureRequest) -> TensorRT:
    """TensorRT 8.6, which makes labels int32, and tensorrt_rtx."""
    if request.param == "tensorrt":
        return describe(fake_gpu.module(runtime, "INT32"), "tensorrt", (8, 6, 1))
    return describe(fake_gpu.module(runtime, "INT64"), "tensorrt_rtx", (1, 7, 1, 116))


def batch(n: int) -> dict[str, np.ndarray]:
    return {"x": np.arange(n * 3, dtype=np.float32).reshape(n, 3), "l": np.arange(n)}


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_any_batch_goes_through_and_all_memory_is_given_back(
    runtime: fake_gpu.Runtime, trt: TensorRT, cuda_graph: bool
) -> None:
    with TensorRTEngine(b"plan", trt=trt, cuda_graph=cuda_graph) as engine:
        assert engine.inputs == {"x": Port("float32", (None, 3)), "l": Port("int64", (None,))}
        assert engine.outputs == {"y": Port("uint8", (None, 3))}
        for n in (1, 3, 4, 10, 3):
            y = engine(batch(n))["y"]
            assert y.dtype == np.uint8
            np.testing.assert_array_equal(y, batch(n)["x"] + batch(n)["l"][:, None])
    assert (runtime.memory, runtime.streams, runtime.graphs) == ({}, 0, 0)
    sizes = {"run": 7, "graph": 0} if not cuda_graph else {"run": 4, "graph": 3}
    assert {kind: runtime.ran.count(kind) for kind in ("run", "graph")} == sizes


def test_the_engines_name_says_version_gpu_and_graph(trt: TensorRT) -> None:
    with (
        TensorRTEngine(b"plan", trt=trt) as plain,
        TensorRTEngine(b"plan", trt=trt, cuda_graph=True) as graph,
    ):
        assert plain.name == f"{trt.text} Fake GPU"
        assert graph.name == f"{trt.text} Fake GPU CUDA graph"


def test_what_the_engine_refuses(trt: TensorRT, runtime: fake_gpu.Runtime) -> None:
    with pytest.raises(ModelError, match=r"cannot load the engine on Fake GPU \(compute capability 8\.7\)"):
        TensorRTEngine(b"", trt=trt)
    engine = TensorRTEngine(b"plan", trt=trt)
    with pytest.raises(InputError, match=r"inputs are \['l', 'x'\]"):
        engine({"x": batch(2)["x"]})
    with pytest.raises(ModelError, match="'x' is float64"):
        engine({**batch(2), "x": np.ones((2, 3))})
    engine.close()
    engine.close()
    with pytest.raises(InputError, match="closed"):
        engine(batch(2))
    assert runtime.memory == {}


def test_a_call_that_fails_names_itself(trt: TensorRT, runtime: fake_gpu.Runtime) -> None:
    def full(size: int):
        return fake_gpu.Status.cudaErrorInvalidValue, None

    runtime.cudaMalloc = full
    with pytest.raises(ModelError, match="cudaMalloc failed: cudaErrorInvalidValue"):
        TensorRTEngine(b"plan", trt=trt)
    assert runtime.streams == 0
