"""The device's floors in environments of their own: no torch, no onnx, on the Pythons that devices carry.

CPython 3.10 gets the lowest versions that pyproject.toml allows, CPython 3.12 the newest; all tests of
measuring run on the lowest, since the rest of the gate has the newest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEVER = ("torch", "onnx", "yaml", "onnxscript", "torchao")
"""Not installed. pydantic may be: newer typers bring it, and tests/runtime shows it is not imported."""
TOOLS = ("pytest>=8.4,<10", "hypothesis>=6.140,<7")


def call(*command: object, cwd: Path) -> str:
    """Run a command in a clean environment; return its output, or fail with the end of it."""
    outside = ("PYTHON", "PYTEST", "VIRTUAL_ENV", "COV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
    ran = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\n{ran.stdout[-8000:]}", pytrace=False)
    return ran.stdout


def interpreter(version: str) -> Path:
    """Return a CPython of `version`, from PATH or pyenv; skip the test where there is none."""
    candidates = [found] if (found := shutil.which(f"python{version}")) else []
    for root in (os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"):
        if root:
            candidates += sorted(map(str, Path(root).glob(f"versions/{version}*/bin/python")))
    check = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates:
        ran = subprocess.run([candidate, "-c", check], capture_output=True, text=True)
        if ran.returncode == 0 and ran.stdout.strip() == version:
            return Path(candidate)
    pytest.skip(f"CPython {version} with venv is neither on PATH nor in pyenv's versions folder")


def lowest() -> str:
    """Return constraints that hold the device's dependencies at the lowest versions of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text()
    found = dict(re.findall(r'"(numpy|onnxruntime|pillow|scipy|psutil)>=([\d.]+)', text))
    assert len(found) == 5
    return "".join(f"{name}=={version}\n" for name, version in found.items())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, cwd=folder)
    return next(folder.glob("edgegan-*.whl"))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.12"])
def test_runtime_and_measure_stand_alone(version: str, wheel: Path, tmp_path: Path) -> None:
    call(interpreter(version), "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    bin_ = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    (tmp_path / "constraints.txt").write_text(lowest() if version == "3.10" else "")
    install = (bin_ / "python", "-m", "pip", "install", "-q", "-c", tmp_path / "constraints.txt")
    for extra in ("onnxruntime", "measure"):
        call(*install, f"{wheel}[{extra}]", *TOOLS, cwd=tmp_path)
        check = f"""
import importlib.util, pathlib, sys, edgegan
assert pathlib.Path(sys.prefix) in pathlib.Path(edgegan.__file__).parents, edgegan.__file__
assert not [name for name in {NEVER} if importlib.util.find_spec(name)]
assert ({extra!r} == "measure") == bool(importlib.util.find_spec("scipy"))
"""
        call(bin_ / "python", "-c", check, cwd=tmp_path)
        measuring = ["measure", "evaluate"] if version == "3.10" else ["measure/metrics"]
        floors = {"onnxruntime": ["runtime"], "measure": measuring}[extra]
        folders = [ROOT / "tests" / floor for floor in floors]
        out = call(bin_ / "pytest", "-q", "-p", "no:cacheprovider", *folders, cwd=ROOT)
        assert re.search(r"\d+ passed", out), out
