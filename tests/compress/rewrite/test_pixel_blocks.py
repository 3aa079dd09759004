from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from zoo import candy, srgan

from edgegan.compress.example_inputs import example
from edgegan.compress.rewrite import conv_to_pixel_blocks, rewrite
from edgegan.runtime.contract import Contract, Input, Output

Case = tuple[nn.Module, tuple[int, ...]]
UNSHUFFLED = ["pixel_unshuffle", "conv2d", "pixel_shuffle"]


def contract(*shape: int) -> Contract:
    return Contract((Input("x", shape),), (Output("y", (1,), layout=""),))


def operators(graph: torch.fx.GraphModule) -> list[str]:
    return [str(node.target).split(".")[1] for node in graph.graph.nodes if node.op == "call_function"]


@st.composite
def convolutions(draw: st.DrawFn, inputs: int) -> nn.Conv2d:
    """Return a Conv2d that mostly keeps the size of what it reads."""
    kernel = draw(st.tuples(*[st.integers(1, 9)] * 2))
    dilation = draw(st.sampled_from([1, 1, 1, 2]))
    same = tuple((size - 1) * dilation // 2 for size in kernel)
    padding = draw(st.sampled_from([same, same, "same", draw(st.tuples(*[st.integers(0, 4)] * 2))]))
    return nn.Conv2d(inputs, draw(st.integers(1, 20)), kernel, 1, padding, dilation, bias=draw(st.booleans()))


@st.composite
def alone(draw: st.DrawFn) -> Case:
    return draw(convolutions(3)), (3, *draw(st.tuples(*[st.sampled_from([18, 20, 22])] * 2)))


@st.composite
def behind_a_shuffle(draw: st.DrawFn) -> Case:
    factor = draw(st.integers(2, 3))
    between: list[nn.Module] = draw(
        st.lists(
            st.sampled_from([nn.ReLU(), nn.PReLU(), nn.PReLU(2), nn.LeakyReLU(0.1), nn.Tanh()]), max_size=2
        )
    )
    steps = [nn.Conv2d(3, 2 * factor**2, 1), nn.PixelShuffle(factor), *between, draw(convolutions(2))]
    return nn.Sequential(*steps), (3, 9, 10)


def check(case: Case, seed: int) -> list[str]:
    """Return the names of the operators that a case is written in, which give what the module gives."""
    module, shape = case
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.PReLU):
            nn.init.uniform_(layer.weight)
    x = torch.randn(3, *shape, dtype=torch.float64)
    rewritten, changes = rewrite(module, contract(*shape), [conv_to_pixel_blocks])
    torch.testing.assert_close(rewritten.double()(x), module.double()(x), rtol=0, atol=1e-11)
    return operators(rewritten) if changes else []


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=40, deadline=None)
@given(alone(), st.integers(0, 2**16))
def test_blocks_of_pixels_equal_any_convolution(case: Case, seed: int) -> None:
    assert check(case, seed) in ([], UNSHUFFLED)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=40, deadline=None)
@given(behind_a_shuffle(), st.integers(0, 2**16))
def test_a_shuffle_before_the_convolution_cancels_out(case: Case, seed: int) -> None:
    names = check(case, seed)
    assert "pixel_unshuffle" not in names
    if names:
        assert names[-2:] == ["conv2d", "pixel_shuffle"]
        assert names.count("pixel_shuffle") == 1


def test_last_layers_with_many_taps_are_written_in_blocks_of_two() -> None:
    layer = nn.Conv2d(8, 3, 9, padding=4)
    rewritten, changes = rewrite(layer, contract(8, 12, 12), [conv_to_pixel_blocks])
    assert [change.detail for change in changes] == ["5x5 taps in a shuffle by 2, blocks of 2x2 pixels"]
    assert operators(rewritten) == UNSHUFFLED
    weight = next(p for name, p in rewritten.named_parameters() if "weight" in name)
    assert tuple(weight.shape) == (12, 32, 5, 5)
    assert int(weight.count_nonzero()) == 4 * layer.weight.numel()


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv2d(8, 64, 9, padding=4), 12),
        (nn.Conv2d(8, 3, 7, padding=3), 12),
        (nn.Conv2d(8, 3, 9, padding=4, stride=2), 12),
        (nn.Conv2d(9, 3, 9, padding=4, groups=3), 12),
        (nn.Conv2d(8, 3, 9, padding=4), 13),
        (nn.Conv2d(8, 3, 9, padding=4, padding_mode="reflect"), 13),
    ],
    ids=["many outputs", "few taps", "stride", "groups", "an odd size", "reflects an odd size"],
)
def test_what_gains_nothing_or_does_not_fit_is_left_alone(layer: nn.Conv2d, size: int) -> None:
    assert rewrite(layer, contract(layer.in_channels, size, size), [conv_to_pixel_blocks])[1] == []


def test_what_others_read_keeps_its_pixels() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 9, padding=4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            pixels = nn.functional.pixel_shuffle(x, 2)
            return self.conv(pixels), pixels

    ports = Contract(
        (Input("x", (8, 6, 6)),), (Output("y", (3, 12, 12)), Output("pixels", (2, 12, 12), layout=""))
    )
    module = Fork()
    rewritten, changes = rewrite(module, ports, [conv_to_pixel_blocks])
    assert operators(rewritten).count("pixel_unshuffle") == len(changes) == 1
    x = torch.randn(2, 8, 6, 6)
    for ours, theirs in zip(rewritten(x), module(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("zoo", "layer"), [(srgan, "block8.2"), (candy, "deconv3.conv2d")])
def test_published_networks_keep_their_outputs(shared: Path, zoo: object, layer: str) -> None:
    module, ports = zoo.load(shared).requires_grad_(False), zoo.CONTRACT  # pyright: ignore[reportAttributeAccessIssue]
    rewritten, changes = rewrite(module, ports, [conv_to_pixel_blocks])
    assert [change.layer for change in changes] == [layer]
    samples = example(ports, 2, seed=5)
    largest = float(module(*samples).abs().max())
    torch.testing.assert_close(rewritten(*samples), module(*samples), rtol=0, atol=1e-4 * largest)


def test_a_convolution_behind_one_in_blocks_is_read_as_it_is() -> None:
    module = nn.Sequential(nn.Conv2d(8, 3, 9, padding=4), nn.Conv2d(3, 3, 1)).requires_grad_(False)
    rewritten, changes = rewrite(module, contract(8, 12, 12), [conv_to_pixel_blocks])
    assert changes[0].layer == "0"
    x = torch.randn(2, 8, 12, 12)
    torch.testing.assert_close(rewritten(x), module(x), rtol=0, atol=1e-5)
