"""TensorRT on the GPU: `tensorrt` 8.6 to 11 and `tensorrt_rtx`, with memory by cuda-bindings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegan.errors import InputError, ModelError
from edgegan.runtime.contract import Arrays
from edgegan.runtime.engines.base import Engine, Port, fitted
from edgegan.runtime.engines.tensorrt.build import dtype
from edgegan.runtime.engines.tensorrt.cuda import Cuda
from edgegan.runtime.engines.tensorrt.layers import Layer, layers
from edgegan.runtime.engines.tensorrt.log import last_error, listening
from edgegan.runtime.engines.tensorrt.module import TensorRT, require


@dataclass
class _Turn:
    """An execution context whose inputs have one shape each, and the CUDA graph of it."""

    context: Any
    graph: Any = None


class TensorRTEngine(Engine):
    """Runs a built engine on GPU 0.

    An engine is code, and it runs when it is loaded: give only bytes that were built here, or read through a
    `Bundle`, which checks their hash.

    Args:
        plan: the engine, of this very TensorRT and GPU.
        trt: what runs it; by default what `module.find` finds.
        cuda_graph: capture the launches of each batch size once, and replay them: less work for the CPU where
            kernels are small. The first run of each batch size takes longer, and each keeps its own memory.

    Raises:
        MissingDependency: TensorRT or cuda-bindings is not installed.
        InputError: there is no GPU.
        ModelError: TensorRT cannot load the engine: it is damaged, or was built for another version or GPU.
    """

    def __init__(self, plan: bytes, *, trt: TensorRT | None = None, cuda_graph: bool = False) -> None:
        trt = trt or require()
        self._cuda = Cuda()
        gpu = self._cuda.gpu()
        with listening(trt) as (log, said):
            self._runtime = trt.module.Runtime(log)
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelError(
                f"{trt.text} cannot load the engine on {gpu}: {said.worst()}",
                next="build it on this machine and with this version: edgegan build BUNDLE; "
                "or run with engine='onnxruntime'",
            )
        self._engine: Any = engine
        self._trt, self._graphs = trt, cuda_graph
        self.name = f"{trt.text} {gpu.name}" + (" CUDA graph" if cuda_graph else "")
        self.inputs, self.outputs = self._ports()
        self._largest = int(engine.get_tensor_profile_shape(next(iter(self.inputs)), 0)[2][0])
        self._turns: dict[object, _Turn] = {}
        self._stream = self._cuda.call("cudaStreamCreateWithFlags", self._cuda.runtime.cudaStreamNonBlocking)
        self._memory: dict[str, Any] = {}
        try:
            self._allocate()
        except ModelError:
            self.close()
            raise

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run one batch; one that is larger than the engine's largest goes through in turns.

        Raises:
            InputError: the names are not the model's, or the engine is closed.
            ModelError: the shapes or types are not the model's, or the GPU failed.
        """
        if self._engine is None:
            raise InputError("the engine is closed", next="load the model again")
        arrays = fitted(inputs, self.inputs)
        count = len(next(iter(arrays.values())))
        turns = [
            self._run({name: array[start : start + self._largest] for name, array in arrays.items()})
            for start in range(0, count, self._largest)
        ]
        return {name: np.concatenate([turn[name] for turn in turns]) for name in self.outputs}

    def layers(self) -> tuple[Layer, ...]:
        """Return what each kernel of the loaded engine computes in, as the engine inspector says."""
        inspector = self._engine.create_engine_inspector()
        return layers(inspector.get_engine_information(self._trt.module.LayerInformationFormat.ONELINE))

    def close(self) -> None:
        """Free the GPU's memory; the engine cannot be called again."""
        if self._engine is None:
            return
        for turn in self._turns.values():
            if turn.graph is not None:
                self._cuda.call("cudaGraphExecDestroy", turn.graph)
        for address in self._memory.values():
            self._cuda.call("cudaFree", address)
        self._cuda.call("cudaStreamDestroy", self._stream)
        self._turns, self._memory = {}, {}
        self._engine = self._runtime = None

    def _ports(self) -> tuple[dict[str, Port], dict[str, Port]]:
        """Return the engine's ports; an int64 input that TensorRT 8 made int32 is int64 to the caller."""
        ports: tuple[dict[str, Port], dict[str, Port]] = ({}, {})
        for name in (self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)):
            is_input = self._engine.get_tensor_mode(name) == self._trt.module.TensorIOMode.INPUT
            said = dtype(self._engine.get_tensor_dtype(name))
            said = "int64" if is_input and said == "int32" and not self._trt.int64 else said
            shape = (None if size < 0 else int(size) for size in self._engine.get_tensor_shape(name))
            ports[0 if is_input else 1][name] = Port(said, tuple(shape))
        return ports

    def _allocate(self) -> None:
        """Take memory on the GPU for each input and output at its largest."""
        largest = {name: self._most(name, port) for name, port in self.inputs.items()}
        context = self._turn(largest).context
        for name in (*self.inputs, *self.outputs):
            shape = tuple(context.get_tensor_shape(name))
            if any(size < 0 for size in shape):
                raise ModelError(
                    f"the shape of {name!r} depends on values: {shape}; it must depend on shapes"
                )
            size = math.prod(shape) * np.dtype(self._kind(name)).itemsize
            self._memory[name] = self._cuda.call("cudaMalloc", max(size, 1))

    def _most(self, name: str, port: Port) -> tuple[int, ...]:
        """Return the largest shape of an input."""
        most = self._engine.get_tensor_profile_shape(name, 0)[2]
        sizes = (int(most[axis]) if size is None else size for axis, size in enumerate(port.shape[1:], 1))
        return (self._largest, *sizes)

    def _kind(self, name: str) -> str:
        """Return the type that the tensor has in the GPU's memory."""
        return dtype(self._engine.get_tensor_dtype(name))

    def _turn(self, shapes: Mapping[str, tuple[int, ...]]) -> _Turn:
        """Return the context for inputs of `shapes`: one for each with CUDA graphs, else one for all."""
        key = tuple(shapes.values()) if self._graphs else 0
        turn = self._turns.get(key) or self._turns.setdefault(key, _Turn(self._context()))
        for name, shape in shapes.items():
            if tuple(turn.context.get_tensor_shape(name)) == shape:
                continue
            if not turn.context.set_input_shape(name, shape):
                raise ModelError(f"the engine does not take {name!r} of {shape}: {last_error(self._trt)}")
        return turn

    def _context(self) -> Any:
        """Return a new context; tensorrt_rtx compiles for each shape at once, not in the background."""
        settings = []
        if self._trt.portable:
            settings = [self._engine.create_runtime_config()]
            eager = self._trt.module.DynamicShapesKernelSpecializationStrategy.EAGER
            settings[0].dynamic_shapes_kernel_specialization_strategy = eager
        context = self._engine.create_execution_context(*settings)
        if context is None:
            raise ModelError(f"{self._trt.text} cannot set the engine up: {last_error(self._trt)}")
        return context

    def _run(self, arrays: Arrays) -> Arrays:
        turn = self._turn({name: arrays[name].shape for name in self.inputs})
        kinds = self._cuda.runtime.cudaMemcpyKind
        held = {name: np.ascontiguousarray(array, self._kind(name)) for name, array in arrays.items()}
        for name, array in held.items():
            self._copy(self._memory[name], array.ctypes.data, array.nbytes, kinds.cudaMemcpyHostToDevice)
        self._launch(turn)
        results = {
            name: np.empty(tuple(turn.context.get_tensor_shape(name)), self._kind(name))
            for name in self.outputs
        }
        for name, array in results.items():
            self._copy(array.ctypes.data, self._memory[name], array.nbytes, kinds.cudaMemcpyDeviceToHost)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        return results

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        self._cuda.call("cudaMemcpyAsync", target, source, size, kind, self._stream)

    def _launch(self, turn: _Turn) -> None:
        """Put the kernels on the stream, or the CUDA graph of them, captured after a first run without."""
        if turn.graph is not None:
            self._cuda.call("cudaGraphLaunch", turn.graph, self._stream)
            return
        for name, address in self._memory.items():
            turn.context.set_tensor_address(name, int(address))
        self._enqueue(turn)
        if not self._graphs:
            return
        self._cuda.call("cudaStreamSynchronize", self._stream)
        mode = self._cuda.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self._stream, mode)
        try:
            self._enqueue(turn)
        finally:
            graph = self._cuda.call("cudaStreamEndCapture", self._stream)
        turn.graph = self._cuda.call("cudaGraphInstantiate", graph, 0)
        self._cuda.call("cudaGraphDestroy", graph)

    def _enqueue(self, turn: _Turn) -> None:
        if not turn.context.execute_async_v3(int(self._stream)):
            raise ModelError(f"{self._trt.text} cannot run the engine: {last_error(self._trt)}")
