from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgegan.adversarial.state import load_state, save_state


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
