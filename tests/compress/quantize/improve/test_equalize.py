from __future__ import annotations

import pytest
import torch
from hypothesis import example as with_arguments
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgegan.compress.example_inputs import example
from edgegan.compress.quantize.improve.equalize import DRIFT, LARGEST, center_channels, equalize_channels
from edgegan.compress.rewrite import (
    conv_transpose_to_linear,
    conv_transpose_to_shuffle,
    fold_batch_norm,
    rewrite,
    tabulate_conditional_norm,
)
from edgegan.compress.rewrite.graph import constant, watch
from edgegan.models.resnet import Generator
from edgegan.runtime.contract import Contract, Input, Output, Sample

CONTRACT = Contract((Input("x", (3, 6, 6)),), (Output("y", (2, 6, 6), layout=""),))


def uneven(module: nn.Module, seed: int) -> nn.Module:
    """Give the channels of each layer ranges that are up to a thousandfold apart."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            factor = 10 ** (3 * torch.rand(len(parameter), generator=generator) - 1.5)
            if "last" not in name:
                parameter.mul_(factor.view(-1, *(1 for _ in parameter.shape[1:])))
    return module.eval()


def spreads(graph: torch.fx.GraphModule, x: tuple[Tensor, ...]) -> list[float]:
    """Return, for the output of each convolution but the last, its widest channel over its narrowest."""
    found = []

    def see(node: torch.fx.Node, value: Tensor) -> None:
        if node.target == torch.ops.aten.conv2d.default:
            widths = value.abs().amax(dim=(0, 2, 3))
            found.append(float(widths.max() / widths.min()))

    watch(graph, x, see)
    return found[:-1]


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 1)
        self.last = nn.Conv2d(3, 2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.first(x), 0.2)
        return self.last(nn.functional.pixel_shuffle(torch.relu(self.second(x)), 2))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**16))
def test_channels_of_a_chain_come_to_one_range(seed: int) -> None:
    torch.manual_seed(seed)
    module = uneven(Chain(), seed)
    graph, changes = rewrite(module, CONTRACT, [equalize_channels])
    assert [change.layer for change in changes] == ["first", "second"]
    x = example(CONTRACT, 64, 0xE9)
    torch.testing.assert_close(graph(*x), module(*x), rtol=1e-4, atol=1e-4)
    before, after = spreads(rewrite(module, CONTRACT, [])[0], x), spreads(graph, x)
    assert after[0] == pytest.approx(before[0] / min(before[0], LARGEST) ** 0.5, rel=0.01)


def test_residual_sums_and_conditional_norms_are_equalized_through() -> None:
    label = Input("label", (), "int64", Sample("labels", classes=5))
    contract = Contract((Input("z", (6,)), label), (Output("image", (3, 16, 16)),))
    torch.manual_seed(0)
    module = uneven(Generator((8, 8, 4), latent=6, classes=5), 1)
    steps = [fold_batch_norm, tabulate_conditional_norm, conv_transpose_to_linear, conv_transpose_to_shuffle]
    graph, changes = rewrite(module, contract, [*steps, equalize_channels])
    equalized = {change.layer for change in changes if change.rewrite == "equalize_channels"}
    assert {"blocks.0.conv1", "blocks.0.conv2", "blocks.0.shortcut", "blocks.1.conv1"} <= equalized
    assert "head" not in equalized
    z = example(contract, 9, 3)
    torch.testing.assert_close(graph(*z), module(*z), rtol=0, atol=1e-3)


class Normed(nn.Module):
    def __init__(self, affine: bool, channels: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3)
        self.norm = nn.InstanceNorm2d(channels, affine=affine)
        self.second, self.last = nn.Conv2d(channels, channels, 3), nn.Conv2d(channels, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(torch.relu(self.norm(self.first(x))), (2, 2, 2, 2), "reflect")
        return self.last(torch.relu(self.second(x)))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**16), st.booleans())
@with_arguments(9289, True)
def test_what_an_instance_norm_reads_is_centred_and_brought_to_one_range(seed: int, affine: bool) -> None:
    torch.manual_seed(seed)
    module = uneven(Normed(affine), seed)
    graph, changes = rewrite(module, CONTRACT, [center_channels, equalize_channels])
    layers = ["first", "norm" if affine else "instance_norm", "second"]
    assert [(change.rewrite, change.layer) for change in changes] == [
        ("center_channels", "first"),
        *(("equalize_channels", layer) for layer in layers),
    ]
    x = example(CONTRACT, 64, 0xE9)
    expected = module(*x)
    assert (graph(*x) - expected).abs().max() < 1e-4 * expected.abs().max()
    weight, bias = first_layer(graph)
    channels = nn.functional.conv2d(*x, weight, bias).transpose(0, 1).flatten(1)
    low, high = channels.amin(1), channels.amax(1)
    torch.testing.assert_close(-low, high, rtol=1e-3, atol=1e-5)
    grown = weight.abs().amax((1, 2, 3)) / module.first.weight.abs().amax((1, 2, 3))
    room = (1 - 2 * DRIFT * variances(module, x) / module.norm.eps).clamp(min=1e-30) ** -0.5
    wide = centred(module, x)
    wanted = torch.minimum((wide.max() / wide).clamp(max=LARGEST), room)
    torch.testing.assert_close(grown, wanted, rtol=1e-3, atol=0)


def centred(module: Normed, x: tuple[Tensor, ...]) -> Tensor:
    """Return how far each channel that the norm of `module` reads reaches from its middle."""
    low, high = module.first(*x).transpose(0, 1).flatten(1).aminmax(dim=1)
    return (high - low) / 2


def first_layer(graph: torch.fx.GraphModule) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the first convolution."""
    layer = next(node for node in graph.graph.nodes if node.target == torch.ops.aten.conv2d.default)
    weight, bias = (constant(graph, operand) for operand in layer.args[1:3])
    assert weight is not None
    assert bias is not None
    return weight, bias


def variances(module: Normed, x: tuple[Tensor, ...]) -> Tensor:
    """Return the least variance of each channel that the norm of `module` reads."""
    return module.first(*x).flatten(2).var(2, unbiased=False).amin(0)


def test_a_channel_that_an_instance_norm_nearly_fades_out_keeps_its_size() -> None:
    torch.manual_seed(0)
    module = Normed(affine=True).eval()
    with torch.no_grad():
        module.first.weight[3] *= 1e-3
    graph, _ = rewrite(module, CONTRACT, [equalize_channels])
    grown = first_layer(graph)[0] / module.first.weight
    assert grown[3].max() < 1.01
    assert grown[4].max() > grown[3].max()


def test_a_bias_that_more_than_instance_norms_read_stays() -> None:
    class Both(Normed):
        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.last(torch.relu(self.second(self.norm(x) + x)))

    assert rewrite(Both(affine=True), CONTRACT, [center_channels])[1] == []


class Line(nn.Module):
    """In one dimension, where a norm follows a layer that cannot be scaled, and a scalar multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, 4, 3, groups=4, padding="same")
        self.norm = nn.InstanceNorm1d(4, affine=True)
        self.second, self.last = nn.Conv1d(4, 6, 3, padding="same"), nn.Conv1d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.norm(self.first(x)))
        return self.last(nn.functional.leaky_relu_(self.second(x) * 0.2, 0.1))


def test_norms_behind_layers_that_stay_and_scalars_are_equalized_through() -> None:
    contract = Contract((Input("x", (4, 32)),), (Output("y", (2, 32), layout=""),))
    torch.manual_seed(2)
    module = uneven(Line(), 2)
    graph, changes = rewrite(module, contract, [center_channels, equalize_channels])
    assert [(change.rewrite, change.layer) for change in changes] == [
        ("center_channels", "first"),
        ("equalize_channels", "norm"),
        ("equalize_channels", "second"),
    ]
    x = example(contract, 9, 3)
    expected = module(*x).detach()
    torch.testing.assert_close(graph(*x), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


class Square(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


class Shared(Square):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.relu(self.first(x[:, :3]) + x))


class Returned(Square):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.first(x))


class Shifted(Square):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x) + 1.0))


class Padded(Square):
    def __init__(self, value: float, *pad: int) -> None:
        super().__init__()
        self.pad, self.value = pad, value

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.pad(self.first(x), self.pad, value=self.value)[..., :6, :6])


class Styled(Square):
    """Scaled by two halves of a tensor, as in AdaIN."""

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.first(x).chunk(2, dim=1)
        return scale * x[:, :2] + shift


class Computed(Square):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(nn.functional.instance_norm(self.first(x), weight=1 + self.gain)))


class Features(nn.Module):
    """A norm behind a linear layer whose features are not the norm's channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(6, 12), nn.InstanceNorm1d(18)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.first(x.flatten(1, 2)))[..., None, :]


LEFT_ALONE = [
    *(Square(), Shared(), Returned(), Shifted(), Styled(), Computed(), Features()),
    *(Padded(0.5, 1, 1), Padded(0.0, 0, 0, 0, 0, 1, -1)),
]


@pytest.mark.parametrize("module", LEFT_ALONE, ids=lambda module: type(module).__name__)
def test_what_would_not_be_exact_is_left_alone(module: nn.Module) -> None:
    changes = rewrite(module, CONTRACT, [center_channels, equalize_channels])[1]
    assert [change for change in changes if change.rewrite != "center_channels"] == []
