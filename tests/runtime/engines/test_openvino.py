"""OpenVINO: what ONNX Runtime gives, the same refusals, and none of its telemetry."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgegan.errors import InputError, MissingDependency, ModelError
from edgegan.runtime import Contract, Generator
from edgegan.runtime.engines.base import Engine
from edgegan.runtime.engines.openvino import OpenVinoEngine
from edgegan.runtime.engines.registry import engine_kind, open_artifact

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture
def engine() -> Engine:
    return OpenVinoEngine(MODELS / "labelled.onnx", threads=1)


@pytest.mark.parametrize("model", ["labelled", "labelled.uint8", "two_outputs"])
def test_it_gives_what_onnxruntime_gives(model: str, contract: Contract) -> None:
    path = MODELS / f"{model}.onnx"
    with open_artifact(path, "onnxruntime") as ours, open_artifact(path, "openvino", threads=1) as theirs:
        assert theirs.inputs == ours.inputs
        assert theirs.outputs == ours.outputs
        assert list(theirs.outputs) == list(ours.outputs)
        for batch in (1, 5, 2):
            inputs = contract.sample(batch, batch)
            expected, got = ours(inputs), theirs(inputs)
            for name, array in expected.items():
                assert got[name].dtype == array.dtype
                np.testing.assert_allclose(got[name], array, atol=1e-5)


def test_its_name_says_engine_version_and_device(engine: Engine) -> None:
    assert engine.name == f"openvino {metadata.version('openvino')} CPU"


def test_threads_share_an_engine(engine: Engine, contract: Contract) -> None:
    expected = [engine(contract.sample(3, seed))["image"] for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda seed: engine(contract.sample(3, seed))["image"], range(8)))
    for mine, theirs in zip(expected, got):
        np.testing.assert_array_equal(mine, theirs)


def test_what_it_refuses(engine: Engine, contract: Contract, tmp_path: Path) -> None:
    inputs = contract.sample(2, 0)
    with pytest.raises(InputError, match="the model's inputs are"):
        engine({"z": inputs["z"]})
    with pytest.raises(ModelError, match="'z' is float64"):
        engine({**inputs, "z": inputs["z"].astype(np.float64)})
    with pytest.raises(ModelError, match=r"'z' is float32 \(2, 5\)"):
        engine({**inputs, "z": np.zeros((2, 5), np.float32)})
    with pytest.raises(InputError, match="1 or more, not 0"):
        OpenVinoEngine(MODELS / "labelled.onnx", threads=0)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    for model in (tmp_path / "bad.onnx", b"no model", tmp_path / "absent.onnx"):
        with pytest.raises(ModelError, match=r"openvino \S+ cannot load the model"):
            OpenVinoEngine(model)
    engine.close()
    with pytest.raises(InputError, match="the engine is closed"):
        engine(inputs)


def test_where_it_is_not_installed_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependency, match=r"edgegan\[openvino\]"):
        OpenVinoEngine(MODELS / "labelled.onnx")
    check = engine_kind("openvino").check()
    assert (check.runs, check.version, check.next) == (False, None, "pip install 'edgegan[openvino]'")


@pytest.mark.usefixtures("bundle")
def test_it_runs_a_bundle_and_tells_its_maker_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, numpy\n"
        "from edgegan.runtime import Generator\n"
        "images = Generator.load('bundle', engine='openvino', threads=1)(n=3, seed=5)\n"
        "numpy.save('images.npy', images)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(ran.stdout.split())
    assert "openvino" in loaded
    assert not loaded & {"openvino_telemetry", "onnxruntime", "torch", "onnx", "yaml", "pydantic", "scipy"}
    assert list(home.iterdir()) == []
    expected = Generator.load(tmp_path / "bundle", engine="onnxruntime")(n=3, seed=5)
    got = np.load(tmp_path / "images.npy")
    assert np.abs(got.astype(int) - expected).max() <= 1
