"""`edgegan build`: what it puts into a bundle, prints and refuses. tensorrt_rtx builds here without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt_rtx builds these engines: it has no wheel for this machine"
)

from edgegan.cli.build import build
from edgegan.cli.generate import generate
from edgegan.cli.inspect import inspect
from edgegan.errors import InputError
from edgegan.runtime import Bundle, Contract, write_bundle
from edgegan.runtime.contract import Input, Output, Sample
from edgegan.runtime.engines.tensorrt.cuda import gpu

MODELS = Path(__file__).parents[1] / "runtime" / "models"
APP = typer.Typer()
for verb in (build, generate, inspect):
    APP.command()(verb)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    inputs = (Input("z", (4,)), Input("label", (), "int64", Sample("labels", classes=10)))
    return write_bundle(
        tmp_path / "bundle",
        name="labelled",
        contract=Contract(inputs, (Output("image", (3, 2, 4)),)),
        models={"fp32": MODELS / "labelled.onnx", "uint8": MODELS / "labelled.uint8.onnx"},
        default="fp32",
    )


def run(*words: object):
    return CliRunner().invoke(APP, [str(word) for word in words])


def test_the_engine_for_tensorrt_is_built_into_the_bundle(bundle: Bundle) -> None:
    result = run("build", bundle.folder)
    assert result.exit_code == 0, result.output
    (entry,) = Bundle.open(bundle.folder).manifest.engines
    assert (entry.artifact, entry.module, entry.gpu, entry.batches) == (
        "fp32",
        "tensorrt_rtx",
        None,
        (1, 1, 16),
    )
    assert entry.onnx_sha256 == bundle.manifest.files["model.fp32.onnx"].sha256
    assert f"built {entry.file}" in result.output
    assert "float32" in result.output
    assert (
        f"engine  fp32: tensorrt_rtx {entry.version}, for any RTX GPU" in run("inspect", bundle.folder).output
    )


def test_several_models_and_batches(bundle: Bundle) -> None:
    words = ("--precision", "fp32", "--precision", "uint8", "--batches", "1,2,4", "--json")
    result = run("build", bundle.folder, *words)
    built = json.loads(result.output)
    assert [engine["artifact"] for engine in built] == ["fp32", "uint8"]
    assert all(engine["strongly_typed"] and not engine["warnings"] for engine in built)
    assert all(engine["batches"] == [1, 2, 4] and engine["bytes"] > 1000 for engine in built)
    assert len(Bundle.open(bundle.folder).manifest.engines) == 2
    assert run("build", bundle.folder).exit_code == 0
    assert len(Bundle.open(bundle.folder).manifest.engines) == 2


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--precision", "int4"), "no model 'int4'"),
        (("--batches", "1,2"), "three whole numbers, not '1,2'"),
        (("--batches", "a,b,c"), "three whole numbers"),
        (("--batches", "4,2,1"), "the least, the best and the largest"),
    ],
)
def test_what_cannot_be_built(bundle: Bundle, words: tuple[str, ...], what: str) -> None:
    with pytest.raises(InputError, match=what):
        raise run("build", bundle.folder, *words).exception or AssertionError
    assert Bundle.open(bundle.folder).manifest.engines == ()


@pytest.mark.skipif(gpu() is not None, reason="this machine has a GPU, so nothing has to give way")
def test_generate_says_which_engine_gives_way(bundle: Bundle, tmp_path: Path) -> None:
    result = run("generate", bundle.folder, "--engine", "tensorrt", "--out", tmp_path / "grid.png")
    assert result.exit_code == 0, result.output
    assert "note: runs on ONNX Runtime, not on TensorRT: " in result.stderr
    assert "(onnxruntime" in result.stdout
    result = run("generate", bundle.folder, "--engine", "tensorrt", "--out", tmp_path / "other.png", "--json")
    assert json.loads(result.stdout)["engine_notes"][0].startswith("runs on ONNX Runtime")
