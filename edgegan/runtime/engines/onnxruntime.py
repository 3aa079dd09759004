"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from edgegan.errors import InputError, MissingDependency, ModelError
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Arrays
from edgegan.runtime.cpu import processors
from edgegan.runtime.engines.base import Check, Engine, EngineKind, Options, Port
from edgegan.runtime.engines.layer_times import LayerTime, onnxruntime_times
from edgegan.runtime.numbers import number_of_threads

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_SILENT = 4


class OnnxRuntime(EngineKind):
    """ONNX Runtime, which runs any artifact on the CPU."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    packages = ("onnxruntime", "onnxruntime-gpu")

    def check(self) -> Check:
        """Say whether it is installed, and with what providers."""
        try:
            module = importlib.import_module("onnxruntime")
            version, providers = module.__version__, module.get_available_providers()
        except (ImportError, OSError, AttributeError) as error:
            next_ = "pip install 'edgegan[onnxruntime]'"
            return Check(self.name, None, False, False, str(error), next_)
        detail = f"on the CPU; its providers: {', '.join(providers)}"
        return Check(self.name, f"onnxruntime {version}", True, True, detail)

    def open(self, artifact: Artifact, content: bytes | Path, options: Options = Options()) -> Engine:  # noqa: B008
        """Load an artifact; what was written for another engine is not optimized."""
        optimized = artifact.optimized_by(self.name)
        return OnnxRuntimeEngine(
            content, threads=options.threads, optimized=optimized, profiled=options.profiled
        )


class OnnxRuntimeEngine(Engine):
    """Runs an ONNX model with ONNX Runtime's CPU provider.

    Layers between int8 activations run in integers on every CPU, so that x64 gives what arm64 does.

    Args:
        model: a file, or the bytes of one. Bytes cannot refer to tensors in other files.
        threads: threads within an operator; by default one for each processor that this process may use.
            Operators run one after the other.
        optimized: False runs the file's operators as they stand. Needed for what was written for another
            engine: the optimizer of 1.32 changes what float16 Q/DQ layers give, by 17 dB in one generator.
        profiled: as `Options` says.

    Raises:
        MissingDependency: onnxruntime is not installed.
        ModelError: onnxruntime cannot load the model.
        InputError: `threads` is no whole number, or less than 1.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int | None = None,
        optimized: bool = True,
        profiled: bool = False,
    ) -> None:
        try:
            onnxruntime: Any = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise MissingDependency("onnxruntime", extra="onnxruntime", purpose="running a model") from error
        threads = processors() if threads is None else number_of_threads(threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        self._profiles = TemporaryDirectory(prefix="edgegan-") if profiled else None
        if self._profiles is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(self._profiles.name) / "calls")
        self._where = where = str(model) if isinstance(model, Path) else None
        try:
            self._session: Any = onnxruntime.InferenceSession(
                where or model, options, providers=["CPUExecutionProvider"]
            )
            self.inputs = {port.name: _port(port) for port in self._session.get_inputs()}
            self.outputs = {port.name: _port(port) for port in self._session.get_outputs()}
        except Exception as error:  # onnxruntime's own exceptions share no base but this one
            raise ModelError(
                f"onnxruntime {onnxruntime.__version__} cannot load the model: {error}",
                where=where or "the model's bytes",
                next="check that the file is a whole ONNX model whose opset this onnxruntime knows",
            ) from error
        self.name = f"onnxruntime {onnxruntime.__version__} CPU"

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run one batch; `inputs` and the result map the model's names to arrays.

        Raises:
            InputError: the names are not the model's, or the engine is closed.
            ModelError: onnxruntime cannot run the model on these arrays.
        """
        if self._session is None:
            raise InputError("the engine is closed", next="load the model again")
        if set(inputs) != set(self.inputs):
            raise InputError(f"the model's inputs are {sorted(self.inputs)}, not {sorted(inputs)}")
        try:
            results = self._session.run(None, dict(inputs))
        except Exception as error:  # as above
            raise ModelError(
                f"onnxruntime cannot run the model on these inputs: {error}",
                where=self._where or "the model's bytes",
                next="check the model with onnx.checker, and the shapes of the inputs",
            ) from error
        return dict(zip(self.outputs, results))

    def layer_times(self) -> tuple[LayerTime, ...]:
        """Return what each layer of the optimized graph took; later calls are not told."""
        if self._profiles is None:
            return ()
        return onnxruntime_times(Path(self._session.end_profiling()))

    def close(self) -> None:
        """Free the session; the engine cannot be called again."""
        self._session = None
        if self._profiles is not None:
            self._profiles.cleanup()


def _port(node: Any) -> Port:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return Port(dtype=_DTYPES.get(node.type) or node.type, shape=shape)
