"""What the exported Q/DQ model is written as, for the engine: the same outputs from other operators."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.export import to_onnx
from edgegan.compress.quantize.choose.candidates import Samples, lower, starts
from edgegan.compress.quantize.choose.quantized_layers import choose_layers
from edgegan.compress.quantize.deploy.int8_coverage import kernels
from edgegan.compress.quantize.deploy.node_names import name_layers
from edgegan.compress.quantize.deploy.onnx_passes import deploy
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.quantize.prepare.quiet import quiet
from edgegan.compress.quantize.stage import REWRITES
from edgegan.compress.rewrite import rewrite
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.engines.onnxruntime import OnnxRuntimeEngine
from edgegan.target import Target

CONTRACT = Contract(
    (Input("x", (4, 5, 7), sample=Sample("uniform", -1.0, 1.0)),), (Output("y", (3, 10, 14), layout=""),)
)


class Shuffled(nn.Module):
    """Enlarges by PixelShuffle or, with a crop, by ConvTranspose."""

    def __init__(self, transposed: bool, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enlarge = (
            nn.ConvTranspose2d(4, 8, 4, 2, 1, bias=bias)
            if transposed
            else nn.Sequential(nn.Conv2d(4, 32, 3, padding=1, bias=bias), nn.PixelShuffle(2))
        )
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(nn.functional.leaky_relu(self.enlarge(x), 0.2)))


def models(module: nn.Module, target: Target, folder: Path) -> tuple[Path, Path]:
    """Return the Q/DQ model as exported, and as it ships."""
    assert target.int8 is not None
    graph, _ = rewrite(module.eval(), CONTRACT, REWRITES)
    layers = choose_layers(graph, ())
    with quiet():
        start = starts(graph, Samples.of(graph, CONTRACT, 32, 0), equalize=False)[0]
        quantized = lower(start, layers, target.int8, "minmax")
        exported = to_onnx(quantized, CONTRACT)
        name_layers(exported, quantized, list(layer_names(graph).values()))
    plain, shipped = folder / "plain.onnx", folder / "shipped.onnx"
    onnx.save(exported, plain)
    onnx.save(deploy(exported, target, CONTRACT), shipped)
    return plain, shipped


def run(path: Path) -> np.ndarray:
    with OnnxRuntimeEngine(path, threads=1, optimized=False) as engine:
        return engine(CONTRACT.sample(16, 7))["y"]


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("name", ["x64-cpu", "arm64-cpu"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_pixels_are_shuffled_as_whole_ones_with_the_same_outputs(
    transposed: bool, bias: bool, name: str, tmp_path: Path
) -> None:
    plain, shipped = models(Shuffled(transposed, bias), Target.read(name), tmp_path)
    assert operators(plain)["DepthToSpace"] == 1
    assert operators(shipped)["DepthToSpace"] == 0
    expected, actual = run(plain), run(shipped)
    assert np.ptp(expected) > 0.3
    assert np.mean(np.abs(actual - expected) > 1e-6) < 0.02  # a bias is rounded to the units of the products
    assert np.abs(actual - expected).max() < 0.01
    assert len(kernels(shipped)["int8_layers"]) == 2


@pytest.mark.parametrize("name", ["x64-cpu", "jetson-orin-nano"])
def test_a_crop_of_rows_and_of_columns_is_one_slice(name: str, tmp_path: Path) -> None:
    plain, shipped = models(Shuffled(transposed=True), Target.read(name), tmp_path)
    assert operators(plain)["Slice"] == 2
    assert operators(shipped)["Slice"] == 1
    assert np.abs(run(shipped) - run(plain)).max() < 0.01


def test_tensorrt_keeps_depth_to_space(tmp_path: Path) -> None:
    _, shipped = models(Shuffled(transposed=False), Target.read("jetson-orin-nano"), tmp_path)
    assert operators(shipped)["DepthToSpace"] == 1


class Blocks(nn.Module):
    """Ends in a convolution with so few outputs and so many taps that it is computed in blocks of pixels."""

    def __init__(self, shuffled: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(4, 32, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
        if not shuffled:
            layers = [nn.Upsample(scale_factor=2), nn.Conv2d(4, 8, 3, padding=1), nn.PReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8, 3, 9, padding=4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layers(x))


@pytest.mark.parametrize("name", ["x64-cpu", "arm64-cpu"])
@pytest.mark.parametrize("shuffled", [True, False])
def test_blocks_of_pixels_are_gathered_in_bytes(shuffled: bool, name: str, tmp_path: Path) -> None:
    plain, shipped = models(Blocks(shuffled), Target.read(name), tmp_path)
    assert len(kernels(shipped)["int8_layers"]) == 2
    assert kernels(shipped)["float_operators"].keys() <= {"Tanh"}
    expected, actual = run(plain), run(shipped)
    assert np.ptp(expected) > 0.3
    assert np.abs(actual - expected).max() < 0.01


class Padded(nn.Module):
    """Pads with zeros of its own what a ReLU gives; computes the weights of its last layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 12, 3)
        self.last = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(torch.relu(self.first(x)), (1, 1, 1, 1))
        x = nn.functional.pixel_shuffle(self.second(x), 2)
        return nn.functional.conv2d(x, self.last.weight * 0.5, self.last.bias)


@pytest.mark.parametrize("name", ["x64-cpu", "arm64-cpu"])
def test_zeros_that_are_padded_with_stay_zeros(name: str, tmp_path: Path) -> None:
    plain, shipped = models(Padded().requires_grad_(False), Target.read(name), tmp_path)
    assert len(kernels(shipped)["int8_layers"]) == 2
    assert np.abs(run(shipped) - run(plain)).max() < 0.01
