from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgegan.compress.prune.linear_form import matrix, patches, rows, set_matrix

CONVOLUTIONS: list[Any] = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
TRANSPOSED: list[Any] = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
SIDES = (9, 8, 7)


def by_hand(layer: nn.Module, x: Tensor, chosen: Tensor) -> Tensor:
    """What `layer` gives at the chosen rows, as patches times matrix."""
    given = torch.einsum("pgm,gom->pgo", patches(layer, x, chosen), matrix(layer)).flatten(1)
    bias: Any = layer.bias
    return given if bias is None else given + bias


def check(layer: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        expected = rows(layer, layer(x))
        chosen = torch.randperm(len(expected))[:40]
        assert torch.allclose(by_hand(layer, x, chosen), expected[chosen], atol=1e-4)
        weight: Any = layer.weight
        before = weight.clone()
        set_matrix(layer, matrix(layer).clone())
    assert torch.equal(weight, before)


@settings(max_examples=150, deadline=None)
@given(
    axes=st.integers(1, 3),
    transposed=st.booleans(),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
)
def test_a_convolution_is_its_matrix_times_its_patches(
    axes: int,
    transposed: bool,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
    bias: bool,
    mode: str,
) -> None:
    x = torch.randn(2, 4, *SIDES[:axes])
    common: dict[str, Any] = {"dilation": dilation, "groups": groups, "bias": bias}
    if transposed:
        more = min(stride - 1, 1)
        layer = TRANSPOSED[axes - 1](4, 8, kernel, stride, padding, more, **common)
    else:
        layer = CONVOLUTIONS[axes - 1](4, 8, kernel, stride, padding, padding_mode=mode, **common)
    try:
        layer(x)
    except RuntimeError:
        return  # torch refuses it too: an output of no size
    check(layer, x)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even")
def test_same_padding_of_an_even_kernel_and_sides_of_their_own() -> None:
    check(nn.Conv2d(4, 6, (2, 5), padding="same", dilation=(3, 1)), torch.randn(2, 4, 9, 8))
    check(nn.ConvTranspose2d(4, 6, (2, 5), (3, 1), (0, 2), (1, 0)), torch.randn(2, 4, 9, 8))


@pytest.mark.parametrize("shape", [(5,), (7, 5), (3, 4, 5)])
def test_a_linear_layer_of_any_rank(shape: tuple[int, ...]) -> None:
    check(nn.Linear(5, 3), torch.randn(6, *shape))
