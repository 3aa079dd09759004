"""Float files of the recipe's and third-party generators, built as TensorRT engines without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt_rtx builds these engines; it has no wheel for this machine"
)

import deployed
import onnx

from edgegan.compress.export import Export
from edgegan.compress.quantize.deploy.onnx_macs import layer_macs
from edgegan.compress.stage import Context
from edgegan.runtime.engines.tensorrt.build import build_engine

KERNELS = ("correlation", "deconv", "gemm", "runtime_fusion")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", deployed.NAMES)
def test_each_layer_of_the_engine_is_as_its_file_says(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    files = Export().run(deployed.candidate(name, request, tmp_path), Context(tmp_path)).files
    for precision, dtype in (("fp32", "float32"), ("fp16", "float16")):
        built = build_engine(files[precision].read_bytes())
        assert built.strongly_typed
        assert built.warnings == ()
        precisions = {
            node: layer.precision for layer in built.layers if layer.kind in KERNELS for node in layer.nodes
        }
        layers = layer_macs(onnx.load(files[precision]))
        found = [precisions[layer] for layer in layers if layer in precisions]
        assert set(found) == {dtype}
        assert len(found) >= len(layers) - 1  # TensorRT does not name each node that it fuses
