"""`edgegan inspect --int8`: what really runs in INT8, of a bundle for ONNX Runtime and TensorRT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from torch import nn
from typer.testing import CliRunner

from edgegan.cli.inspect import inspect
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import InputError
from edgegan.runtime import Bundle, write_bundle
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.engines.tensorrt.module import find

CONTRACT = Contract(
    (Input("x", (3, 8, 8), sample=Sample("uniform", -1.0, 1.0)),), (Output("y", (3, 8, 8), (-1.0, 1.0)),)
)
LAYERS = {"0": 3 * 16 * 9, "2": 16 * 16 * 9, "4": 16 * 16 * 9, "6": 16 * 3 * 9}
APP = typer.Typer()
APP.command()(inspect)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Four convolutions, of which the third and the last are in float."""
    torch.manual_seed(0)
    convolutions = [
        nn.Conv2d(3 if name == "0" else 16, 3 if name == "6" else 16, 3, padding=1) for name in LAYERS
    ]
    first, second, third, last = convolutions
    module = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third, nn.ReLU(), last, nn.Tanh())
    module.eval().requires_grad_(False)
    folder = tmp_path_factory.mktemp("inspect")
    settings = QuantizeSettings(
        targets=("x64-cpu", "jetson-orin-nano"),
        samples=16,
        calibrator="mse",
        equalize=False,
        gptq=False,
        bias_correction=False,
        skip=("4", "6"),
        quality={},
    )
    after = Quantize(settings).run(Candidate(module, module, CONTRACT), Context(folder))
    return write_bundle(
        folder / "bundle",
        name="small",
        contract=CONTRACT,
        models=after.files,
        default="int8",
    )


def run(*words: object):
    return CliRunner().invoke(APP, [str(word) for word in words])


def test_json_says_what_each_layer_runs_in(bundle: Bundle) -> None:
    found = json.loads(run(bundle.folder, "--int8", "--json").output)
    assert set(found) == {"int8", "int8-tensorrt"}
    total = sum(LAYERS.values())
    for model in found.values():
        precisions = {layer["layer"]: layer["precision"] for layer in model["layers"]}
        assert precisions == {"0": "int8", "2": "int8", "4": "float", "6": "float"}
        shares = {layer["layer"]: layer["macs_share"] for layer in model["layers"]}
        assert shares == {name: round(macs / total, 4) for name, macs in LAYERS.items()}
        assert model["int8_macs_share"] == pytest.approx(shares["0"] + shares["2"], abs=1e-3)
    ours = found["int8"]
    assert ours["engine"].startswith("onnxruntime ")
    assert ours["operators"]["QLinearConv"] == 2
    assert ours["float_operators"]["Conv"] == 2
    assert not {"QLinearConv", "QuantizeLinear"} & set(ours["float_operators"])
    assert sum(ours["float_operators"].values()) < sum(ours["operators"].values())


@pytest.mark.skipif(find() is None, reason="no TensorRT is installed to build with")
def test_tensorrt_says_what_it_built(bundle: Bundle) -> None:
    model = json.loads(run(bundle.folder, "--int8", "--json").output)["int8-tensorrt"]
    assert model["engine"].startswith("tensorrt")
    assert {layer["layer"]: layer["built"] for layer in model["layers"]} == {
        "0": "int8",
        "2": "int8",
        "4": "float16",
        "6": "float16",
    }


def test_a_table_for_people(bundle: Bundle) -> None:
    lines = run(bundle.folder, "--int8").output.splitlines()
    share = (LAYERS["0"] + LAYERS["2"]) / sum(LAYERS.values())
    assert lines[0].startswith("int8: model.int8.onnx on onnxruntime ")
    assert lines[0].endswith(f": {share:.1%} of the MACs in INT8, 2 of 4 layers")
    cells = [line.split() for line in lines]
    assert ["2", f"{LAYERS['2'] / sum(LAYERS.values()):.1%}", "int8"] in cells
    assert any(line.startswith("in float") and "Conv 2" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_a_bundle_without_int8_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    plain = write_bundle(
        tmp_path / "plain",
        name="plain",
        contract=CONTRACT,
        models={"fp32": bundle.folder / "model.int8.onnx"},
        default="fp32",
    )
    result = run(plain.folder, "--int8")
    assert isinstance(result.exception, InputError)
    assert "no INT8 model: it has fp32" in str(result.exception)
