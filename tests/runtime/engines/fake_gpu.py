"""CUDA's runtime and TensorRT's as far as an engine calls them, in host memory: for where there is no GPU.

From any bytes but none it loads an engine of y = uint8(x + l), of x (N, 3) and l (N,), N from 1 to 4.
test_tensorrt_gpu.py asks the same of a real GPU.
"""

# ruff: noqa: N802, N815

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class Status(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1


class Runtime:
    """Memory that must be freed, one stream, and graphs: lists of what was captured."""

    cudaError_t = Status
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking = 1

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.streams = self.graphs = 0
        self.captured: list[Callable[[], None]] | None = None
        self.ran: list[str] = []

    def cudaGetErrorString(self, status: Status):
        return Status.cudaSuccess, status.name.encode()

    def cudaGetDeviceCount(self):
        return Status.cudaSuccess, 1

    def cudaGetDeviceProperties(self, device: int):
        return Status.cudaSuccess, SimpleNamespace(name=b"Fake GPU\0\0", major=8, minor=7)

    def cudaStreamCreateWithFlags(self, flags: int):
        self.streams += 1
        return Status.cudaSuccess, 7

    def cudaStreamDestroy(self, stream: int):
        self.streams -= 1
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int):
        return (Status.cudaSuccess,)

    def cudaMalloc(self, size: int):
        held = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(held)] = held
        return Status.cudaSuccess, ctypes.addressof(held)

    def cudaFree(self, address: int):
        del self.memory[address]
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int):
        near = target if kind == 1 else source
        if size > len(self.memory[near]):
            return (Status.cudaErrorInvalidValue,)
        ctypes.memmove(target, source, size)
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: int):
        self.captured = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int):
        captured, self.captured = self.captured, None
        return Status.cudaSuccess, captured

    def cudaGraphInstantiate(self, graph: list, flags: int):
        self.graphs += 1
        return Status.cudaSuccess, graph

    def cudaGraphDestroy(self, graph: list):
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph: list):
        self.graphs -= 1
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, graph: list, stream: int):
        self.ran.append("graph")
        for kernel in graph:
            kernel()
        return (Status.cudaSuccess,)


class Context:
    def __init__(self, runtime: Runtime, label: type) -> None:
        self.runtime, self.label = runtime, label
        self.shapes = {"x": (-1, 3), "l": (-1,)}
        self.addresses: dict[str, int] = {}

    def get_tensor_shape(self, name: str):
        return (self.shapes["x"][0], 3) if name == "y" else self.shapes[name]

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return 1 <= shape[0] <= 4

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        shapes, addresses = dict(self.shapes), dict(self.addresses)

        def kernel() -> None:
            x = _at(addresses["x"], shapes["x"], np.float32)
            label = _at(addresses["l"], shapes["l"], self.label)
            y = (x + label[:, None]).astype(np.uint8).tobytes()
            ctypes.memmove(addresses["y"], y, len(y))

        if self.runtime.captured is None:
            self.runtime.ran.append("run")
            kernel()
        else:
            self.runtime.captured.append(kernel)
        return True


def _at(address: int, shape: tuple[int, ...], kind: type) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer(ctypes.string_at(address, size), kind).reshape(shape)


def module(runtime: Runtime, label: str) -> Any:
    """Return a module of TensorRT whose engine's label input is of the type `label`: "INT32" or "INT64"."""
    names = ["x", "l", "y"]
    shapes = {"x": (-1, 3), "l": (-1,), "y": (-1, 3)}
    types = {"x": "FLOAT", "l": label, "y": "UINT8"}
    engine = SimpleNamespace(
        num_io_tensors=3,
        get_tensor_name=lambda index: names[index],
        get_tensor_mode=lambda name: "output" if name == "y" else "input",
        get_tensor_dtype=lambda name: SimpleNamespace(name=types[name]),
        get_tensor_shape=lambda name: shapes[name],
        get_tensor_profile_shape=lambda name, profile: [(1, 3), (1, 3), (4, 3)],
        create_runtime_config=lambda: SimpleNamespace(dynamic_shapes_kernel_specialization_strategy="lazy"),
        create_execution_context=lambda *settings: Context(
            runtime, np.int32 if label == "INT32" else np.int64
        ),
    )

    class ILogger:
        Severity = enum.Enum("Severity", "WARNING ERROR")

    return SimpleNamespace(
        ILogger=ILogger,
        Runtime=lambda log: SimpleNamespace(deserialize_cuda_engine=lambda plan: engine if plan else None),
        TensorIOMode=SimpleNamespace(INPUT="input"),
        DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
    )
