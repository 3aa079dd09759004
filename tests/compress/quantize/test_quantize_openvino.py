"""INT8 files for OpenVINO: they run in INT8 kernels there, and give what the file says."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.artifact import Artifact
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.cpu import cpu
from edgegan.runtime.engines.openvino import OpenVinoEngine
from edgegan.runtime.engines.registry import open_artifact

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO runs these files")
CONTRACT = Contract((Input("z", (16, 6, 5)),), (Output("image", (3, 12, 10)),))


class Upscaler(nn.Module):
    """A transposed convolution, a residual sum with another activation, and a last layer."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(16, width, 4, 2, 1)
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = nn.functional.leaky_relu(self.up(z), 0.2)
        x = x + self.second(nn.functional.relu(self.first(x)))
        return torch.tanh(self.last(x))


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    torch.manual_seed(0)
    module = Upscaler().eval()
    settings = QuantizeSettings.model_validate(
        {"samples": 32, "calibrator": "mse", "targets": ["openvino-cpu", "x64-cpu"], "gptq": False}
    )
    stage, before = Quantize(settings), Candidate(module, module, CONTRACT)
    made = stage.run(before, Context(tmp_path_factory.mktemp("quantize")))
    stage.ensures(before, made)
    return made


def test_the_file_says_for_what_it_is(after: Candidate) -> None:
    ours, other = after.artifacts
    assert ours == Artifact(
        "int8-openvino", ours.file, "int8", "openvino", "x86_64", ours.opset, target="openvino-cpu"
    )
    assert (other.name, other.engine) == ("int8", "onnxruntime")
    proof = after.lineage[-1].proof["int8-openvino"]
    assert proof["float_layers"] == ["last"]
    assert proof["psnr_db"] > 35


@pytest.mark.skipif(not cpu().vnni, reason="its 8-bit products can saturate on CPUs without VNNI")
def test_it_gives_what_its_own_reference_gives(after: Candidate) -> None:
    ours = after.artifacts[0]
    inputs = CONTRACT.sample(8, 3)
    with open_artifact(ours, "openvino", threads=1) as engine, open_artifact(ours, threads=1) as reference:
        got, expected = engine(inputs)["image"], reference(inputs)["image"]
    steps = np.abs(got - expected) * 127.5
    assert np.square(got - expected).mean() < 4 * 10**-5, "50 dB"
    assert np.quantile(steps, 0.99) < 2


@pytest.mark.skipif(not cpu().vnni, reason="which kernels run in INT8 depends on the CPU")
def test_its_layers_run_in_int8_kernels(after: Candidate) -> None:
    engine = OpenVinoEngine(Path(after.artifacts[0].file), threads=1)
    kernels = {
        info["originalLayersNames"]: info["runtimePrecision"]
        for node in engine._compiled.get_runtime_model().get_ordered_ops()
        if (info := {key: str(value.astype(str)) for key, value in node.get_rt_info().items()})["layerType"]
        == "Convolution"
    }
    for layer in after.lineage[-1].proof["int8-openvino"]["int8_layers"]:
        (precision,) = {of for names, of in kernels.items() if layer in names.split(",")}
        assert precision in ("i8", "u8"), layer
