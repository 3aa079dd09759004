import pytest
import torch
from torch import nn

from edgegan.compress.cost import count
from edgegan.runtime.contract import Contract, Input, Output


def contract_of(*inputs: int) -> Contract:
    return Contract((Input("x", inputs),), (Output("y", (1,), layout=""),))


@pytest.mark.parametrize(
    ("layer", "inputs", "macs"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (3, 16, 16), 16 * 16 * 3 * 8 * 9),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 16, 16), 8 * 8 * 3 * 8 * 9),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 16, 16), 16 * 16 * 8 * 9),
        (nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1), (6, 5, 5), 5 * 5 * 6 * 4 * 16),
        (nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1, groups=2), (6, 5, 5), 5 * 5 * 6 * 2 * 16),
        (nn.ConvTranspose1d(6, 4, 4), (6, 1), 6 * 4 * 4),
        (
            nn.Sequential(nn.Conv2d(4, 16, 1), nn.PixelShuffle(2), nn.Conv2d(4, 2, 1)),
            (4, 3, 3),
            9 * 64 + 36 * 8,
        ),
        (nn.Linear(10, 7), (10,), 70),
        (nn.Linear(10, 7), (5, 10), 350),
        (nn.BatchNorm2d(4).eval(), (4, 3, 3), 0),
    ],
)
def test_macs_of_a_layer(layer: nn.Module, inputs: tuple[int, ...], macs: int) -> None:
    assert count(layer, contract_of(*inputs)).macs == macs


def test_attention_is_counted_in_its_fused_form_too() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    projections, feed_forward, attention = 5 * 16 * 16 * 4, 5 * 16 * 32 * 2, 2 * 5 * 5 * 16
    assert count(layer, contract_of(5, 16)).macs == projections + feed_forward + attention
    assert torch.backends.mha.get_fastpath_enabled()


def test_functional_calls_are_counted() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8, 3, 3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.conv2d(x, self.weight, padding=1)

    cost = count(Functional(), contract_of(3, 4, 4))
    assert (cost.params, cost.macs) == (8 * 27, 16 * 8 * 27)


def test_a_learned_constant_may_start_the_model() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start, self.out = nn.Parameter(torch.ones(1, 4)), nn.Linear(4, 2)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.out(self.start.expand(len(z), -1))

    assert count(Constant(), contract_of(3)).macs == 8


def test_tied_parameters_count_once() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    cost = count(nn.Sequential(first, second), contract_of(4))
    assert (cost.params, cost.macs) == (16, 32)


def test_a_layer_under_two_names_is_left_as_it_is() -> None:
    layer = nn.Conv2d(4, 4, 1)
    module = nn.Sequential(layer, nn.ReLU(), layer)
    assert count(module, contract_of(4, 3, 3)).macs == 2 * 9 * 16
    assert module[0].weight is layer.weight
    assert isinstance(layer.weight, nn.Parameter)
