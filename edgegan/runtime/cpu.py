"""The processor and the board that this process runs on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
"""The instructions that decide how fast FP32 and INT8 kernels are: x86's, then ARM's."""

CPUINFO = Path("/proc/cpuinfo")
BOARD = Path("/proc/device-tree/model")


@dataclass(frozen=True)
class Cpu:
    """A processor: its model's name, its board's (of a device tree, or None), and those FLAGS that it has."""

    model: str
    board: str | None
    flags: tuple[str, ...]

    @property
    def vnni(self) -> bool:
        """Whether products of bytes are summed in 32 bits: without, x86 sums two in 16, which saturate."""
        return bool({"avx512_vnni", "avx_vnni"} & set(self.flags))


def cpu() -> Cpu:
    """Return the processor; its flags are known on Linux only."""
    info = _fields(CPUINFO.read_text(errors="replace") if CPUINFO.exists() else "")
    found = set(f"{info.get('flags', '')} {info.get('Features', '')}".split())
    return Cpu(
        info.get("model name") or platform.processor() or platform.machine(),
        BOARD.read_text(errors="replace").strip("\0\n ") if BOARD.exists() else None,
        tuple(flag for flag in FLAGS if flag in found),
    )


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fields(text: str) -> dict[str, str]:
    """Return the fields of the first processor in `/proc/cpuinfo`."""
    first = text.split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}
