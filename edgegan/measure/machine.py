"""The machine that figures are measured on."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from edgegan.runtime.cpu import cpu, processors
from edgegan.runtime.engines.registry import packages


def machine() -> dict[str, Any]:
    """Return what a figure depends on, fit for JSON.

    Keys: `cpu` (model name), `board` (of a device tree, or None), `cores` (that this process may use),
    `flags` (those CPU flags that matter for speed), `ram_gib`, `os`, `python`, and `packages` (name to
    version, of those that are installed).
    """
    import psutil

    processor = cpu()
    return {
        "cpu": processor.model,
        "board": processor.board,
        "cores": processors(),
        "flags": list(processor.flags),
        "ram_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {"numpy": metadata.version("numpy"), **packages()},
    }
