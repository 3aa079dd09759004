"""Weights in other forms and places than the module's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import utils
from torch.nn.utils import parametrizations

from edgegan.compress.torchscript import is_archive, read_weights
from edgegan.compress.weights import find, fitted, make_plain
from edgegan.reading import Unreadable

LAYERS = {
    "convolution": (lambda: nn.Conv2d(4, 4, 3), (2, 4, 6, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 4, 3), (2, 4, 6, 6)),
    "linear": (lambda: nn.Linear(5, 4), (2, 5)),
}
WRAPS = {
    "weight norm": utils.weight_norm,
    "spectral norm": utils.spectral_norm,
    "parametrized weight norm": parametrizations.weight_norm,
    "parametrized spectral norm": parametrizations.spectral_norm,
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("wrap", WRAPS)
def test_a_norm_in_only_one_of_checkpoint_and_module_is_resolved(wrap: str, layer: str) -> None:
    torch.manual_seed(0)
    make, size = LAYERS[layer]
    x = torch.randn(size)
    normed = nn.Sequential(WRAPS[wrap](make()))
    for _ in range(3):
        normed(x)
    normed.eval()
    with torch.no_grad():
        expected = normed(x)
        plain = nn.Sequential(make()).eval()
        found = fitted(normed.state_dict(), plain)
        assert found is not None
        assert "was resolved into plain weights" in found.said[0]
        plain.load_state_dict(found.weights)
        torch.testing.assert_close(plain(x), expected, rtol=1e-5, atol=1e-6)

        other = nn.Sequential(WRAPS[wrap](make())).eval()
        found = fitted(plain.state_dict(), other)
        assert found is not None
        assert found.plain
        make_plain(other)
        other.load_state_dict(found.weights)
        assert torch.equal(other(x), plain(x))


def test_the_entry_and_the_prefix_are_found_and_averaged_weights_come_first() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    state = module.state_dict()
    whole = {
        "epoch": 3,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(4, 3)}}},
        "g": {f"module.{name}": value for name, value in state.items()},
        "nets": {"g_ema": {f"module.{name}": value + 1 for name, value in state.items()}},
        "d": {"0.weight": torch.zeros(9, 9)},
    }
    found = find(whole, module)
    assert [(one.entry, one.prefix) for one in found] == [("nets.g_ema", "module."), ("g", "module.")]
    assert torch.equal(found[0].weights["0.weight"], state["0.weight"] + 1)
    assert find({"other": {"0.weight": torch.zeros(9, 9)}}, module) == []


def test_averaged_weights_beside_others_in_one_entry_are_taken() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    state = module.state_dict()
    content = {f"model.{name}": value for name, value in state.items()}
    content |= {f"ema_model.module.{name}": value + 1 for name, value in state.items()}
    (found,) = find(content, module)
    assert found.prefix == "ema_model.module."
    assert all(torch.equal(found.weights[name], value + 1) for name, value in state.items())


def test_names_that_only_look_like_norms_are_left_alone() -> None:
    module = nn.ParameterDict({"a_v": torch.randn(3), "a_g": torch.randn(5), "b_orig": torch.randn(2, 2)})
    found = fitted(module.state_dict(), module)
    assert found is not None
    assert found.said == ()
    assert fitted({**module.state_dict(), "b_u": torch.randn(7), "b_v": torch.randn(2)}, module) is None


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_weights_are_read_from_a_torchscript_archive_without_running_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module: Any = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2))
    ).eval()
    module[0].weight.data = module[0].weight.data.transpose(2, 3)
    torch.jit.save(torch.jit.script(module), tmp_path / "scripted.pt")
    assert is_archive(tmp_path / "scripted.pt")
    read = read_weights(tmp_path / "scripted.pt")
    state = module.state_dict()
    assert set(read) == set(state)
    assert all(torch.equal(read[name], state[name]) for name in state)
    torch.save(state, tmp_path / "plain.pt")
    assert not is_archive(tmp_path / "plain.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_an_archive_cut_off_is_refused(tmp_path: Path) -> None:
    import zipfile

    torch.jit.save(torch.jit.script(nn.Linear(64, 64)), tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "cut.pt", "w") as cut:
        for name in whole.namelist():
            content = whole.read(name)
            cut.writestr(name, content[:100] if "/data/" in name else content)
    with pytest.raises((Unreadable, ValueError)):
        read_weights(tmp_path / "cut.pt")
