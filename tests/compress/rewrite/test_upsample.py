from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from zoo import candy, mnist_cwgangp

from edgegan.compress.cost import count
from edgegan.compress.example_inputs import example
from edgegan.compress.rewrite import (
    conv_transpose_to_shuffle,
    delay_upsample,
    fold_batch_norm,
    rewrite,
    tabulate_conditional_norm,
    upsample_conv_to_conv_transpose,
)
from edgegan.models.resnet import Generator
from edgegan.runtime.contract import Contract, Input, Output, Sample

MERGE = [upsample_conv_to_conv_transpose]


def contract(*shape: int) -> Contract:
    return Contract((Input("x", shape),), (Output("y", (1,), layout=""),))


def operators(graph: torch.fx.GraphModule) -> list[str]:
    return [str(node.target).split(".")[1] for node in graph.graph.nodes if node.op == "call_function"]


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    axes = draw(st.sampled_from([1, 2]))
    scale = draw(st.integers(2, 4))
    kernel = [draw(st.integers(1, 6)) for _ in range(axes)]
    dilation = draw(st.sampled_from([1, 1, 2]))
    steps: list[nn.Module] = [nn.Upsample(scale_factor=scale, mode=draw(st.sampled_from(MODES)))]
    padding: Any = [draw(st.integers(0, 3)) for _ in kernel]
    if draw(st.booleans()):
        sides = tuple(draw(st.integers(0, 3)) for _ in range(2 * axes))
        steps.append(draw(st.sampled_from(PADS[axes]))(sides))
    elif draw(st.booleans()):
        padding = "same"
    convolution = (nn.Conv1d, nn.Conv2d)[axes - 1]
    groups = draw(st.sampled_from([1, 2]))
    bias = draw(st.booleans())
    steps.append(convolution(4, 6, kernel, 1, padding, dilation, groups, bias))  # pyright: ignore
    return nn.Sequential(*steps), (4, *[7, 6][:axes])


MODES = ["nearest", "nearest-exact"]
PADS = {
    1: [nn.ZeroPad1d, nn.ReflectionPad1d, nn.ReplicationPad1d],
    2: [nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d],
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=40, deadline=None)
@given(layers(), st.integers(0, 2**16))
def test_upsampling_and_any_convolution_keep_their_outputs(
    case: tuple[nn.Module, tuple[int, ...]], seed: int
) -> None:
    module, shape = case
    torch.manual_seed(seed)
    x = torch.randn(3, *shape, dtype=torch.float64)
    ports = contract(*shape)
    rewritten, changes = rewrite(module, ports, [*MERGE, conv_transpose_to_shuffle])
    torch.testing.assert_close(rewritten.double()(x), module.double()(x), rtol=0, atol=2e-6)
    if changes:
        assert not any("upsample" in name or "transpose" in name for name in operators(rewritten))
        assert count(rewritten.float(), ports).macs < count(module.float(), ports).macs


@pytest.mark.parametrize(
    ("steps", "merged"),
    [
        ([nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 3, padding=1)], ["conv_transpose2d"]),
        (
            [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(4, 3, 3)],
            ["pad", "conv_transpose2d"],
        ),
        (
            [nn.Upsample(scale_factor=2), nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(4, 3, 4, padding=1)],
            ["conv_transpose2d", "slice", "slice"],
        ),
        ([nn.Upsample(scale_factor=3), nn.Conv2d(4, 4, 3, padding=1, groups=4)], ["conv_transpose2d"]),
        ([nn.Upsample(scale_factor=2), nn.Conv1d(4, 4, 5, padding=2)], ["conv_transpose1d"]),
    ],
)
def test_the_usual_forms_become_one_layer(steps: list[nn.Module], merged: list[str]) -> None:
    shape = (4, 8) if isinstance(steps[-1], nn.Conv1d) else (4, 6, 8)
    module = nn.Sequential(*steps)
    rewritten, changes = rewrite(module, contract(*shape), MERGE)
    assert [change.layer for change in changes] == [str(len(steps) - 1)]
    assert operators(rewritten) == merged
    x = torch.randn(2, *shape)
    torch.testing.assert_close(rewritten(x), module(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "steps",
    [
        [nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 2)],
        [nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 3, stride=2, padding=1)],
        [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(2), nn.Conv2d(4, 3, 5)],
        [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(4, 3, 3, padding=1)],
        [nn.Upsample(scale_factor=2), nn.ConstantPad2d(1, 1.0), nn.Conv2d(4, 3, 3)],
        [nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 3, 3)],
        [nn.Upsample(size=(9, 9)), nn.Conv2d(4, 3, 3)],
        [nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 3, padding=3)],
    ],
)
def test_what_gains_nothing_or_is_not_known_is_left_alone(steps: list[nn.Module]) -> None:
    assert rewrite(nn.Sequential(*steps), contract(4, 6, 6), MERGE)[1] == []


def test_upsampling_goes_behind_all_that_treats_each_position_alike() -> None:
    module = nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 1),
        nn.PReLU(5),
        nn.Conv2d(5, 3, 3, padding=1),
        nn.Tanh(),
    ).eval()
    rewritten, changes = rewrite(module, contract(4, 6, 6), [delay_upsample, *MERGE])
    assert [change.rewrite for change in changes] == ["delay_upsample", "upsample_conv_to_conv_transpose"]
    assert operators(rewritten) == ["batch_norm", "relu", "conv2d", "prelu", "conv_transpose2d", "tanh"]
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(rewritten(x), module(x), rtol=0, atol=1e-5)


def test_values_that_others_read_are_not_written_over() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.conv = nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return nn.functional.relu_(self.up(y)) * 0.5 + self.up(y) + y.mean()

    rewritten, changes = rewrite(Fork(), contract(3, 4, 4), [delay_upsample])
    assert changes[0].detail == "behind relu_, mul"
    assert "relu_" not in operators(rewritten)


def test_two_upsamplings_that_meet_stay_where_they_are() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            up = nn.Upsample(scale_factor=2)
            return up(x) + up(x * 2)

    assert rewrite(Sum(), contract(3, 4, 4), [delay_upsample])[1] == []


def test_candy_keeps_its_outputs(shared: Path) -> None:
    module = candy.load(shared)
    rewritten, changes = rewrite(module, candy.CONTRACT, MERGE)
    assert [change.layer for change in changes] == ["deconv1.conv2d", "deconv2.conv2d"]
    samples = example(candy.CONTRACT, 2, seed=5)
    torch.testing.assert_close(rewritten(*samples), module(*samples), rtol=0, atol=1e-2)


def test_digits_keep_their_outputs(shared: Path) -> None:
    module, ports = mnist_cwgangp.load(shared), mnist_cwgangp.CONTRACT
    steps = [delay_upsample, fold_batch_norm, *MERGE, conv_transpose_to_shuffle]
    rewritten, _ = rewrite(module, ports, steps)
    names = operators(rewritten)
    assert not {"upsample_nearest2d", "batch_norm", "conv_transpose2d"} & set(names)
    assert count(rewritten, ports).macs < 0.62 * count(module, ports).macs
    samples = example(ports, 4, seed=5)
    torch.testing.assert_close(rewritten(*samples), module(*samples), rtol=0, atol=2e-5)


def test_the_reference_generator_keeps_its_outputs() -> None:
    torch.manual_seed(0)
    module = Generator((8, 8, 8, 4), latent=5, classes=7).eval()
    label = Input("label", (), "int64", Sample("labels", classes=7))
    ports = Contract((Input("z", (5,)), label), (Output("image", (3, 32, 32)),))
    rewritten, changes = rewrite(module, ports, [tabulate_conditional_norm, fold_batch_norm, *MERGE])
    merged = [change.layer for change in changes if change.rewrite == MERGE[0].__name__]
    assert merged == [f"blocks.{index}.conv1" for index in range(3)]
    samples = example(ports, 4, seed=5)
    torch.testing.assert_close(rewritten(*samples), module(*samples), rtol=0, atol=2e-5)
