"""OpenVINO on the CPU."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from edgegan.errors import InputError, MissingDependency, ModelError
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Arrays
from edgegan.runtime.cpu import processors
from edgegan.runtime.engines.base import Check, Engine, EngineKind, Options, Port, fitted
from edgegan.runtime.engines.layer_times import LayerTime, openvino_times
from edgegan.runtime.numbers import number_of_threads
from edgegan.runtime.onnx_file import names

_TELEMETRY = "openvino_telemetry"


class OpenVino(EngineKind):
    """OpenVINO, which runs any artifact on the CPU, and INT8 fast where Q/DQ stand on inputs only."""

    name = "openvino"
    title = "OpenVINO"
    packages = ("openvino",)

    def check(self) -> Check:
        """Say whether it is installed, and on what CPU it runs."""
        try:
            openvino = _module()
            cpu = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
        except (ImportError, OSError, AttributeError, RuntimeError) as error:
            detail = str(error).strip().splitlines()[-1] if str(error).strip() else "it cannot be imported"
            return Check(self.name, None, False, False, detail, "pip install 'edgegan[openvino]'")
        return Check(self.name, f"openvino {_version(openvino)}", True, True, f"on the CPU: {cpu.strip()}")

    def open(self, artifact: Artifact, content: bytes | Path, options: Options = Options()) -> Engine:  # noqa: B008
        """Load an artifact; one that was written for another engine runs as this one takes its Q/DQ."""
        return OpenVinoEngine(content, threads=options.threads, profiled=options.profiled)


class OpenVinoEngine(Engine):
    """Runs an ONNX model with OpenVINO's CPU plugin; what is not INT8 is computed in float32.

    OpenVINO by itself would take bfloat16 or float16 where the CPU has them: its outputs would be other ones.

    Args:
        model: a file, or the bytes of one. Bytes cannot refer to tensors in other files.
        threads: of the engine; by default one for each processor that this process may use.
        profiled: as `Options` says.

    Raises:
        MissingDependency: openvino is not installed.
        ModelError: openvino cannot load the model.
        InputError: `threads` is no whole number, or less than 1.
    """

    def __init__(self, model: Path | bytes, *, threads: int | None = None, profiled: bool = False) -> None:
        try:
            openvino = _module()
        except ImportError as error:
            raise MissingDependency("openvino", extra="openvino", purpose="this engine") from error
        threads = processors() if threads is None else number_of_threads(threads)
        self._where = str(model) if isinstance(model, Path) else "the model's bytes"
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERF_COUNT": profiled,
        }
        try:
            inputs, outputs = names(model.read_bytes() if isinstance(model, Path) else model)
            core = openvino.Core()
            read = core.read_model(str(model) if isinstance(model, Path) else model)
            compiled = core.compile_model(read, "CPU", settings)
            self.inputs = {name: _port(compiled.input(name)) for name in inputs}
            self.outputs = {name: _port(compiled.output(name)) for name in outputs}
            self._request: Any = compiled.create_infer_request()
        except Exception as error:  # openvino's own exceptions share no base but this one
            raise ModelError(
                f"openvino {_version(openvino)} cannot load the model: {_reason(error)}",
                where=self._where,
                next="check that the file is a whole ONNX model; or run with engine='onnxruntime'",
            ) from error
        self._compiled: Any = compiled
        self._places = [compiled.output(name) for name in outputs]
        self._one_at_a_time = Lock()
        self._profiles: list[Any] | None = [] if profiled else None
        self.name = f"openvino {_version(openvino)} CPU"

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run one batch; calls from several threads run one after the other.

        Raises:
            InputError: the names are not the model's, or the engine is closed.
            ModelError: the shapes or types are not the model's, or openvino cannot run it.
        """
        if self._request is None:
            raise InputError("the engine is closed", next="load the model again")
        arrays = fitted(inputs, self.inputs)
        try:
            with self._one_at_a_time:
                results = self._request.infer(arrays, share_inputs=True)
                if self._profiles is not None:
                    self._profiles.append(self._request.profiling_info)
                return {name: results[place] for name, place in zip(self.outputs, self._places)}
        except Exception as error:  # as above
            raise ModelError(
                f"openvino cannot run the model on these inputs: {_reason(error)}", where=self._where
            ) from error

    def layer_times(self) -> tuple[LayerTime, ...]:
        """Return what each layer of the compiled model took, in the order that the plugin names them."""
        return openvino_times(self._profiles or [])

    def close(self) -> None:
        """Free the model; the engine cannot be called again."""
        self._request = self._compiled = None
        self._places = []


def _module() -> Any:
    """Import openvino without its telemetry, which tells its maker of every import.

    openvino does without where `openvino_telemetry` cannot be imported; an app that wants it imports that
    before edgegan does.
    """
    if "openvino" in sys.modules or _TELEMETRY in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[_TELEMETRY] = None  # pyright: ignore[reportArgumentType]
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[_TELEMETRY]


def _version(openvino: Any) -> str:
    """Return the release, as "2026.4.1", without the build."""
    return str(openvino.__version__).partition("-")[0]


def _reason(error: Exception) -> str:
    """Return what openvino says, without the places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from ", "Check '"))]
    return " ".join(said[:3]) or type(error).__name__


def _port(port: Any) -> Port:
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
    return Port(port.get_element_type().to_dtype().name, shape)
