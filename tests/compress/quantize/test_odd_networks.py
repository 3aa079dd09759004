"""Networks with parts that have no INT8 form: quantized around these, counted whole, and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.agreement import agreement
from edgegan.compress.quantize import Quantize, QuantizeSettings
from edgegan.compress.recipe_quality import RecipeQuality
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import StageError
from edgegan.recipe import Recipe
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.modality import ClassMap

PICTURE = Input("x", (3, 8, 8), sample=Sample("uniform", -1.0, 1.0))
TOKENS = Contract((Input("z", (8,)),), (Output("y", (6, 4), layout=""),))
PICTURES = Contract((PICTURE,), (Output("y", (3, 8, 8)),))


class Attention(nn.Module):
    """nn.MultiheadAttention puts the batch second, and merges it with the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.end = nn.Linear(8, 6 * 12), nn.Linear(12, 4)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, z: Tensor) -> Tensor:
        x = self.start(z).unflatten(1, (6, 12))
        return torch.tanh(self.end(x + self.attention(x, x, x, need_weights=False)[0]))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start, self.end, self.cells = nn.Linear(8, 6 * 5), nn.Linear(10, 4), nn.GRU(5, 10, num_layers=2)

    def forward(self, z: Tensor) -> Tensor:
        x = torch.relu(self.start(z)).unflatten(1, (6, 5)).transpose(0, 1)
        return torch.tanh(self.end(self.cells(x)[0])).transpose(0, 1)


class Waves(nn.Module):
    """Computes with numbers of its own before any input has a say, as networks of coordinates do."""

    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("places", torch.linspace(-1, 1, 6).view(1, 6, 1))
        self.start, self.scales, self.end = nn.Linear(16, 12), nn.Linear(8, 12), nn.Linear(12, 4)

    def forward(self, z: Tensor) -> Tensor:
        waves = 3.0 * self.places @ torch.linspace(1, 4, 16).view(1, 16)
        x = self.start(torch.sin(waves).expand(len(z), -1, -1))
        return torch.tanh(self.end(torch.sin((1 + self.scales(z)[:, None]) * x)))


class BatchStatistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(16, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(torch.relu(self.norm(self.first(x)))))


class Odd(nn.Module):
    """A shared layer, weights from arithmetic, weights from the input, and a last layer in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.shared = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.weight, self.of_input = nn.Parameter(torch.randn(16, 16, 1, 1)), nn.Linear(3, 16)
        self.coarse, self.last = nn.Conv2d(16, 16, 1).half(), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.start(x))
        for _ in range(3):
            y = y + torch.relu(self.shared(y)) / 4
        y = F.conv2d(y, self.weight / self.weight.flatten(1).norm(dim=1)[:, None, None, None])
        gates = self.of_input(x.mean((0, 2, 3))).view(16, 1, 1, 1)
        y = F.conv2d(y, 1 + 0 * gates, groups=16)
        return torch.tanh(self.last(self.coarse(y.half()).float()))


class Volumes(nn.Module):
    """Three spatial axes: a seed, up-sampling both ways, a residual sum, a norm behind an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.seed, self.up = nn.ConvTranspose3d(8, 16, (2, 3, 2)), nn.ConvTranspose3d(16, 16, 4, 2, 1)
        self.norm, self.late = nn.BatchNorm3d(16), nn.BatchNorm3d(16)
        self.same, self.last = nn.Conv3d(16, 16, 3, padding="same"), nn.Conv3d(16, 2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.up(self.seed(z[:, :, None, None, None]))))
        x = self.late(F.leaky_relu(x + self.same(x), 0.2))
        return torch.tanh(self.last(F.interpolate(x, scale_factor=2.0)))


def made(
    module: nn.Module, contract: Contract, folder: Path, **settings: Any
) -> tuple[dict[str, Any], float]:
    """Return the proof of the x64 file, and its PSNR on inputs that no one has seen."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.GRU):
            layer.reset_parameters()
    module = module.eval().requires_grad_(False)
    stage, before = (
        Quantize(QuantizeSettings(**{"samples": 16, "calibrator": "mse", "quality": {}, **settings})),
        Candidate(module, module, contract),
    )
    stage.requires(before)
    after = stage.run(before, Context(folder))
    stage.ensures(before, after)
    (file,) = after.artifacts
    fresh = agreement(file, module, contract, batches=(32,), seed=77)
    return after.lineage[-1].proof[file.name], fresh["psnr_db"]


def test_attention_is_quantized_around_its_products(tmp_path: Path) -> None:
    proof, psnr = made(Attention(), TOKENS, tmp_path)
    assert psnr > 40
    assert proof["int8_layers"] == ["start", "attention", "attention.out_proj", "end"]
    assert proof["float_layers"] == ["MatMul of activations"]
    linear, products = 8 * 72 + 6 * 12 * (36 + 12 + 4), 2 * 6 * 6 * 12
    assert proof["int8_macs_share"] == pytest.approx(linear / (linear + products), abs=1e-4)


def test_recurrent_cells_stay_in_float_and_are_counted(tmp_path: Path) -> None:
    proof, psnr = made(Recurrent(), TOKENS, tmp_path)
    assert psnr > 40
    assert (proof["int8_layers"], proof["float_layers"]) == (["start", "end"], ["cells"])
    linear, cells = 8 * 30 + 6 * 10 * 4, 6 * 3 * 10 * (5 + 10 + 10 + 10)
    assert proof["int8_macs_share"] == pytest.approx(linear / (linear + cells), abs=1e-4)


def test_what_is_computed_of_numbers_alone_is_quantized_around(tmp_path: Path) -> None:
    proof, psnr = made(Waves(), TOKENS, tmp_path)
    assert psnr > 40
    assert {"scales", "end"} <= {*proof["int8_layers"]}


def test_norms_of_the_batch_at_hand_are_quantized_around(tmp_path: Path) -> None:
    proof, psnr = made(BatchStatistics(), PICTURES, tmp_path)
    assert psnr > 35
    assert proof["int8_layers"] == ["first", "last"]


class Held(nn.Module):
    """A kernel that is a buffer, kept in no checkpoint, between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)
        self.register_buffer("kernel", torch.rand(16, 16, 3, 3) / 72, persistent=False)
        self.kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(F.conv2d(torch.relu(self.first(x)), self.kernel, padding=1)))


def test_a_kernel_that_is_no_parameter_is_rounded_and_switched_too(tmp_path: Path) -> None:
    proof, psnr = made(Held(), PICTURES, tmp_path, equalize=False, quality={"psnr_db": 50})
    assert psnr > 45
    assert proof["int8_layers"]


@pytest.mark.parametrize("target", ["x64-cpu", "jetson-orin-nano"])
def test_volumes_are_quantized_as_pictures_are(tmp_path: Path, target: str) -> None:
    volumes = Contract((Input("z", (8,)),), (Output("y", (2, 8, 12, 8), layout=""),))
    proof, psnr = made(Volumes(), volumes, tmp_path, targets=(target,), fast=True)
    assert psnr > 38
    assert proof["int8_layers"] == ["seed", "up", "same", "last"]
    assert proof["float_layers"] == []


def test_shared_computed_and_half_layers(tmp_path: Path) -> None:
    proof, psnr = made(Odd(), PICTURES, tmp_path, skip=["of_input"])
    assert psnr > 35
    assert proof["int8_layers"][:3] == ["start", "shared", "weight_2"]
    assert {"coarse", "of_input"} <= set(proof["float_layers"])
    assert proof["int8_macs_share"] > 0.8


def test_what_is_printed_can_be_skipped(tmp_path: Path) -> None:
    proof, _ = made(Odd(), PICTURES, tmp_path, skip=["shared", "coarse"], equalize=False, gptq=False)
    assert {"shared", "coarse"} <= set(proof["float_layers"])


def test_a_module_is_skipped_with_all_its_layers(tmp_path: Path) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 1)), nn.Conv2d(8, 3, 1)
    )
    proof, _ = made(module, PICTURES, tmp_path, skip=["1"], equalize=False, gptq=False)
    assert "1.1" in proof["float_layers"]


def test_where_nothing_can_be_quantized_it_is_said(tmp_path: Path) -> None:
    contract = Contract((Input("x", (3, 4, 4, 4)),), (Output("y", (3, 4, 4, 4), layout=""),))
    with pytest.raises(StageError, match="no layer is left to quantize"):
        made(nn.Sequential(nn.InstanceNorm3d(3, affine=True), nn.Tanh()), contract, tmp_path)


class Shares(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start, self.last = nn.Linear(8, 16 * 16), nn.Conv2d(16, 5, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        return torch.softmax(self.last(torch.relu(self.start(z).unflatten(1, (16, 4, 4)))), 1)


def test_the_budget_that_nobody_set_holds_for_outputs_that_psnr_is_no_metric_of(tmp_path: Path) -> None:
    tiles = Output("tiles", (5, 4, 4), (0.0, 1.0), modality=ClassMap())
    contract = Contract((Input("z", (8,)),), (tiles,))
    quality = RecipeQuality(
        Recipe.of(
            {
                "schema": 1,
                "name": "tiles",
                "model": {"callable": "model.py:Shares", "checkpoint": "none.safetensors"},
                "contract": contract.to_dict(),
                "stages": [{"quantize": None}],
            }
        )
    )
    module = Shares().eval().requires_grad_(False)
    settings = QuantizeSettings(samples=16, calibrator="mse", gptq=False, bias_correction=False)
    after = Quantize(settings).run(Candidate(module, module, contract), Context(tmp_path, quality=quality))
    (file,) = after.artifacts
    assert after.lineage[-1].proof[file.name]["psnr_db"] > 40
