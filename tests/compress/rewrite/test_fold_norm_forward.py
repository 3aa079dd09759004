from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgegan.compress.rewrite import (
    batch_norm_to_affine,
    conv_transpose_to_shuffle,
    fold_norm_after_activation,
    fold_norm_forward,
    rewrite,
)
from edgegan.runtime.contract import Contract, Input, Output


def contract(*shape: int) -> Contract:
    return Contract((Input("x", shape),), (Output("y", (1,), layout=""),))


def operators(graph: torch.fx.GraphModule) -> list[str]:
    return [str(node.target).split(".")[1] for node in graph.graph.nodes if node.op == "call_function"]


def with_statistics(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(generator=generator)
            layer.running_var.uniform_(0.2, 3, generator=generator)
            nn.init.normal_(layer.weight, 0.3, 1.0, generator=generator)
            nn.init.normal_(layer.bias, 0.3, 1.0, generator=generator)
    return module.eval()


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    axes, transposed = draw(st.sampled_from([1, 2])), draw(st.booleans())
    numbers: dict[str, Any] = {
        "kernel_size": draw(st.integers(1, 4)),
        "stride": draw(st.integers(1, 3)),
        "dilation": draw(st.integers(1, 2)),
        "groups": draw(st.sampled_from([1, 2])),
        "bias": draw(st.booleans()),
    }
    numbers["padding"] = draw(st.integers(0, 3 if not transposed else numbers["kernel_size"] - 1))
    kinds = ((nn.Conv1d, nn.Conv2d), (nn.ConvTranspose1d, nn.ConvTranspose2d))
    norm = (nn.BatchNorm1d, nn.BatchNorm2d)[axes - 1](4)
    between = draw(st.sampled_from([[], [nn.Upsample(scale_factor=2)], [nn.ReflectionPad1d(2)]]))
    if axes == 2 and between and isinstance(between[0], nn.ReflectionPad1d):
        between = [nn.ZeroPad2d((2, 0, 1, 1))]
    layer = kinds[transposed][axes - 1](4, 6, **numbers)
    return nn.Sequential(nn.ReLU(), norm, *between, layer), (4, *[7, 9][:axes])


@settings(max_examples=30, deadline=None)
@given(layers(), st.integers(0, 2**16), st.booleans())
def test_a_norm_before_any_convolution_is_folded(
    case: tuple[nn.Module, tuple[int, ...]], seed: int, affine: bool
) -> None:
    module, shape = case
    with_statistics(module, seed)
    steps = [*([batch_norm_to_affine] if affine else []), fold_norm_after_activation]
    rewritten, changes = rewrite(module, contract(*shape), steps)
    assert [change.layer for change in changes if change.rewrite == "fold_norm_after_activation"] == ["1"]
    assert not {"batch_norm", "mul"} & set(operators(rewritten))
    x = torch.randn(3, *shape)
    torch.testing.assert_close(rewritten(x), module(x), rtol=1e-4, atol=1e-4)


EVEN = [
    [nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)],
    [nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2)],
    [nn.BatchNorm2d(4), nn.ReflectionPad2d(2), nn.Conv2d(4, 6, 3)],
    [nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1, padding_mode="replicate")],
    [nn.BatchNorm2d(4), nn.Upsample(scale_factor=2), nn.Conv2d(4, 6, 3)],
    [nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 5 * 6, 3)],
    [nn.BatchNorm2d(4), nn.ZeroPad2d(1), nn.Flatten(), nn.Linear(4 * 7 * 8, 3)],
    [nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)],
]


@pytest.mark.parametrize("steps", EVEN)
def test_where_no_zeros_are_padded_nothing_is_added(steps: list[nn.Module]) -> None:
    module = with_statistics(nn.Sequential(nn.ReLU(), *steps))
    rewritten, _ = rewrite(module, contract(4, 5, 6), [fold_norm_forward])
    assert not {"batch_norm", "add", "mul"} & set(operators(rewritten))
    x = torch.randn(3, 4, 5, 6)
    torch.testing.assert_close(rewritten(x), module(x), rtol=1e-5, atol=1e-5)


def test_features_before_a_linear() -> None:
    module = with_statistics(nn.Sequential(nn.LeakyReLU(0.2), nn.BatchNorm1d(4), nn.Linear(4, 3, bias=False)))
    rewritten, _ = rewrite(module, contract(4), [fold_norm_forward])
    assert operators(rewritten) == ["leaky_relu", "linear"]
    x = torch.randn(3, 4)
    torch.testing.assert_close(rewritten(x), module(x), rtol=1e-5, atol=1e-5)


def test_a_border_is_added_only_where_asked_for_and_is_zero_within() -> None:
    module = with_statistics(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 3, padding=1)))
    assert rewrite(module, contract(4, 8, 8), [fold_norm_forward])[1] == []
    rewritten, changes = rewrite(module, contract(4, 8, 8), [fold_norm_after_activation])
    assert changes[0].detail == "into 2, with a border"
    assert operators(rewritten) == ["relu", "conv2d", "add"]
    border = rewritten.get_parameter("2.border")
    assert border.shape == (1, 3, 8, 8)
    assert border[..., 1:-1, 1:-1].abs().max() == 0
    assert border[..., 0, :].abs().min() > 0


def test_all_readers_take_their_share() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(4)
            self.conv, self.shortcut = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x.relu())
            return self.conv(x) + self.shortcut(x)

    module = with_statistics(Fork())
    rewritten, changes = rewrite(module, contract(4, 5, 5), [fold_norm_after_activation])
    assert changes[0].detail == "into conv, shortcut, with a border"
    x = torch.randn(3, 4, 5, 5)
    torch.testing.assert_close(rewritten(x), module(x), rtol=1e-5, atol=1e-5)


def test_a_norm_that_something_else_reads_stays() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x.relu())
            return self.conv(x) + x

    assert rewrite(with_statistics(Residual()), contract(4, 5, 5), [fold_norm_after_activation])[1] == []


def test_the_border_may_follow_the_rewrite_of_a_transposed_convolution() -> None:
    layer = nn.ConvTranspose2d(4, 3, 4, 2, 1)
    module = with_statistics(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4), layer))
    for steps in ([0, 1], [1, 0]):
        both = [(fold_norm_after_activation, conv_transpose_to_shuffle)[step] for step in steps]
        rewritten, changes = rewrite(module, contract(4, 5, 5), both)
        assert len(changes) == 2
        x = torch.randn(3, 4, 5, 5)
        torch.testing.assert_close(rewritten(x), module(x), rtol=1e-5, atol=1e-5)
