"""INT8 files for TensorRT, of the recipe's and third-party generators, built as engines without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt_rtx builds these engines; it has no wheel for this machine"
)

import deployed

from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Context
from edgegan.runtime.engines.tensorrt.build import build_engine

KERNELS = ("correlation", "gemm", "deconv")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", deployed.NAMES)
def test_each_layer_of_the_file_is_an_int8_kernel_of_the_engine(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    before = deployed.candidate(name, request, tmp_path)
    settings = QuantizeSettings(
        targets=("jetson-orin-nano",),
        samples=8,
        calibrator="mse",
        equalize=False,
        gptq=False,
        bias_correction=False,
        quality={},
    )
    stage = Quantize(settings)
    after = stage.run(before, Context(tmp_path))
    stage.ensures(before, after)
    proof = after.lineage[-1].proof["int8-tensorrt"]
    built = build_engine(after.files["int8-tensorrt"].read_bytes())
    assert built.strongly_typed
    assert built.warnings == ()
    precisions = {
        node: layer.precision for layer in built.layers if layer.kind in KERNELS for node in layer.nodes
    }
    assert proof["int8_macs_share"] > 0.9
    assert {precisions[layer] for layer in proof["int8_layers"]} == {"int8"}
    assert {precisions[layer] for layer in proof["float_layers"]} <= {"float16"}
