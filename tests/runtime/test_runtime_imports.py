"""What the runtime brings into a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "onnx", "scipy", "pydantic", "yaml", "typer", "rich", "matplotlib", "psutil")
LATE = ("onnxruntime", "PIL")


def modules_after(code: str, folder: Path) -> set[str]:
    code += "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_importing_it_brings_numpy_only(tmp_path: Path) -> None:
    loaded = modules_after("from edgegan.runtime import Bundle, Contract, Generator, write_bundle", tmp_path)
    assert "numpy" in loaded
    assert not loaded & {*HEAVY, *LATE}


@pytest.mark.usefixtures("bundle")
def test_running_it_brings_onnxruntime_only(tmp_path: Path) -> None:
    loaded = modules_after(
        "from edgegan.runtime import Generator\nGenerator.load('bundle')(n=2, label=1)", tmp_path
    )
    assert "onnxruntime" in loaded
    assert not loaded & {*HEAVY, "PIL"}
