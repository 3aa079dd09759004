"""The machine that figures are measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
"""The instructions that decide how fast FP32 and INT8 kernels are: x86's, then ARM's."""

_CPUINFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "tensorrt")


def machine() -> dict[str, Any]:
    """Return what a figure depends on, fit for JSON.

    Keys: `cpu` (model name), `board` (of a device tree, or None), `cores` (that this process may use),
    `flags` (those CPU flags that matter for speed), `ram_gib`, `os`, `python`, and `packages` (name to
    version, of those that are installed).
    """
    import psutil

    info = _cpu_fields(_CPUINFO.read_text(errors="replace") if _CPUINFO.exists() else "")
    found = set(f"{info.get('flags', '')} {info.get('Features', '')}".split())
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "board": _BOARD.read_text(errors="replace").strip("\0\n ") if _BOARD.exists() else None,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in found],
        "ram_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _cpu_fields(text: str) -> dict[str, str]:
    """Return the fields of the first processor in `/proc/cpuinfo`."""
    first = text.split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
