"""Which engine and model a bundle runs on; on this machine ONNX Runtime, for what TensorRT cannot do here."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgegan.errors import EngineFallback, InputError
from edgegan.runtime import Bundle, Contract, Generator, engine_choice, write_bundle
from edgegan.runtime.engine_choice import default_precision, onnxruntime_precision
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.runtime.engines.tensorrt.cuda import Gpu, gpu
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
        lineage=[],
        figures={},
        extra_files={},
    )


@pytest.fixture
def with_engine(both: Bundle) -> Bundle:
    sha256 = both.manifest.files["model.int8-tensorrt.onnx"].sha256
    entry = EngineEntry("a.plan", "int8-tensorrt", sha256, "tensorrt", "10.3.0", "Orin", "8.7", (1, 1, 16))
    return both.add_engines({entry: b"plan"})


@on_a_cpu
def test_without_a_gpu_tensorrt_gives_way_and_says_so(both: Bundle) -> None:
    with pytest.warns(
        EngineFallback, match="runs on ONNX Runtime, not on TensorRT: .*(GPU|not installed)"
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

    def load(plan: bytes, *, trt: object) -> OnnxRuntimeEngine:
        loaded.append(plan)
        return OnnxRuntimeEngine(with_engine.model("fp32"))

    gpu = SimpleNamespace(gpu=lambda: Gpu("Orin", "8.7"))
    trt = SimpleNamespace(name="tensorrt", version_text="10.3.0", text="TensorRT 10.3.0")
    monkeypatch.setattr(engine_choice, "require", lambda: trt)
    monkeypatch.setattr(engine_choice, "Cuda", lambda: gpu)
    monkeypatch.setattr(engine_choice, "build_model", lambda *_: SimpleNamespace(plan=b"built here"))
    monkeypatch.setattr(engine_choice, "TensorRTEngine", load)
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
    with pytest.raises(InputError, match=r"no engine 'cuda'\n.*auto, onnxruntime, tensorrt"):
        Generator.load(both.folder, engine="cuda")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("models", "default", "machine", "chosen"),
    [
        (("fp32", "int8"), "int8", "x86_64", "int8"),
        (("fp32", "int8"), "fp32", "x86_64", "fp32"),
        (("fp32", "int8", "int8-arm64"), "int8", "x86_64", "int8"),
        (("fp32", "int8", "int8-arm64"), "int8", "aarch64", "int8-arm64"),
        (("fp32", "int8", "int8-arm64"), "int8", "arm64", "int8-arm64"),
        (("fp32", "int8"), "int8", "aarch64", "int8"),
        (("fp32", "int8", "int8-arm64"), "int8-arm64", "x86_64", "int8"),
        (("fp32", "int8", "int8-arm64"), "fp32", "AMD64", "fp32"),
        (("fp32", "int8-arm64"), "int8-arm64", "x86_64", "int8-arm64"),
        (("fp32", "int8", "int8-tensorrt"), "int8-tensorrt", "x86_64", "int8"),
        (("fp32", "int8-tensorrt"), "int8-tensorrt", "aarch64", "fp32"),
        (("fp16", "int8-tensorrt"), "int8-tensorrt", "x86_64", "fp16"),
    ],
)
def test_what_onnxruntime_runs(models: tuple[str, ...], default: str, machine: str, chosen: str) -> None:
    assert onnxruntime_precision({key: f"model.{key}.onnx" for key in models}, default, machine) == chosen


@pytest.mark.parametrize(
    ("models", "machine", "chosen"),
    [
        (("int8", "int8-arm64", "fp32"), "x86_64", "int8"),
        (("int8", "int8-arm64", "fp32"), "aarch64", "int8-arm64"),
        (("int8", "fp32"), "arm64", "int8"),
        (("int8-arm64", "fp32"), "x86_64", "int8-arm64"),
        (("int8-tensorrt", "fp16", "fp32"), "x86_64", "fp32"),
        (("int8-tensorrt",), "aarch64", "int8-tensorrt"),
    ],
)
def test_what_a_bundle_runs_by_default(models: tuple[str, ...], machine: str, chosen: str) -> None:
    assert default_precision(models, machine) == chosen
    if chosen != "int8-tensorrt":
        named = {key: f"model.{key}.onnx" for key in models}
        assert onnxruntime_precision(named, chosen, machine) == chosen


def test_onnxruntime_never_runs_a_file_for_tensorrt_unasked(both: Bundle) -> None:
    only = {"int8-tensorrt": "model.int8-tensorrt.onnx"}
    with pytest.raises(InputError, match="for TensorRT only: int8-tensorrt"):
        onnxruntime_precision(only, "int8-tensorrt", "x86_64")
    files = {name: both.manifest.files[name] for name in only.values()}
    manifest = replace(both.manifest, models=only, default="int8-tensorrt", files=files)
    (both.folder / "model.fp32.onnx").unlink()
    (both.folder / "manifest.json").write_bytes(manifest.to_bytes())
    with pytest.raises(InputError, match="for TensorRT only"):
        Generator.load(both.folder)
    generator = Generator.load(both.folder, precision="int8-tensorrt")
    assert generator(n=2).shape == (2, 2, 4, 3)


@pytest.mark.parametrize(
    ("speedups", "chosen"),
    [
        ({"int8": 2.0, "fp32": 1.5, "fp16": 1.4}, "int8"),
        ({"int8": 0.8, "fp32": 1.0}, "fp32"),
        ({"int8": 0.95, "fp32": 1.0}, "int8"),
        ({"int8": 1.5, "fp32": 1.5, "fp16": 1.1}, "int8"),
        ({"int8": 1.2, "fp32": 1.6, "fp16": 2.1}, "fp16"),
        ({"fp32": 9.0}, "int8"),
        ({"int8": 1.0, "fp16": 0.5}, "int8"),
    ],
)
def test_int8_that_is_surely_slower_is_not_the_default(speedups: dict[str, float], chosen: str) -> None:
    intervals = {
        name: {"value": value, "low": 0.95 * value, "high": 1.05 * value} for name, value in speedups.items()
    }
    assert default_precision(("fp32", "fp16", "int8"), "x86_64", intervals) == chosen
