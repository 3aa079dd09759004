from __future__ import annotations

import copy
import csv
import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from distill_setup import SETTINGS, small_candidate

from edgegan import interrupts
from edgegan.compress.distill import Distill, DistillSettings
from edgegan.compress.quantize.improve.qat_settings import TrainingSettings
from edgegan.compress.stage import Candidate, Context, Settings
from edgegan.errors import ProofError, StageError
from edgegan.learning import checkpoint
from edgegan.learning.checkpoint import fingerprint


def distill(candidate: Candidate, folder: Path, *, seed: int = 3, **settings: Any) -> Candidate:
    stage = Distill(DistillSettings.model_validate({**SETTINGS, **settings}))
    stage.requires(candidate)
    result = stage.run(candidate, Context(folder, seed=seed))
    stage.ensures(candidate, result)
    return result


def losses(folder: Path) -> list[dict[str, float]]:
    rows = csv.DictReader((folder / "losses.csv").read_text().splitlines())
    return [{name: float(value) for name, value in row.items()} for row in rows]


def test_its_settings_are_a_stages() -> None:
    assert issubclass(DistillSettings, Settings)
    assert issubclass(TrainingSettings, Settings)


def test_the_student_nears_the_teacher(tmp_path: Path) -> None:
    candidate = small_candidate(discriminator=False)
    result = distill(candidate, tmp_path, steps=150, batch=16, learning_rate=4e-3)
    proof = result.lineage[-1].proof
    assert proof["held_out_psnr_db"]["after"] > proof["held_out_psnr_db"]["before"] + 3
    assert proof["warnings"] == []
    rows = losses(tmp_path)
    assert [row["step"] for row in rows] == [50, 100, 150]
    assert rows[-1]["output"] < 0.8 * rows[0]["output"]
    assert proof["final_losses"] == {name: value for name, value in rows[-1].items() if name != "step"}


def test_all_else_stays_as_it_was(tmp_path: Path) -> None:
    candidate = small_candidate()
    assert candidate.discriminator is not None
    networks = candidate.student, candidate.teacher, candidate.discriminator
    before = [fingerprint(network) for network in networks]
    generator_state = torch.get_rng_state()
    result = distill(candidate, tmp_path)
    assert [fingerprint(network) for network in networks] == before
    assert torch.equal(torch.get_rng_state(), generator_state)
    assert result.teacher is candidate.teacher
    assert result.discriminator is candidate.discriminator
    assert not result.student.training
    assert all(parameter.requires_grad for parameter in result.student.parameters())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["losses.csv"]


def test_the_record_is_plain_data(tmp_path: Path) -> None:
    record = distill(small_candidate(), tmp_path).lineage[-1]
    assert json.loads(json.dumps(dataclasses.asdict(record), allow_nan=False)) == dataclasses.asdict(record)
    assert record.changed["taps"] == ["seed", "blocks.0", "blocks.1"]
    names = {"output", "features", "adversarial", "perceptual", "discriminator"}
    assert set(record.proof["final_losses"]) == names


def test_same_seed_same_result(tmp_path: Path) -> None:
    runs = [
        fingerprint(distill(small_candidate(), tmp_path / name, seed=seed).student)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert runs[0] == runs[1] != runs[2]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a checkpoint after every step."""
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)


def broken_off(
    folder: Path, stop: int, number: int | None = None, **more: Any
) -> tuple[Candidate, list[int]]:
    """Distil, and again once it was broken off at `stop`, by an error or a signal; return the steps told."""
    seen: list[int] = []

    def progress(done: int, _total: int) -> None:
        seen.append(done)
        if done == stop and len(seen) == stop + 1:
            if number is None:
                raise KeyboardInterrupt
            os.kill(os.getpid(), number)

    stage = Distill(DistillSettings.model_validate({**SETTINGS, **more}))
    with interrupts.raised(), pytest.raises(KeyboardInterrupt):
        stage.run(small_candidate(), Context(folder, 3, progress))
    return stage.run(small_candidate(), Context(folder, 3, progress)), seen


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("stop", [1, 7, 10])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path, stop: int) -> None:
    whole = distill(small_candidate(), tmp_path / "whole")
    result, seen = broken_off(tmp_path / "cut", stop)
    assert seen[stop + 1] == (stop if stop < 10 else 9)
    assert fingerprint(result.student) == fingerprint(whole.student)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert result.lineage[-1].proof == whole.lineage[-1].proof


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_after_its_step_and_nothing_is_lost(
    tmp_path: Path, number: int, request: pytest.FixtureRequest
) -> None:
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)  # what runs in the background is to ignore some
    request.addfinalizer(lambda: signal.signal(number, before))
    whole = distill(small_candidate(), tmp_path / "whole", steps=60)
    result, seen = broken_off(tmp_path / "cut", 53, number, steps=60)
    assert seen == [*range(55), *range(54, 61)]
    assert fingerprint(result.student) == fingerprint(whole.student)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert result.lineage[-1].proof == whole.lineage[-1].proof
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


def test_a_checkpoint_of_other_settings_does_not_count(tmp_path: Path) -> None:
    def progress(done: int, _total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Distill(DistillSettings.model_validate({**SETTINGS, "learning_rate": 1e-4})).run(
            small_candidate(), Context(tmp_path / "cut", 3, progress)
        )
    result = distill(small_candidate(), tmp_path / "cut")
    assert fingerprint(result.student) == fingerprint(distill(small_candidate(), tmp_path / "whole").student)


def test_the_frozen_discriminator_serves_as_a_measure_alone(tmp_path: Path) -> None:
    record = distill(small_candidate(), tmp_path, adversarial=0).lineage[-1]
    assert set(record.proof["final_losses"]) == {"output", "features", "perceptual"}


def test_a_worse_student_is_warned_of(tmp_path: Path) -> None:
    candidate = small_candidate(discriminator=False)
    same = dataclasses.replace(candidate, student=copy.deepcopy(candidate.teacher))
    proof = distill(same, tmp_path, steps=3, learning_rate=0.1).lineage[-1].proof
    assert proof["held_out_psnr_db"]["before"] == pytest.approx(100)
    assert len(proof["warnings"]) == 1
    assert "100.00 to" in proof["warnings"][0]


def test_a_loss_that_is_not_finite_names_its_step(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"the (output|features) loss became nan at step \d") as caught:
        distill(small_candidate(discriminator=False), tmp_path, learning_rate=1e30, steps=50)
    assert caught.value.next is not None
    assert "distill.learning_rate" in caught.value.next


def test_a_distillation_with_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="nothing to learn from"):
        distill(small_candidate(discriminator=False), tmp_path, output=0, features=0)


class Noisy(torch.nn.Module):
    """A generator that adds noise of its own at each call."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.inner(z + torch.randn_like(z), label)


def test_networks_with_noise_of_their_own_draw_the_same(tmp_path: Path) -> None:
    candidate = small_candidate(discriminator=False)
    noisy = dataclasses.replace(
        candidate,
        student=Noisy(copy.deepcopy(candidate.teacher)).eval(),
        teacher=Noisy(candidate.teacher).eval(),
    )
    for norm in noisy.teacher.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    distill(noisy, tmp_path, steps=1, features=0, learning_rate=1e-9)
    assert losses(tmp_path)[0]["output"] < 1e-5


def test_networks_that_do_not_fit_are_refused() -> None:
    candidate = small_candidate()
    narrow = dataclasses.replace(
        candidate, contract=dataclasses.replace(candidate.contract, inputs=candidate.contract.inputs[::-1])
    )
    stage = Distill()
    with pytest.raises((StageError, RuntimeError, IndexError)):
        stage.requires(narrow)
    broken = copy.deepcopy(candidate.student)
    with torch.no_grad():
        broken.get_parameter("head.weight").fill_(torch.nan)
    with pytest.raises(StageError, match="student's weights are not finite") as caught:
        stage.requires(dataclasses.replace(candidate, student=broken))
    assert caught.value.where == "distill: head.weight (3, 4, 3, 3)"
    with pytest.raises(StageError, match="cannot be called as discriminator"):
        stage.requires(dataclasses.replace(candidate, discriminator=torch.nn.Linear(3, 1)))


def test_ensures_refuses_a_changed_teacher(tmp_path: Path) -> None:
    candidate = small_candidate(discriminator=False)
    result = distill(candidate, tmp_path, steps=1)
    with torch.no_grad():
        candidate.teacher.get_parameter("head.weight").add_(1)
    with pytest.raises(ProofError, match="teacher"):
        Distill().ensures(candidate, result)
