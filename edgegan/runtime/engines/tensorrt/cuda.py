"""The few calls of CUDA's runtime that an engine makes, through cuda-bindings (a part of cuda-python)."""

from __future__ import annotations

import importlib
from typing import Any

from edgegan.errors import InputError, MissingDependency, ModelError
from edgegan.runtime.device import Gpu

MODULES = ("cuda.bindings.runtime", "cuda.cudart")
"""Where cuda-python keeps them: 12.6 and later, and 12 before that."""


class Cuda:
    """Calls of CUDA's runtime by name, on GPU 0; a call that fails raises.

    Raises:
        MissingDependency: cuda-python is not installed.
        InputError: there is no GPU, or no driver that this cuda-python can use.
    """

    def __init__(self) -> None:
        self.runtime = _module()
        try:
            count = self.call("cudaGetDeviceCount")
        except ModelError as error:
            raise InputError(
                f"this machine has no NVIDIA GPU that CUDA can use: {error.what}",
                next="run on the CPU with engine='onnxruntime'; or where there is a GPU, update its driver, "
                "or install the cuda-bindings of the driver's CUDA version",
            ) from error
        if not count:
            raise InputError("this machine has no NVIDIA GPU", next="run on the CPU: engine='onnxruntime'")

    def call(self, name: str, /, *arguments: Any) -> Any:
        """Call a function of the runtime; return what it gives: None, a value, or a tuple.

        Raises:
            ModelError: the call failed; the message is CUDA's own.
        """
        try:
            status, *values = getattr(self.runtime, name)(*arguments)
        except RuntimeError as error:  # versions before 12.6, where there is no driver
            raise ModelError(f"{name} failed: {error}") from error
        if status != self.runtime.cudaError_t.cudaSuccess:
            text = self.runtime.cudaGetErrorString(status)[1]
            text = text.decode() if isinstance(text, bytes) else text
            raise ModelError(f"{name} failed: {text}")
        return values[0] if len(values) == 1 else (tuple(values) or None)

    def gpu(self) -> Gpu:
        """Return what GPU 0 is."""
        properties = self.call("cudaGetDeviceProperties", 0)
        name = properties.name
        name = name.decode(errors="replace") if isinstance(name, bytes) else name
        return Gpu(name.rstrip("\0"), f"{properties.major}.{properties.minor}")


def gpu() -> Gpu | None:
    """Return the GPU of this machine, or None where there is none that can be used."""
    try:
        return Cuda().gpu()
    except (MissingDependency, InputError):
        return None


def _module() -> Any:
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError, RuntimeError):
            continue
    raise MissingDependency("cuda-bindings", extra="tensorrt", purpose="memory on the GPU")
