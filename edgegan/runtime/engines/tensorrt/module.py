"""Which TensorRT this machine has, and what that version is capable of.

`tensorrt` is what JetPack and NVIDIA's own index install (8.6 to 11), `tensorrt_rtx` what the package index
has: one API, two names. What differs by major version is here, and only here, as data.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any, Literal

from edgegan.errors import MissingDependency

Name = Literal["tensorrt", "tensorrt_rtx"]
NAMES: tuple[Name, ...] = ("tensorrt", "tensorrt_rtx")
"""In the order of preference: JetPack's own comes first."""

_RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9))


@dataclass(frozen=True)
class TensorRT:
    """A module that was imported, its version, and what follows from that.

    Sources: the release notes of TensorRT 8.6, 10 and 11, and those of TensorRT for RTX 1.x.
    """

    module: Any
    name: Name
    version: tuple[int, ...]

    strong_typing: bool
    """Networks compute in the types that the ONNX file says: 10 and later. Before, types are hints."""

    explicit_batch: bool
    """A network must be told that its batch axis is explicit: 8 only."""

    int64: bool
    """Inputs may be int64: 10 and later. Before, the parser makes them int32."""

    timing_cache: bool
    """Timings of kernels can be kept between builds. tensorrt_rtx chooses kernels where it runs."""

    portable: bool
    """An engine is not bound to one model of GPU. tensorrt_rtx compiles its kernels where it runs."""

    def takes(self, compute_capability: str) -> bool:
        """Whether engines can run on a GPU, given its compute capability, as "8.7".

        tensorrt_rtx 1.7 refuses all but 8.0, 8.6, 8.9 and those from 12.0 on, H100 among them; 7.5 has to be
        asked for. Which GPUs a release of tensorrt takes is left to that release.
        """
        major, minor = map(int, compute_capability.split("."))
        return self.name == "tensorrt" or (major, minor) in _RTX_CAPABILITIES or major >= 12

    @property
    def text(self) -> str:
        """Name and version, as "tensorrt 10.3.0"."""
        return f"{self.name} {self.version_text}"

    @property
    def version_text(self) -> str:
        """The version, as "10.3.0"."""
        return ".".join(map(str, self.version))


def find() -> TensorRT | None:
    """Return the TensorRT of this machine, or None; one whose libraries are missing counts as absent."""
    for name in NAMES:
        try:
            module = importlib.import_module(name)
            version = tuple(int(part) for part in re.findall(r"\d+", module.__version__))
            _ = module.Builder, module.OnnxParser, module.Runtime
        except (ImportError, OSError, RuntimeError, AttributeError):
            continue
        return describe(module, name, version)
    return None


def require() -> TensorRT:
    """Return the TensorRT of this machine.

    Raises:
        MissingDependency: there is none.
    """
    found = find()
    if found is None:
        raise MissingDependency("TensorRT", extra="tensorrt", purpose="this engine")
    return found


def describe(module: Any, name: Name, version: tuple[int, ...]) -> TensorRT:
    """Say what this version of this module is capable of."""
    rtx = name == "tensorrt_rtx"
    modern = rtx or version[0] >= 10
    return TensorRT(
        module,
        name,
        version,
        strong_typing=modern,
        explicit_batch=not modern,
        int64=modern,
        timing_cache=not rtx,
        portable=rtx,
    )
