from __future__ import annotations

import json
import platform
from pathlib import Path

import numpy as np
import pytest

from edgegan.measure.machine import machine
from edgegan.measure.memory import peak_rss_mib
from edgegan.runtime import cpu as module

X86 = """processor\t: 0
model name\t: AMD EPYC 7763
flags\t\t: fpu sse2 avx avx2 avx512_vnni clflush

processor\t: 1
model name\t: another
"""
ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd crc32 asimddp
CPU part\t: 0xd0b
"""


def test_this_machine_is_plain_data() -> None:
    found = machine()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["ram_gib"] > 0.1
    assert found["python"] == platform.python_version()
    assert found["packages"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("text", "flags"), [(X86, ["avx2", "avx512_vnni"]), (ARM, ["asimd", "asimddp"]), ("", [])]
)
def test_the_cpu_is_read_from_proc(
    text: str, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    (tmp_path / "board").write_bytes(b"NVIDIA Jetson Orin Nano\0")
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(module, "BOARD", tmp_path / "board")
    found = machine()
    assert found["flags"] == flags
    assert found["board"] == "NVIDIA Jetson Orin Nano"
    assert found["cpu"] == ("AMD EPYC 7763" if text is X86 else platform.processor() or platform.machine())


ROUNDING_MIB = 1
"""The kernel counts resident pages by processor, and sums them up late."""


def test_peak_memory_grows_with_what_is_held_and_stays() -> None:
    before = peak_rss_mib()
    held = np.ones(2**27, np.uint8)
    during = peak_rss_mib()
    del held
    assert during >= before
    assert 128 < during < 2**20
    assert peak_rss_mib() >= during - ROUNDING_MIB
