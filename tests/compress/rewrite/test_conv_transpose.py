from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.compress.rewrite import conv_transpose_to_linear, conv_transpose_to_shuffle, rewrite
from edgegan.runtime.contract import Contract, Input, Output


def contract(*shape: int) -> Contract:
    return Contract((Input("x", shape),), (Output("y", (1,), layout=""),))


def operators(graph: torch.fx.GraphModule) -> set[str]:
    return {str(node.target) for node in graph.graph.nodes if node.op == "call_function"}


@st.composite
def layers(draw: st.DrawFn, sizes: tuple[int, ...] = (3, 4, 2)) -> tuple[nn.Module, tuple[int, ...]]:
    axes = draw(st.sampled_from([1, 2, 3]))
    kernel, stride, dilation, padding, extra = [], [], [], [], []
    for size in sizes[:axes]:
        k, s, d = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2, 3]))
        e = draw(st.integers(0, max(s, d) - 1))
        whole = (size - 1) * s + (k - 1) * d + 1 + e
        for numbers, number in zip(
            (kernel, stride, dilation, padding, extra), (k, s, d, draw(st.integers(0, (whole - 1) // 2)), e)
        ):
            numbers.append(number)
    kind: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[axes - 1]
    outputs, groups = 2 * draw(st.integers(1, 3)), draw(st.sampled_from([1, 2]))
    layer = kind(4, outputs, kernel, stride, padding, extra, groups, draw(st.booleans()), dilation)
    return layer, (4, *sizes[:axes])


@settings(max_examples=40, deadline=None)
@given(layers(), st.integers(0, 2**16))
def test_shuffle_equals_any_transposed_convolution(
    case: tuple[nn.Module, tuple[int, ...]], seed: int
) -> None:
    layer, shape = case
    torch.manual_seed(seed)
    x = torch.randn(3, *shape, dtype=torch.float64)
    rewritten, changes = rewrite(layer, contract(*shape), [conv_transpose_to_shuffle])
    assert [change.rewrite for change in changes] == ["conv_transpose_to_shuffle"]
    assert not any("conv_transpose" in name for name in operators(rewritten))
    torch.testing.assert_close(rewritten.double()(x), layer.double()(x), rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(layers((1, 1, 1)), st.integers(0, 2**16))
def test_linear_equals_a_transposed_convolution_of_one_position(
    case: tuple[nn.Module, tuple[int, ...]], seed: int
) -> None:
    layer, shape = case
    torch.manual_seed(seed)
    x = torch.randn(3, *shape, dtype=torch.float64)
    rewritten, changes = rewrite(layer, contract(*shape), [conv_transpose_to_linear])
    assert len(changes) == 1
    assert ("aten.linear.default" in operators(rewritten)) == (layer.groups == 1)
    assert not any("conv_transpose" in name for name in operators(rewritten))
    torch.testing.assert_close(rewritten.double()(x), layer.double()(x), rtol=0, atol=1e-12)


def test_a_latent_goes_straight_into_the_linear() -> None:
    class Seed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.ConvTranspose2d(6, 4, 4)

        def forward(self, z: Tensor) -> Tensor:
            return self.layer(z.view(-1, 6, 1, 1))

    rewritten, changes = rewrite(Seed(), contract(6), [conv_transpose_to_linear])
    assert changes[0].layer == "layer"
    assert operators(rewritten) == {"aten.linear.default", "aten.reshape.default"}


def test_two_in_a_row_are_both_rewritten() -> None:
    module = nn.Sequential(nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.ConvTranspose2d(3, 2, 3, 2, 1, 1))
    rewritten, changes = rewrite(module, contract(2, 4, 4), [conv_transpose_to_shuffle])
    assert [change.layer for change in changes] == ["0", "1"]
    x = torch.randn(3, 2, 4, 4)
    torch.testing.assert_close(rewritten(x), module(x), rtol=0, atol=1e-5)


def test_what_is_not_known_is_left_alone() -> None:
    class OfItsInput(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv_transpose2d(x, x.mean(0)[:, None] * torch.ones(1, 2, 1, 1))

    found = rewrite(OfItsInput(), contract(2, 4, 4), [conv_transpose_to_linear, conv_transpose_to_shuffle])
    assert found[1] == []
