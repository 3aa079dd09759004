"""Distillation with real targets, which lie beside stored inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgegan.compress.distill import Distill, DistillSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import InputError
from edgegan.learning.draws import draw, with_targets
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.runtime.modality import Tensor


def candidate(folder: Path, *, targets: bool = True) -> Candidate:
    """A teacher that halves, and targets that are negated; another output has none."""
    rng = np.random.default_rng(0)
    x = rng.random((32, 1, 6), dtype=np.float32) * 2 - 1
    np.savez(folder / "x.npz", x=x, **({"y": -x} if targets else {}))  # pyright: ignore[reportArgumentType]
    outputs = Output("other", (1, 6), modality=Tensor()), Output("y", (1, 6), modality=Tensor())
    stored = Input("x", (1, 6), sample=Sample("stored", low=-1, file="x.npz"))
    contract = Contract((Input("z", (1, 6)), stored), outputs).with_stored(folder)

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 1)
            nn.init.constant_(self.conv.weight, 0.5)
            nn.init.zeros_(self.conv.bias) if self.conv.bias is not None else None

        def forward(self, z: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return z, self.conv(x)

    return Candidate(Both().eval(), Both().eval(), contract)


def test_targets_are_drawn_with_their_inputs_which_stay_as_they_were(tmp_path: Path) -> None:
    contract = candidate(tmp_path).contract
    plain, extended = (draw(each, 20, 3) for each in (contract, with_targets(contract)))
    assert len(extended) == 3
    assert all(torch.equal(*pair) for pair in zip(plain, extended))
    torch.testing.assert_close(extended[2], -extended[1])


@pytest.mark.parametrize(("weights", "slope"), [({"output": 0, "targets": 1}, -1), ({"output": 1}, 0.5)])
def test_the_student_learns_what_is_weighed(tmp_path: Path, weights: dict[str, float], slope: float) -> None:
    settings = DistillSettings(steps=150, batch=8, learning_rate=0.1, features=0, ema=0.5, **weights)  # pyright: ignore[reportArgumentType]
    done = Distill(settings).run(candidate(tmp_path), Context(tmp_path, 0))
    assert float(done.student.get_parameter("conv.weight").detach()) == pytest.approx(slope, abs=0.05)
    assert ("targets" in done.lineage[-1].proof["final_losses"]) == ("targets" in weights)


def test_targets_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    stage = Distill(DistillSettings(steps=2, batch=4, targets=1))
    with pytest.raises(InputError, match="arrays named other, y"):
        stage.run(candidate(tmp_path, targets=False), Context(tmp_path, 0))
