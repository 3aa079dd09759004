from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.spectral_norm import spectral_norm

from edgegan.compress.rewrite import without_parametrizations


def weight_norm_of_old(layer: nn.Module) -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(layer)


@pytest.mark.parametrize(
    "norm",
    [parametrizations.spectral_norm, parametrizations.weight_norm, spectral_norm, weight_norm_of_old],
)
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3), nn.Linear(3, 4)])
def test_weights_are_plain_and_outputs_equal(norm, layer: nn.Module) -> None:
    shape = (2, 3) if isinstance(layer, nn.Linear) else (2, 3, 5, 5)
    module = nn.Sequential(norm(copy.deepcopy(layer)))
    x = torch.randn(shape)
    for _ in range(3):
        module(x)
    module.eval()
    plain, changes = without_parametrizations(module)
    assert [change.layer for change in changes] == ["0"]
    assert set(plain.state_dict()) == {"0.weight", "0.bias"}
    torch.testing.assert_close(plain(x), module(x), rtol=0, atol=1e-6)
    assert len(module.state_dict()) > 2
