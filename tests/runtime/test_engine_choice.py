"""Which engine and model a bundle runs on; on this machine ONNX Runtime, for what TensorRT cannot do here."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgegan.errors import EngineFallback, InputError
from edgegan.runtime import Bundle, Contract, Generator, write_bundle
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.runtime.engines.tensorrt import kind
from edgegan.runtime.engines.tensorrt.cuda import Gpu, gpu
from edgegan.runtime.engines.tensorrt.module import describe
from edgegan.runtime.manifest import EngineEntry

on_a_cpu = pytest.mark.skipif(gpu() is not None, reason="this machine has a GPU, so nothing has to give way")


@pytest.fixture
def both(tmp_path: Path, models: Path, contract: Contract) -> Bundle:
    """A bundle with a model for TensorRT, whose images are uint8, and one for ONNX Runtime."""
    return write_bundle(
        tmp_path / "both",
        name="both",
        contract=contract,
        models={"int8-tensorrt": models / "labelled.uint8.onnx", "fp32": models / "labelled.onnx"},
        default="fp32",
    )


@pytest.fixture
def with_engine(both: Bundle) -> Bundle:
    sha256 = both.manifest.files["model.int8-tensorrt.onnx"].sha256
    entry = EngineEntry("a.plan", "int8-tensorrt", sha256, "tensorrt", "10.3.0", "Orin", "8.7", (1, 1, 16))
    return both.add_engines({entry: b"plan"})


@on_a_cpu
def test_without_a_gpu_tensorrt_gives_way_and_says_so(both: Bundle) -> None:
    with pytest.warns(
        EngineFallback, match="runs on ONNX Runtime, not on TensorRT: .*(GPU|is installed)"
    ) as seen:
        generator = Generator.load(both.folder, engine="tensorrt")
    assert generator.engine_notes == (str(seen[0].message),)
    assert seen[0].filename == __file__
    assert generator.engine.name.startswith("onnxruntime")
    assert generator.engine.outputs["image"].dtype == "float32"
    np.testing.assert_array_equal(generator(n=3, seed=2), Generator.load(both.folder)(n=3, seed=2))


@on_a_cpu
def test_the_precision_stays_unless_it_is_tensorrts_alone(both: Bundle) -> None:
    for precision in ("fp32", "int8-tensorrt"):
        with pytest.warns(EngineFallback):
            generator = Generator.load(both.folder, engine="tensorrt", precision=precision)
        assert generator.engine.outputs["image"].dtype == "float32"
    assert Generator.load(both.folder, precision="int8-tensorrt").engine.outputs["image"].dtype == "uint8"


@on_a_cpu
def test_an_engine_for_another_machine_is_left_alone(with_engine: Bundle) -> None:
    with pytest.warns(EngineFallback, match="runs on ONNX Runtime"):
        generator = Generator.load(with_engine.folder, trust_engines=True)
    assert generator.engine.outputs["image"].dtype == "float32"
    assert len(generator.engine_notes) == 1


@pytest.mark.parametrize("engine", ["auto", "tensorrt"])
def test_a_bundles_engines_are_loaded_on_request_only(
    with_engine: Bundle, monkeypatch: pytest.MonkeyPatch, engine
) -> None:
    loaded: list[bytes] = []

    def load(plan: bytes, *, trt: object = None) -> OnnxRuntimeEngine:
        loaded.append(plan)
        return OnnxRuntimeEngine(with_engine.model("fp32"))

    orin, trt = Gpu("Orin", "8.7"), describe(None, "tensorrt", (10, 3, 0))
    monkeypatch.setattr(kind, "driver_gpu", lambda: orin)
    monkeypatch.setattr(kind, "find", lambda: trt)
    monkeypatch.setattr(kind, "Cuda", lambda: SimpleNamespace(gpu=lambda: orin))
    monkeypatch.setattr(kind, "build_engine", lambda *_, **__: SimpleNamespace(plan=b"built here", trt=trt))
    monkeypatch.setattr(kind, "TensorRTEngine", load)
    with pytest.warns(EngineFallback, match=r"engines are programs, and were not loaded.*trust_engines"):
        Generator.load(with_engine.folder, engine=engine)
    assert loaded == ([] if engine == "auto" else [b"built here"])
    loaded.clear()
    assert Generator.load(with_engine.folder, engine=engine, trust_engines=True).engine_notes == ()
    assert loaded == [b"plan"]


def test_nothing_is_said_where_onnxruntime_is_meant(both: Bundle, with_engine: Bundle) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator = Generator.load(with_engine.folder, engine="onnxruntime")
        assert generator.engine_notes == ()
        assert generator.engine.outputs["image"].dtype == "float32"


def test_a_bundle_without_engines_runs_on_onnxruntime(both: Bundle) -> None:
    generator = Generator.load(both.folder)
    assert generator.engine_notes == ()
    assert generator.engine.name.startswith("onnxruntime")


@pytest.mark.parametrize("engine", ["tensorrt", "auto", "onnxruntime"])
def test_a_precision_that_is_not_there(with_engine: Bundle, engine) -> None:
    with pytest.raises(InputError, match="no model 'int4'"):
        Generator.load(with_engine.folder, engine=engine, precision="int4")


def test_an_engine_that_is_none(both: Bundle) -> None:
    with pytest.raises(InputError, match=r"no engine 'cuda'\n.*auto, onnxruntime, openvino, tensorrt"):
        Generator.load(both.folder, engine="cuda")


def test_a_file_for_another_engine_is_run_where_it_is_named_only(
    tmp_path: Path, models: Path, contract: Contract
) -> None:
    only = Artifact.of(models / "labelled.uint8.onnx", "int8-tensorrt", precision="int8", engine="tensorrt")
    bundle = write_bundle(
        tmp_path / "only",
        name="only",
        contract=contract,
        models=[only],
        default=only.name,
    )
    with pytest.raises(InputError, match=r"no model for onnxruntime, only int8-tensorrt \(for tensorrt\)"):
        Generator.load(bundle.folder)
    generator = Generator.load(bundle.folder, precision="int8-tensorrt")
    assert generator(n=2).shape == (2, 2, 4, 3)
