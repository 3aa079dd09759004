"""What a file is, and which of several an engine is to run where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegan.errors import InputError
from edgegan.runtime.artifact import (
    PRECISIONS,
    Artifact,
    Default,
    choose,
    default_of,
    known,
    named,
)
from edgegan.runtime.engines.registry import why_not

OPENVINO = Artifact("int8-openvino", "o.onnx", "int8", "openvino", "x86_64", 20)
WEB = Artifact("int8", "w.onnx", "int8", "onnxruntime", "wasm", 20)


def of(*names: str) -> list[Artifact]:
    return [
        {"int8-openvino": OPENVINO, "web": WEB}.get(name) or known(name, f"{name}.onnx") for name in names
    ]


def test_opset_and_outputs_are_read_from_the_file(models: Path, tmp_path: Path) -> None:
    found = Artifact.of(models / "labelled.uint8.onnx", precision="int8", engine="openvino", target="mine")
    assert (found.name, found.opset, found.uint8_outputs) == ("labelled.uint8", 17, True)
    assert not Artifact.of(models / "labelled.onnx").uint8_outputs
    (tmp_path / "no.onnx").write_bytes(b"no model")
    for path, what in (
        (tmp_path / "no.onnx", "not an ONNX model"),
        (tmp_path / "absent", "cannot read: No such"),
    ):
        with pytest.raises(InputError, match=what):
            Artifact.of(path)


def test_what_another_engines_file_was_rounded_like_is_not_optimized_away() -> None:
    assert known("fp32", "").optimized_by("onnxruntime")
    assert known("int8-arm64", "").optimized_by("onnxruntime")
    assert not known("int8-tensorrt", "").optimized_by("onnxruntime")
    assert OPENVINO.optimized_by("openvino")


ARM, X64 = ("onnxruntime", "aarch64"), ("onnxruntime", "x86_64")


@pytest.mark.parametrize(
    ("names", "default", "engine", "machine", "chosen"),
    [
        ("fp32 int8", ("int8", *X64), "onnxruntime", "x86_64", "int8"),
        ("fp32 int8", ("fp32", *X64), "onnxruntime", "x86_64", "fp32"),
        ("fp32 int8 int8-arm64", ("int8", *X64), "onnxruntime", "x86_64", "int8"),
        ("fp32 int8 int8-arm64", ("int8", *X64), "onnxruntime", "aarch64", "int8-arm64"),
        ("fp32 int8 int8-arm64", ("fp32", *X64), "onnxruntime", "arm64", "int8-arm64"),
        ("fp32 int8 int8-arm64", ("fp32", *ARM), "onnxruntime", "arm64", "fp32"),
        ("fp32 int8", ("int8", *X64), "onnxruntime", "aarch64", "int8"),
        ("fp32 int8", ("fp32", *X64), "onnxruntime", "aarch64", "fp32"),
        ("fp32 int8 int8-arm64", ("int8-arm64", *ARM), "onnxruntime", "x86_64", "int8"),
        ("fp32 int8 int8-arm64", ("fp32", *X64), "onnxruntime", "AMD64", "fp32"),
        ("fp32 int8-arm64", ("int8-arm64", *ARM), "onnxruntime", "x86_64", "int8-arm64"),
        ("int8-arm64 web", None, "onnxruntime", "x86_64", "int8"),
        ("fp32 int8 int8-tensorrt", ("int8-tensorrt", *X64), "onnxruntime", "x86_64", "int8"),
        ("fp32 int8-tensorrt int8-openvino", None, "onnxruntime", "aarch64", "fp32"),
        ("fp16 int8-tensorrt", None, "onnxruntime", "x86_64", "fp16"),
        ("int8 fp32 fp16 int8-tensorrt", ("fp32", *X64), "tensorrt", "x86_64", "int8-tensorrt"),
        ("int8 fp32 fp16", ("int8", *X64), "tensorrt", "aarch64", "fp16"),
        ("int8 fp32", None, "tensorrt", "aarch64", "fp32"),
        ("int8 fp16 fp32 int8-openvino", ("int8", *X64), "openvino", "x86_64", "int8-openvino"),
        ("int8 fp16 fp32", ("int8", *X64), "openvino", "x86_64", "fp32"),
        ("int8 fp32", ("int8", *X64), "another", "x86_64", "fp32"),
    ],
)
def test_what_an_engine_runs(
    names: str, default: tuple[str, str, str] | None, engine: str, machine: str, chosen: str
) -> None:
    found = Default(*default) if default else None
    for artifacts in (of(*names.split()), of(*reversed(names.split()))):
        assert choose(artifacts, engine=engine, machine=machine, default=found).name == chosen


def test_a_name_is_taken_whatever_it_is_for_and_one_that_is_not_there_is_refused() -> None:
    artifacts = of("fp32", "int8-tensorrt")
    assert choose(artifacts, engine="onnxruntime", machine="", name="int8-tensorrt") == artifacts[1]
    with pytest.raises(InputError, match=r"no model 'int4'\n.*choose one of fp32, int8-tensorrt"):
        named(artifacts, "int4")
    with pytest.raises(InputError, match=r"no model for openvino, only int8-tensorrt \(for tensorrt\)"):
        choose(artifacts[1:], engine="openvino", machine="x86_64")


kinds = st.builds(
    Artifact,
    name=st.uuids().map(str),
    file=st.just("x.onnx"),
    precision=st.sampled_from(PRECISIONS),
    engine=st.sampled_from([None, "onnxruntime", "openvino", "tensorrt"]),
    arch=st.sampled_from([None, "x86_64", "aarch64", "wasm"]),
)


@given(
    artifacts=st.lists(kinds, min_size=1, max_size=6),
    engine=st.sampled_from(["onnxruntime", "tensorrt"]),
    machine=st.sampled_from(["x86_64", "arm64", "riscv64"]),
)
def test_a_choice_is_one_that_the_engine_may_run_and_rests_on_no_name(
    artifacts: list[Artifact], engine: str, machine: str
) -> None:
    able = [artifact for artifact in artifacts if artifact.engine in (None, engine)]
    if not able:
        with pytest.raises(InputError, match="no model for"):
            choose(artifacts, engine=engine, machine=machine)
        return
    chosen = choose(artifacts, engine=engine, machine=machine)
    assert chosen in able
    renamed = [replace(artifact, name=str(index), file="") for index, artifact in enumerate(artifacts)]
    again = choose(renamed, engine=engine, machine=machine)
    assert replace(again, name="", file="") == replace(chosen, name="", file="")
    assert why_not(chosen, artifacts, engine=engine, machine=machine) is None


@pytest.mark.parametrize(
    ("names", "machine", "chosen"),
    [
        ("int8 int8-arm64 fp32", "x86_64", "int8"),
        ("int8 int8-arm64 fp32", "aarch64", "int8-arm64"),
        ("int8 fp32", "arm64", "int8"),
        ("int8-arm64 fp32", "x86_64", "int8-arm64"),
        ("int8-tensorrt fp16 fp32", "x86_64", "fp32"),
        ("int8-tensorrt", "aarch64", "int8-tensorrt"),
    ],
)
def test_what_a_bundle_runs_by_default(names: str, machine: str, chosen: str) -> None:
    assert default_of(of(*names.split()), machine).name == chosen


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
    found = default_of(of("fp32", "fp16", "int8"), "AMD64", intervals)
    assert found == Default(chosen, "onnxruntime", "x86_64")


def test_why_a_file_is_not_run_here() -> None:
    both = of("int8", "int8-arm64", "int8-tensorrt")
    reasons = [why_not(each, both, engine="onnxruntime", machine="x86_64") for each in both]
    assert reasons == [
        None,
        "it is for ONNX Runtime on arm64 CPUs, and this is x86_64",
        "it is for TensorRT",
    ]
    alone = of("int8-arm64", "fp32")
    assert why_not(alone[0], alone, engine="onnxruntime", machine="x86_64") is None
