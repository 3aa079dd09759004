from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from edgegan.errors import CheckpointError
from edgegan.learning import checkpoint
from edgegan.learning.checkpoint import Checkpoint, load_state, save_state


def test_training_goes_on_from_a_saved_state_as_if_never_stopped(tmp_path: Path) -> None:
    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        return module, torch.optim.Adam(module.parameters(), 0.1)

    def advance(module: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            torch.manual_seed(step)
            optimizer.zero_grad()
            module(torch.randn(8, 3)).square().mean().backward()
            optimizer.step()

    module, optimizer = make()
    advance(module, optimizer, range(5))
    save_state(tmp_path / "s.safetensors", {"m": module, "o": optimizer}, 5)
    advance(module, optimizer, range(5, 9))
    again, other = make()
    assert load_state(tmp_path / "s.safetensors", {"m": again, "o": other}) == 5
    advance(again, other, range(5, 9))
    for left, right in zip(module.state_dict().values(), again.state_dict().values()):
        assert torch.equal(left, right)


def parts() -> dict[str, nn.Module | torch.optim.Optimizer]:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return {"m": module, "o": torch.optim.Adam(module.parameters(), 0.1)}


@pytest.mark.parametrize("damage", ["cut", "pipe", "step", "no step", "other module", "shape", "moment"])
def test_a_damaged_state_is_refused_and_nothing_is_changed(tmp_path: Path, damage: str) -> None:
    path, saved = tmp_path / "s.safetensors", parts()
    saved["m"](torch.randn(8, 3)).square().mean().backward()  # type: ignore[operator]
    saved["o"].step()  # type: ignore[union-attr]
    if damage == "other module":
        saved["x"] = nn.Linear(1, 1)
    save_state(path, saved, 5)
    content = path.read_bytes()
    changes = {
        "cut": content[:-1],
        "step": content.replace(b'"step":"5"', b'"step":"-"'),
        "no step": content.replace(b'"step":"5"', b'"stop":"5"'),
        "shape": content.replace(b'"shape":[4,3]', b'"shape":[3,4]'),
        "moment": content.replace(b"/0.exp_avg_sq", b"/9.exp_avg_sq"),
    }
    if damage == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif damage in changes:
        assert changes[damage] != content
        path.write_bytes(changes[damage])
    again = parts()
    before = copy.deepcopy(again["m"].state_dict())
    with pytest.raises(CheckpointError, match="training state cannot be read") as caught:
        load_state(path, again)
    assert caught.value.where == str(path)
    assert "delete it" in (caught.value.next or "")
    for key, value in again["m"].state_dict().items():
        assert torch.equal(value, before[key])


def test_states_are_due_by_the_clock_and_by_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    kept = Checkpoint(tmp_path / "s")
    assert kept.load(parts()) == 0
    now += 19.9
    assert not kept.due(7)
    assert kept.due(1000)
    now += 0.2
    assert kept.due(7)
    kept.save(parts(), 7)
    assert not kept.due(8)
    now += 20.1
    assert kept.load(parts()) == 7
    assert not kept.due(8)
