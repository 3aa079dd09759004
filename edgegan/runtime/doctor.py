"""Which engines this machine can run, how to get the others, and which targets it is."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from edgegan.runtime.artifact import cpu_family
from edgegan.runtime.cpu import Cpu, cpu
from edgegan.runtime.device import Gpu, driver_gpu, jetson_linux
from edgegan.runtime.engines.base import Check
from edgegan.runtime.engines.registry import engine_kinds

BOARDS = {
    "AGX Orin": "jetson-agx-orin",
    "Orin NX": "jetson-orin-nx",
    "Orin Nano": "jetson-orin-nano",
    "Xavier NX": "jetson-xavier-nx",
    "Thor": "jetson-thor",
    "Raspberry Pi 5": "raspberry-pi-5",
}
"""What a board's device tree calls it, and its target."""


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
    architecture = cpu_family(platform.machine())
    return Diagnosis(
        platform.python_version(),
        platform.system(),
        architecture,
        processor,
        _int8(processor.flags),
        gpu,
        release,
        tuple(kind.check() for kind in engine_kinds()),
        matching_targets(architecture, processor, gpu),
    )


def matching_targets(architecture: str, processor: Cpu, gpu: Gpu | None) -> tuple[str, ...]:
    """Return the names of the targets that such a machine is, the closest first."""
    found = [target for text, target in BOARDS.items() if text in (processor.board or "")]
    if architecture == "aarch64" and "asimddp" in processor.flags:
        found.append("arm64-cpu")
    if architecture == "x86_64":
        found += ["rtx-desktop"] * bool(gpu and "RTX" in gpu.name)
        found += ["x64-cpu-vnni"] * processor.vnni
        found += ["x64-cpu"] + ["openvino-cpu"] * processor.vnni
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
