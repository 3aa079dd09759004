import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from edgegan.compress.parametrization import parametrized, plain_copy, remove_parametrizations
from edgegan.compress.structure import load, not_finite, resize, save, shapes
from edgegan.errors import CheckpointError, StageError, StorageError
from edgegan.models.resnet import Generator


def every_kind(a: int, b: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, a, 3, padding=1),
        nn.BatchNorm2d(a),
        nn.PReLU(a),
        nn.Conv2d(a, a, 3, padding=1, groups=a),
        nn.InstanceNorm2d(a, affine=True),
        nn.ConvTranspose2d(a, b, 4, 2, 1),
        nn.InstanceNorm2d(b),
        nn.ConvTranspose2d(b, b, 2, 2, groups=b),
        nn.GroupNorm(b // 3, b),
        nn.BatchNorm2d(b, affine=False),
        nn.Conv2d(b, 3, 1),
        nn.Flatten(),
        nn.Linear(3 * 16 * 16, a),
        nn.LayerNorm(a),
        nn.BatchNorm1d(a, track_running_stats=False),
    ).eval()


def test_round_trip_of_every_kind_of_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small, fresh = every_kind(4, 6), every_kind(8, 12)
    save(small, tmp_path)
    loaded = load(fresh, tmp_path)
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(loaded(x), small(x))
    assert str(loaded) == str(small)
    assert shapes(loaded) == shapes(small)


def test_round_trip_of_the_conditional_generator(tmp_path: Path) -> None:
    small, fresh = Generator((8, 6, 4, 4), latent=5).eval(), Generator((16, 12, 8, 8), latent=5)
    save(small, tmp_path)
    inputs = torch.randn(3, 5), torch.tensor([0, 1, 9])
    assert torch.equal(load(fresh, tmp_path)(*inputs), small(*inputs))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["structure.json", "student.safetensors"]


def test_a_norm_without_tensors_keeps_its_width() -> None:
    assert shapes(nn.Sequential(nn.InstanceNorm2d(7))) == {"0.num_features": [7]}


@pytest.mark.parametrize("wrap", [spectral_norm, weight_norm, old_spectral_norm])
def test_parametrizations_are_removed_without_changing_the_output(wrap, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, fresh = (nn.Sequential(wrap(nn.Linear(4, 6)), nn.Linear(6, 2)).eval() for _ in range(2))
    x = torch.randn(3, 4)
    before = module(x)
    assert parametrized(module) == ["0"]
    remove_parametrizations(module)
    assert parametrized(module) == []
    assert set(module.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    torch.testing.assert_close(module(x), before, rtol=0, atol=1e-6)
    save(module, tmp_path)
    assert torch.equal(load(fresh, tmp_path)(x), module(x))


@pytest.mark.parametrize("wrap", [spectral_norm, weight_norm])
def test_weights_of_a_frozen_module_stay_parameters(wrap) -> None:
    module = nn.Sequential(wrap(nn.Linear(4, 6))).requires_grad_(False)
    copied = plain_copy(module)
    assert {name: each.requires_grad for name, each in copied.named_parameters()} == {
        "0.weight": False,
        "0.bias": False,
    }


def test_a_plain_copy_leaves_the_module_parametrized() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(spectral_norm(nn.Linear(4, 6)), spectral_norm(nn.Linear(6, 4))).eval()
    x = torch.randn(3, 4)
    before = module(x)
    for _ in range(2):
        copied = plain_copy(module)
        assert parametrized(copied) == []
        torch.testing.assert_close(copied(x), before, rtol=0, atol=1e-6)
        assert torch.equal(module(x), before)
    assert parametrized(module) == ["0", "1"]


def test_tied_parameters_stay_tied() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    module = nn.Sequential(first, second)
    resize(module, {key: [2] * len(shape) for key, shape in shapes(module).items()})
    assert module[0].weight is module[1].weight
    assert module(torch.ones(1, 2)).shape == (1, 2)


def test_a_kind_of_torchs_that_cannot_be_resized_is_refused_and_a_networks_own_is_not() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

    module: Any = nn.Sequential(Own(), nn.Bilinear(4, 4, 4))
    resize(module, {**shapes(module), "0.scale": [2]})
    assert module[0].scale.shape == (2,)
    with pytest.raises(StageError, match="kind Bilinear cannot be resized"):
        resize(module, {**shapes(module), "1.bias": [6]})


def test_another_models_structure_is_refused(tmp_path: Path) -> None:
    save(nn.Sequential(nn.Linear(2, 2)), tmp_path)
    with pytest.raises(StageError, match="not of this model"):
        load(nn.Linear(2, 2), tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="structure cannot be read"):
        load(module, tmp_path)
    save(module, tmp_path)
    weights = tmp_path / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="weights cannot be read"):
        load(module, tmp_path)
    (tmp_path / "structure.json").write_text(json.dumps({"schema": 99, "shapes": {}}))
    with pytest.raises(CheckpointError, match="schema 99"):
        load(module, tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        save(nn.Linear(2, 2), tmp_path / "file" / "under")


def test_masks_of_minus_infinity_are_no_broken_weights() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(4)
            self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))

    module: Any = Masked()
    assert not_finite(module) == []
    module.norm.running_mean[0] = -torch.inf
    assert not_finite(module) == ["norm.running_mean"]
    module.mask[0, 0] = torch.nan
    assert not_finite(module) == ["mask", "norm.running_mean"]
