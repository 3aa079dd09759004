"""Real engines, built here without a GPU by tensorrt_rtx."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("onnx", reason="these tests make ONNX models; the device's floors have no onnx")
pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt_rtx builds these engines: pip install 'edgegan[tensorrt]'"
)

import tensorrt_models as made

from edgegan.errors import InputError, ModelError
from edgegan.runtime.engines.tensorrt import build
from edgegan.runtime.engines.tensorrt.build import build_engine, network_precisions
from edgegan.runtime.engines.tensorrt.cuda import Gpu, gpu
from edgegan.runtime.engines.tensorrt.log import listening
from edgegan.runtime.engines.tensorrt.module import describe, find

ORIN = Gpu("Orin", "8.7")


def computed(built: build.BuiltEngine, node: str) -> set[str]:
    """Return what the layers that do the work of an ONNX node compute in."""
    return {layer.precision for layer in built.layers if node in layer.nodes and layer.kind == "correlation"}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_generator_is_built_in_the_types_of_its_file(dtype: str) -> None:
    built = build_engine(made.generator(dtype))
    assert len(built.plan) > 10_000
    assert built.strongly_typed
    assert built.warnings == ()
    assert built.batches == (1, 1, 16)
    assert built.gpu is None
    assert computed(built, "conv") == {dtype}


def test_int8_is_computed_in_int8() -> None:
    built = build_engine(made.quantized())
    assert built.warnings == ()
    assert computed(built, "conv") == {"int8"}
    assert "int8" in {type_ for layer in built.layers for type_ in layer.outputs}
    types = network_precisions(made.quantized())
    assert types["quantize"] == "int8"
    assert types["conv"] == "float32"


def test_an_image_may_leave_as_uint8() -> None:
    built = build_engine(made.pixels(), batches=(1, 64, 64))
    assert built.layers[-1].outputs == ("uint8",)
    assert built.batches == (1, 64, 64)


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (made.quantized(0, "uint8"), "UINT8"),
        (made.quantized(128, "uint8"), r"node 'quantize' \(QuantizeLinear\): .*zero point"),
        (made.quantized(3), r"node 'quantize' \(QuantizeLinear\): .*zero point"),
        (made.quantized(bias=True), r"node 'bias' \(DequantizeLinear\): .*Int32"),
    ],
)
def test_int8_that_is_not_tensorrts(model: bytes, what: str) -> None:
    with pytest.raises(ModelError, match=what) as caught:
        build_engine(model)
    assert "int8 with zero point 0, and no int32 bias" in (caught.value.next or "")
    assert "cudaError" not in caught.value.what


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (b"", "holds no graph"),
        (b"not a model", "Failed to parse"),
        (made.relu("N", 3)[:-9], "Failed to parse"),
        (made.unknown(), r"node 'odd' \(Frobnicate\)"),
        (made.relu(2, 3), r"input 'x' is \(2, 3\)"),
        (made.relu("N", "M"), r"input 'x' is \(-1, -1\)"),
        (made.relu(), r"input 'x' is \(\)"),
    ],
)
def test_what_cannot_be_built(model: bytes, what: str) -> None:
    with pytest.raises(ModelError, match=what):
        build_engine(model)


def test_free_axes_are_filled_by_the_contract() -> None:
    assert build_engine(made.relu("N", "M"), shapes={"x": ((5,), (5,), (5,))}).plan
    assert build_engine(made.relu("N", "M"), batches=(1, 1, 1), shapes={"x": ((2,), (5,), (64,))}).plan


def test_what_is_said_is_heard_while_another_builder_lives() -> None:
    """TensorRT ignores all loggers but the first as long as anything that has it lives."""
    trt = find()
    assert trt
    with listening(trt) as (log, before):
        held = trt.module.Runtime(log), trt.module.Builder(log)
        built = build_engine(made.quantized())
        with pytest.raises(ModelError, match="node 'quantize'"):
            build_engine(made.quantized(3))
    assert len(held) == 2
    assert computed(built, "conv") == {"int8"}
    assert not [*before.errors, *before.warnings]


@pytest.mark.parametrize("batches", [(0, 1, 2), (2, 1, 4), (1, 4, 2)])
def test_batches_that_do_not_rise(batches: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="the least, the best and the largest"):
        build_engine(made.quantized(), batches=batches)


@pytest.mark.skipif(gpu() is not None, reason="this machine has a GPU")
def test_tensorrt_proper_needs_a_gpu() -> None:
    trt = find()
    assert trt
    with pytest.raises(InputError, match=r"tensorrt 10\.3\.0 builds on the GPU that will run the engine"):
        build_engine(made.quantized(), trt=describe(trt.module, "tensorrt", (10, 3, 0)))


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
def test_timings_are_kept_for_this_version_and_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tensorrt_rtx has the calls, and an empty cache: enough to see it go to disk and back."""
    found = find()
    assert found
    trt = dataclasses.replace(found, timing_cache=True, portable=False)
    monkeypatch.setattr(build, "gpu", lambda: ORIN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    first = build_engine(made.quantized(), trt=trt)
    path = tmp_path / "edgegan" / f"timing-{trt.name}-{trt.version_text}-orin-8.7.bin"
    assert [*path.parent.iterdir()] == [path]
    kept = path.read_bytes()
    assert len(kept) > 50
    assert first.gpu == ORIN
    for content in (kept, b"damaged"):
        path.write_bytes(content)
        assert computed(build_engine(made.quantized(), trt=trt), "conv") == {"int8"}
        assert path.read_bytes() == kept


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
def test_a_cache_that_cannot_be_written_stops_no_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find()
    assert found
    monkeypatch.setattr(build, "gpu", lambda: ORIN)
    (tmp_path / "file").write_text("in the way")
    trt = dataclasses.replace(found, timing_cache=True, portable=False)
    assert build_engine(made.quantized(), trt=trt, cache=tmp_path / "file").plan


@pytest.mark.parametrize(
    ("model", "wanted"),
    [(made.generator(), set()), (made.generator("float16"), {"fp16"}), (made.quantized(), {"int8"})],
)
def test_weakly_typed_networks_may_use_the_types_of_the_file(model: bytes, wanted: set[str]) -> None:
    """TensorRT 8.6 is not here: the network is a real one, its flags and where they are set stand in."""
    trt = find()
    assert trt
    flags: set[str] = set()
    names = SimpleNamespace(INT8="int8", FP16="fp16")
    eight = dataclasses.replace(trt, module=SimpleNamespace(BuilderFlag=names))
    with listening(trt) as (log, said):
        builder = trt.module.Builder(log)
        network, parser = build._parse(builder, log, said, model, trt)
        build._allow_types(SimpleNamespace(set_flag=flags.add), network, eight)
        del parser
    assert flags == wanted
