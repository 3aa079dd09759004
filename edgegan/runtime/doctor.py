"""Which engines this machine can run, how to get the others, and which targets it is."""

from __future__ import annotations

import ctypes
import importlib
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from edgegan.errors import InputError, MissingDependency
from edgegan.runtime.cpu import Cpu, cpu
from edgegan.runtime.engines.tensorrt.cuda import Cuda, Gpu
from edgegan.runtime.engines.tensorrt.module import find

RELEASE = Path("/etc/nv_tegra_release")
BOARDS = {
    "AGX Orin": "jetson-agx-orin",
    "Orin NX": "jetson-orin-nx",
    "Orin Nano": "jetson-orin-nano",
    "Xavier NX": "jetson-xavier-nx",
    "Thor": "jetson-thor",
    "Raspberry Pi 5": "raspberry-pi-5",
}
"""What a board's device tree calls it, and its target."""
ON_A_JETSON = (
    "sudo apt install nvidia-jetpack; then install edgegan where JetPack's TensorRT is seen: "
    "/usr/bin/python3 -m venv --system-site-packages .venv"
)
_MAJOR, _MINOR = 75, 76
"""CUDA's CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""


@dataclass(frozen=True)
class Check:
    """An engine on this machine.

    Args:
        version: the module and its version, as "tensorrt 10.3.0"; None where it cannot be imported.
        builds: it can make what it runs from a bundle's ONNX file.
        runs: it can run it too.
        detail: what it runs on, or what is in the way.
        next: what to type to get more of it; None where there is nothing more.
    """

    engine: str
    version: str | None
    builds: bool
    runs: bool
    detail: str
    next: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Args:
        int8: which INT8 instructions the CPU has, in words.
        gpu: the first GPU that NVIDIA's driver shows.
        jetson_linux: its release, as "36.4.3"; None where this is no Jetson.
        targets: the names of the targets that this machine is, the closest first.
    """

    python: str
    system: str
    architecture: str
    cpu: Cpu
    int8: str
    gpu: Gpu | None
    jetson_linux: str | None
    engines: tuple[Check, ...]
    targets: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """At least one engine runs."""
        return any(check.runs for check in self.engines)


def diagnose() -> Diagnosis:
    """Look at this machine. Imports the engines' libraries, and loads NVIDIA's driver where there is one."""
    processor, gpu, release = cpu(), driver_gpu(), jetson_linux()
    architecture = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    return Diagnosis(
        platform.python_version(),
        platform.system(),
        architecture,
        processor,
        _int8(processor.flags),
        gpu,
        release,
        (_onnxruntime(), _tensorrt(gpu, release)),
        matching_targets(architecture, processor, gpu),
    )


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


def matching_targets(architecture: str, processor: Cpu, gpu: Gpu | None) -> tuple[str, ...]:
    """Return the names of the targets that such a machine is, the closest first."""
    found = [target for text, target in BOARDS.items() if text in (processor.board or "")]
    if architecture == "aarch64" and "asimddp" in processor.flags:
        found.append("arm64-cpu")
    if architecture == "x86_64":
        found += ["rtx-desktop"] * bool(gpu and "RTX" in gpu.name)
        found += ["x64-cpu-vnni"] * processor.vnni
        found.append("x64-cpu")
    return tuple(found)


def _int8(flags: tuple[str, ...]) -> str:
    vnni = [
        name for flag, name in (("avx512_vnni", "AVX-512 VNNI"), ("avx_vnni", "AVX-VNNI")) if flag in flags
    ]
    if vnni:
        return f"{' and '.join(vnni)}: fast, with 8-bit weights"
    if "avx2" in flags:
        return "AVX2 without VNNI: with 7-bit weights, or sums saturate"
    if "asimddp" in flags:
        return "dot product" + (" and i8mm" if "i8mm" in flags else "") + ": fast, with 8-bit weights"
    return "no fast instructions that are known here"


def _onnxruntime() -> Check:
    try:
        module = importlib.import_module("onnxruntime")
        version, providers = module.__version__, module.get_available_providers()
    except (ImportError, OSError, AttributeError) as error:
        return Check("onnxruntime", None, False, False, str(error), "pip install 'edgegan[onnxruntime]'")
    detail = f"on the CPU; its providers: {', '.join(providers)}"
    return Check("onnxruntime", f"onnxruntime {version}", True, True, detail)


def _tensorrt(gpu: Gpu | None, release: str | None) -> Check:
    install = ON_A_JETSON if release else "pip install 'edgegan[tensorrt]'"
    found = find()
    if found is None:
        if platform.system() not in ("Linux", "Windows"):
            return Check("tensorrt", None, False, False, "TensorRT is for Linux and Windows")
        return Check("tensorrt", None, False, False, _absence(), install)
    if gpu is not None and not found.takes(gpu.compute_capability):
        return Check("tensorrt", found.text, True, False, f"it builds engines, but none runs on {gpu}")
    if gpu is None:
        detail = "no NVIDIA driver shows a GPU to run them on"
        return Check("tensorrt", found.text, True, False, detail)
    try:
        Cuda()
    except (MissingDependency, InputError) as error:
        return Check("tensorrt", found.text, True, False, error.what, error.next)
    return Check("tensorrt", found.text, True, True, f"on {gpu}")


def _absence() -> str:
    try:
        version = metadata.version("tensorrt")
    except metadata.PackageNotFoundError:
        return "neither tensorrt nor tensorrt_rtx is installed"
    return f"tensorrt {version} is installed without its libraries, which NVIDIA's own index has"
