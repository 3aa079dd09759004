"""The doctor: what this machine can run, what others would, and what is needed to ask."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from edgegan.runtime import device, doctor
from edgegan.runtime.cpu import Cpu
from edgegan.runtime.device import Gpu, driver_gpu, jetson_linux
from edgegan.runtime.doctor import diagnose, matching_targets

RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8\n"
ORIN = Cpu("ARMv8", "NVIDIA Jetson Orin Nano Developer Kit", ("asimd", "asimddp"))
PI = Cpu("Cortex-A76", "Raspberry Pi 5 Model B Rev 1.0", ("asimd", "asimddp"))
RTX = Gpu("NVIDIA GeForce RTX 4090", "8.9")
X64_VNNI = ["x64-cpu-vnni", "x64-cpu", "openvino-cpu"]
H100 = Gpu("NVIDIA H100 80GB HBM3", "9.0")


def elsewhere(folder: Path, **modules: str) -> dict[str, object]:
    """Diagnose in a process of its own, where `modules` stand before those that are installed."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    code = (
        "import dataclasses, json, sys\n"
        "from edgegan.runtime.doctor import diagnose\n"
        "found = diagnose()\n"
        "heavy = {'torch', 'onnx', 'yaml', 'pydantic', 'scipy', 'psutil'} & set(sys.modules)\n"
        "print(json.dumps({**dataclasses.asdict(found), 'healthy': found.healthy, 'heavy': [*heavy]}))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


def engine(found: dict[str, object], name: str) -> dict[str, object]:
    engines = found["engines"]
    assert isinstance(engines, list)
    return next(check for check in engines if check["engine"] == name)


def test_onnxruntime_runs_here() -> None:
    found = diagnose()
    check = found.engines[0]
    assert check.engine == "onnxruntime"
    assert check.runs
    assert check.builds
    assert check.version == f"onnxruntime {metadata.version('onnxruntime')}"
    assert "CPUExecutionProvider" in check.detail
    assert check.next is None
    assert found.healthy
    assert found.python == platform.python_version()


def test_it_brings_nothing_heavy_into_the_process(tmp_path: Path) -> None:
    assert elsewhere(tmp_path)["heavy"] == []


def test_where_no_engine_is_installed_it_says_what_to_type(tmp_path: Path) -> None:
    broken = "raise ImportError('its library is missing')"
    ours = ("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx")
    found = elsewhere(tmp_path, **dict.fromkeys(ours, broken))
    assert found["healthy"] is False
    tensorrt = engine(found, "tensorrt")
    for name in ("onnxruntime", "openvino"):
        assert engine(found, name)["detail"] == "its library is missing"
        assert engine(found, name)["next"] == f"pip install 'edgegan[{name}]'"
    assert tensorrt["runs"] is tensorrt["builds"] is False
    assert tensorrt["version"] is None
    if platform.system() in ("Linux", "Windows") and jetson_linux() is None:
        assert tensorrt["next"] == "pip install 'edgegan[tensorrt]'"


def test_the_package_indexs_stub_is_told_from_nothing_at_all(tmp_path: Path) -> None:
    info = tmp_path / "tensorrt-10.3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorrt\nVersion: 10.3.0\n")
    broken = "raise ImportError"
    check = engine(elsewhere(tmp_path, tensorrt=broken, tensorrt_rtx=broken), "tensorrt")
    assert str(check["detail"]).startswith("tensorrt 10.3.0 is installed without its libraries")


@pytest.mark.skipif(driver_gpu() is not None, reason="there is a GPU")
def test_tensorrt_without_a_gpu_builds_only(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    check = engine(elsewhere(tmp_path), "tensorrt")
    assert check["builds"] is True
    assert check["runs"] is False
    assert "GPU" in str(check["detail"])


def test_the_release_of_jetson_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "RELEASE", tmp_path / "nv_tegra_release")
    assert jetson_linux() is None
    (tmp_path / "nv_tegra_release").write_text(RELEASE)
    assert jetson_linux() == "36.4.3"


def test_on_a_jetson_tensorrt_comes_with_jetpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nv_tegra_release").write_text(RELEASE)
    monkeypatch.setattr(device, "RELEASE", tmp_path / "nv_tegra_release")
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    found = diagnose()
    assert found.jetson_linux == "36.4.3"
    assert "--system-site-packages" in (found.engines[-1].next or "")


@pytest.mark.parametrize(
    ("architecture", "processor", "gpu", "expected"),
    [
        ("aarch64", ORIN, Gpu("Orin", "8.7"), ["jetson-orin-nano", "arm64-cpu"]),
        ("aarch64", PI, None, ["raspberry-pi-5", "arm64-cpu"]),
        ("aarch64", Cpu("Cortex-A72", "Raspberry Pi 4 Model B Rev 1.4", ("asimd",)), None, []),
        ("x86_64", Cpu("EPYC", None, ("avx2",)), None, ["x64-cpu"]),
        (
            "x86_64",
            Cpu("Core", None, ("avx2", "avx_vnni")),
            RTX,
            ["rtx-desktop", *X64_VNNI],
        ),
        (
            "x86_64",
            Cpu("Xeon", None, ("avx2", "avx512_vnni")),
            H100,
            X64_VNNI,
        ),
        ("ppc64le", Cpu("POWER9", None, ()), None, []),
    ],
)
def test_which_targets_a_machine_is(
    architecture: str, processor: Cpu, gpu: Gpu | None, expected: list[str]
) -> None:
    assert list(matching_targets(architecture, processor, gpu)) == expected


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("avx2",), "7-bit"),
        (("avx2", "avx512_vnni"), "AVX-512 VNNI"),
        (("asimd", "asimddp", "i8mm"), "dot product and i8mm"),
        ((), "no fast"),
    ],
)
def test_int8_instructions_in_words(flags: tuple[str, ...], words: str) -> None:
    assert words in doctor._int8(flags)
