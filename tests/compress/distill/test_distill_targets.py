"""Distillation of stored inputs: with real targets, which lie beside them, and of few that are varied."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgegan.compress.distill import Distill, DistillSettings
from edgegan.compress.stage import Candidate, Context
from edgegan.errors import InputError, StageError
from edgegan.learning import devices
from edgegan.learning.algorithms.distillation import Distillation
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
    proof = done.lineage[-1].proof
    assert ("targets" in proof["final_losses"]) == ("targets" in weights)
    assert "held_out_psnr_db" not in proof
    away = proof["learnt_psnr_db"]["after"] < proof["learnt_psnr_db"]["before"]
    assert [warning.endswith("dB on the stored inputs") for warning in proof["warnings"]] == [True] * away


def test_targets_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    stage = Distill(DistillSettings(steps=2, batch=4, targets=1))
    with pytest.raises(InputError, match="arrays named other, y"):
        stage.run(candidate(tmp_path, targets=False), Context(tmp_path, 0))


def few_pictures(folder: Path) -> Candidate:
    """A teacher that passes pictures on, of which four are stored, and their negatives as targets."""
    x = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    np.savez(folder / "x.npz", x=x, y=-x)  # pyright: ignore[reportArgumentType]
    stored = Input("x", (1, 8, 8), sample=Sample("stored", low=-1, file="x.npz"))
    contract = Contract((stored,), (Output("y", (1, 8, 8)),)).with_stored(folder)
    return Candidate(nn.Conv2d(1, 1, 1).eval(), nn.Conv2d(1, 1, 1).eval(), contract)


def batches(candidate: Candidate, count: int, **settings: object) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What is learnt from: inputs and targets."""
    given = DistillSettings.model_validate({"steps": count, "batch": 4, "targets": 1, **settings})
    parts = candidate.student, candidate.teacher, None, candidate.contract, given, devices.launch("fp32")
    algorithm = Distillation(*parts, seed=0)
    drawn = [algorithm.batch(step) for step in range(count)]
    return [(batch["inputs"][0], batch["targets"][0]) for batch in drawn]


def test_few_pictures_are_never_twice_the_same_and_their_targets_go_with_them(tmp_path: Path) -> None:
    few = few_pictures(tmp_path)
    for vary, distinct in ((False, 4), (True, 40)):
        drawn = batches(few, 10, vary=vary)
        pictures = {tuple(x.flatten().tolist()) for inputs, _ in drawn for x in inputs}
        assert abs(len(pictures) - distinct) <= 4 * vary
        assert all(torch.equal(targets, -inputs) for inputs, targets in drawn)
    again, once = batches(few, 2, vary=True), batches(few, 2, vary=True)
    assert all(torch.equal(*pair) for pair in zip(again[1], once[1]))


def test_what_has_no_pictures_cannot_be_varied(tmp_path: Path) -> None:
    stage = Distill(DistillSettings(steps=2, batch=4, vary=True))
    with pytest.raises(StageError, match="nothing to vary"):
        stage.run(candidate(tmp_path), Context(tmp_path, 0))
