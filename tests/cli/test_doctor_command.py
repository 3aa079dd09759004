"""`edgegan doctor`: what it prints, its JSON, and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgegan.cli import main
from edgegan.runtime.doctor import BOARDS
from edgegan.target import target_names


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(("doctor", *words))
    return int(caught.value.code or 0)


def test_it_says_that_onnxruntime_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["onnxruntime"].startswith("onnxruntime  runs: onnxruntime ")
    assert "tensorrt" in lines
    assert lines["python"].split()[1].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")


def test_its_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {check["engine"]: check["runs"] for check in found["engines"]}["onnxruntime"] is True
    assert set(found["targets"]) <= set(target_names())


def test_the_boards_that_it_knows_are_targets() -> None:
    assert set(BOARDS.values()) <= set(target_names())


def test_without_any_engine_it_exits_with_2(tmp_path: Path) -> None:
    for name in ("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('missing')")
    ran = subprocess.run(
        [sys.executable, "-m", "edgegan", "doctor"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2
    assert "onnxruntime  absent: missing\n  next: pip install 'edgegan[onnxruntime]'" in ran.stdout
    assert not ran.stderr
