"""The engine of ONNX Runtime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegan.errors import InputError, MissingDependency, ModelError
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine

INPUTS = {"z": np.ones((2, 4), np.float32), "label": np.array([1, 2])}


@pytest.fixture(scope="module")
def path(models: Path) -> Path:
    return models / "labelled.onnx"


def test_the_name_says_engine_version_and_device(path: Path) -> None:
    import onnxruntime

    assert OnnxRuntimeEngine(path).name == f"onnxruntime {onnxruntime.__version__} CPU"


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00\x00\x00\x00ORTM" + bytes(64)])
def test_what_is_not_a_model(content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="cannot load the model"):
        OnnxRuntimeEngine(content)
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        OnnxRuntimeEngine(tmp_path / "bad.onnx")
    assert capfd.readouterr().err == ""


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx"):
        OnnxRuntimeEngine(tmp_path / "absent.onnx")


def test_inputs_that_the_model_does_not_take(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = OnnxRuntimeEngine(path)
    with pytest.raises(InputError, match=r"inputs are \['label', 'z'\], not \['z'\]"):
        engine({"z": INPUTS["z"]})
    with pytest.raises(ModelError, match="cannot run"):
        engine({**INPUTS, "z": np.ones((2, 5), np.float32)})
    with pytest.raises(ModelError, match="cannot run"):
        engine({**INPUTS, "label": np.array([99, 1])})
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("threads", [0, -1, "3", 2.0, True])
def test_threads_that_are_no_number_from_one_on(path: Path, threads: Any) -> None:
    with pytest.raises(InputError, match=f"must be .*1 or more, not {threads!r}"):
        OnnxRuntimeEngine(path, threads=threads)


def test_without_onnxruntime(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependency, match=r"pip install 'edgegan\[onnxruntime\]'"):
        OnnxRuntimeEngine(path)
