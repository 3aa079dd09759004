"""The device that this process runs on, beyond its CPU: its GPU, and Jetson Linux."""

from __future__ import annotations

import ctypes
import platform
import re
from dataclasses import dataclass
from pathlib import Path

RELEASE = Path("/etc/nv_tegra_release")
_MAJOR, _MINOR = 75, 76
"""CUDA's CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as engines are stored for it: its name, and its compute capability as "8.7"."""

    name: str
    compute_capability: str

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability})"


def jetson_linux() -> str | None:
    """Return the release of Jetson Linux (L4T), as "36.4.3", or None where this is no Jetson."""
    text = RELEASE.read_text(errors="replace") if RELEASE.exists() else ""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else None


def driver_gpu() -> Gpu | None:
    """Return the first GPU that NVIDIA's driver shows, by the driver alone; None where there is none."""
    library = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return None
    count, device, major, minor = (ctypes.c_int() for _ in range(4))
    name = ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}")
