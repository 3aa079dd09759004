"""What lint finds by exporting the model once, before anything is trained."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.export import Export, to_onnx
from edgegan.compress.lint import deploy, lint
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.runtime.contract import Contract, Input, Output
from edgegan.runtime.engines.tensorrt import module as tensorrt

VOLUME = Contract((Input("x", (4, 4, 6, 6)),), (Output("y", (4, 4, 6, 6), layout=""),))
PICTURE = Contract((Input("x", (3, 8, 8)),), (Output("y", (3, 8, 8)),))


class Warp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix = nn.Conv3d(4, 4, 1), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(torch.relu(self.mix(x)))
        theta = torch.eye(3, 4).expand(x.shape[0], 3, 4)
        grid = F.affine_grid(theta, [x.shape[0], 1, 4, 6, 6], align_corners=False)
        return torch.tanh(F.grid_sample(self.conv(x), grid, align_corners=False))


@pytest.mark.parametrize("parser", [True, False])
def test_operators_that_the_target_lacks_are_found(parser: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not parser:
        monkeypatch.setattr(tensorrt, "find", lambda: None)
    model = to_onnx(Warp().eval(), VOLUME)
    ((node, why),) = deploy.tensorrt_lacks(model)
    assert next(one.op_type for one in model.graph.node if one.name == node) == "GridSample"
    assert "5-D GridSample" in why


def test_lint_names_the_target_and_only_where_it_is_asked_for() -> None:
    stages = [Quantize(QuantizeSettings(targets=("x64-cpu", "jetson-orin-nano"))), Export()]
    (found,) = [one for one in lint(Warp().eval(), VOLUME, stages=stages) if one.level == "error"]
    assert found.what == "TensorRT cannot run it on jetson-orin-nano"
    assert "take jetson-orin-nano out of quantize's `targets`" in found.next
    assert not [one for one in lint(Warp().eval(), VOLUME, stages=[Export()]) if one.level == "error"]


class FixedBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = int(x.shape[0])
        return torch.tanh(self.conv(x).reshape(size if size < 100 else 1, 3, 8, 8))


def test_what_cannot_be_exported_is_found() -> None:
    (found,) = [one for one in lint(FixedBatch().eval(), PICTURE, stages=[Export()]) if one.level == "error"]
    assert found.what == "the model cannot be exported"
    assert "batch" in found.why or "batch" in found.next


def test_a_network_without_layers_for_int8_is_found_before_any_training() -> None:
    module = nn.Sequential(nn.InstanceNorm3d(4, affine=True), nn.Tanh()).eval()
    (found,) = [
        one
        for one in lint(module, VOLUME, stages=[Quantize(QuantizeSettings(targets=("x64-cpu",)))])
        if one.level == "error"
    ]
    assert found.what == "the model cannot be quantized"
    assert "no layer is left to quantize" in found.why
    assert "quantize" in found.next


def test_what_lint_asks_of_int8_imports_no_quantizer() -> None:
    code = (
        "import sys, edgegan.compress.lint, edgegan.compress.quantize.stage\n"
        "from edgegan.compress.quantize.choose import quantized_layers\n"
        "print({'torchao', 'neural_compressor'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
