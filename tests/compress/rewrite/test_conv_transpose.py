from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgegan.compress.rewrite import conv_transpose_to_linear, conv_transpose_to_shuffle, rewrite
from edgegan.runtime.contract import Contract, Input, Output


def contract(*shape: int) -> Contract:
    return Contract((Input("x", shape),), (Output("y", (1,), layout=""),))


def operators(graph: torch.fx.GraphModule) -> set[str]:
    return {str(node.target) for node in graph.graph.nodes if node.op == "call_function"}


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    axes = draw(st.sampled_from([1, 2]))
    kernel = [draw(st.integers(1, 5)) for _ in range(axes)]
    stride = [draw(st.integers(1, 4)) for _ in range(axes)]
    padding = [draw(st.integers(0, k - 1)) for k in kernel]
    extra = [draw(st.integers(0, s - 1)) for s in stride]
    lengths = [(n - 1) * s - 2 * p + k + e for n, s, p, k, e in zip([3, 4], stride, padding, kernel, extra)]
    padding = [0 if length < 1 else p for length, p in zip(lengths, padding)]
    groups = draw(st.sampled_from([1, 2]))
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d)[axes - 1]
    layer = kind(
        4,
        2 * draw(st.integers(1, 3)),
        kernel,  # pyright: ignore[reportArgumentType]
        stride,  # pyright: ignore[reportArgumentType]
        padding,  # pyright: ignore[reportArgumentType]
        extra,  # pyright: ignore[reportArgumentType]
        groups=groups,
        bias=draw(st.booleans()),
    )
    return layer, (4, *[3, 4][:axes])


@settings(max_examples=25, deadline=None)
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


@settings(max_examples=12, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    extra=st.integers(0, 2),
    bias=st.booleans(),
)
def test_linear_equals_a_transposed_convolution_of_one_position(
    kernel: tuple[int, int], stride: int, padding: int, extra: int, bias: bool
) -> None:
    extra, padding = min(extra, stride - 1), padding if min(kernel) > 2 else 0
    layer = nn.ConvTranspose2d(5, 3, kernel, stride, padding, extra, bias=bias)
    x = torch.randn(2, 5, 1, 1, dtype=torch.float64)
    rewritten, changes = rewrite(layer, contract(5, 1, 1), [conv_transpose_to_linear])
    assert len(changes) == 1
    assert "aten.linear.default" in operators(rewritten)
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
    for layer in (nn.ConvTranspose2d(2, 2, 3, dilation=2), nn.ConvTranspose3d(2, 2, 3)):
        shape = (2, *(4,) * (layer.weight.dim() - 2))
        both = [conv_transpose_to_linear, conv_transpose_to_shuffle]
        assert rewrite(layer, contract(*shape), both)[1] == []
