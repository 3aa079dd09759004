"""The calls of CUDA that engines make, on a real GPU: memory there and back, and a graph that is replayed."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgegan.errors import ModelError
from edgegan.runtime.engines.tensorrt.cuda import Cuda, gpu

pytestmark = pytest.mark.skipif(gpu() is None, reason="this machine has no NVIDIA GPU, or no cuda-bindings")


def test_the_gpu_has_a_name_and_a_capability() -> None:
    found = gpu()
    assert found
    assert found.name.isprintable()
    assert re.fullmatch(r"\d+\.\d", found.compute_capability)


def test_a_call_that_fails_says_why() -> None:
    with pytest.raises(ModelError, match="cudaMalloc failed: out of memory"):
        Cuda().call("cudaMalloc", 1 << 60)


def test_memory_goes_there_and_back_and_graphs_replay() -> None:
    cuda = Cuda()
    kinds, runtime = cuda.runtime.cudaMemcpyKind, cuda.runtime
    sent, back = np.arange(1000, dtype=np.float32), np.zeros(1000, np.float32)
    first, second = (cuda.call("cudaMalloc", sent.nbytes) for _ in range(2))
    stream = cuda.call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
    cuda.call(
        "cudaStreamBeginCapture", stream, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    )
    cuda.call("cudaMemcpyAsync", second, first, sent.nbytes, kinds.cudaMemcpyDeviceToDevice, stream)
    captured = cuda.call("cudaStreamEndCapture", stream)
    graph = cuda.call("cudaGraphInstantiate", captured, 0)
    cuda.call("cudaGraphDestroy", captured)
    for factor in (1, 2):
        array = sent * factor
        cuda.call(
            "cudaMemcpyAsync", first, array.ctypes.data, array.nbytes, kinds.cudaMemcpyHostToDevice, stream
        )
        cuda.call("cudaGraphLaunch", graph, stream)
        cuda.call(
            "cudaMemcpyAsync", back.ctypes.data, second, back.nbytes, kinds.cudaMemcpyDeviceToHost, stream
        )
        cuda.call("cudaStreamSynchronize", stream)
        np.testing.assert_array_equal(back, array)
    cuda.call("cudaGraphExecDestroy", graph)
    for address in (first, second):
        cuda.call("cudaFree", address)
    cuda.call("cudaStreamDestroy", stream)
