from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from monitor_setup import COLLAPSES, CONTRACT, networks, training
from safetensors.torch import load_file
from torch import Tensor, nn

from edgegan.compress.distill import run_distillation
from edgegan.learning import checkpoint, loop, monitor
from edgegan.learning.algorithm import Batch, Update
from edgegan.learning.algorithms.distillation import Distillation
from edgegan.learning.algorithms.settings import DistillationSettings
from edgegan.learning.checkpoint import Holder, save_state
from edgegan.learning.devices import launch
from edgegan.learning.monitor import Monitor, Trouble, Vitals, spread
from edgegan.learning.player import Player
from edgegan.module_copy import copy_of


class StoppedError(Exception):
    pass


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "STEPS", 20)


def test_collapses_are_seen_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[tuple[float, float]] = []
    for seed in (0, 1, 4):
        monkeypatch.setattr(loop, "STEPS", 200)
        alone = training(tmp_path / f"alone-{seed}", seed, steps=300, **COLLAPSES)
        alone.run()
        collapsed = alone.algorithm.vitals().spread
        assert collapsed is not None
        assert alone.troubles == []
        monkeypatch.setattr(loop, "STEPS", 20)
        folder = tmp_path / f"watched-{seed}"
        watched = training(folder, seed, steps=500, **COLLAPSES)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            watched.run()
        kept = watched.algorithm.vitals().spread
        assert kept is not None
        found.append((collapsed, kept))
        assert any("become alike" in trouble.what for trouble in watched.troubles)
        assert all(trouble.back < trouble.step for trouble in watched.troubles)
        assert [record.getMessage() for record in caplog.records] == list(map(str, watched.troubles))
        assert json.loads((folder / "troubles.json").read_text())[0]["what"]
        assert not list(folder.glob("well-*"))
        assert [row["step"] for row in watched.log.rows] == list(range(10, 501, 10))
    # which courses these take, a CPU's last bits decide: two of the three at the least collapse wholly
    undone = [kept for collapsed, kept in found if collapsed < 0.05]
    assert len(undone) >= 2, found
    assert sum(kept > 0.2 for kept in undone) >= 2, found
    assert all(kept > 10 * collapsed for collapsed, kept in found if collapsed < 0.05), found


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.usefixtures("looks_often")
def test_a_discriminator_that_has_won_is_slowed_down(tmp_path: Path, seed: int) -> None:
    run = training(tmp_path, seed, steps=120, loss="bce", generator_rate=2e-4, discriminator_rate=2e-2)
    run.run()
    assert run.troubles[0].what.startswith("the discriminator has won: its loss is 0.00")
    assert run.troubles[0].now == "a quarter of the discriminator's rate"
    players = run.algorithm.players()
    assert players["generator"].rate == 2e-4
    assert players["discriminator"].rate == 2e-2 / 4 ** len(run.troubles)


@pytest.mark.usefixtures("looks_often")
def test_a_run_that_is_well_is_what_it_is_unwatched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"generator_rate": 1e-3, "discriminator_rate": 1e-3, "steps": 120}
    training(tmp_path / "watched", 0, **rates).run()
    monkeypatch.setattr(loop, "STEPS", 200)
    training(tmp_path / "alone", 0, **rates).run()
    for name in ("generator", "discriminator"):
        one, other = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("watched", "alone"))
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.usefixtures("looks_often")
def test_a_run_that_was_taken_back_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    whole = training(tmp_path / "whole", 0, **COLLAPSES)
    whole.run()
    assert whole.troubles
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        if seen and done < seen[-1]:
            raise StoppedError  # just taken back
        seen.append(done)

    broken = training(tmp_path / "broken", 0, **COLLAPSES)
    with pytest.raises(StoppedError):
        broken.run(stop)
    again = training(tmp_path / "broken", 0, **COLLAPSES)
    again.run()
    assert again.troubles == whole.troubles
    one, other = (load_file(tmp_path / run / "generator.safetensors") for run in ("whole", "broken"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "broken")]
    assert logs[0] == logs[1]


class Told:
    """An algorithm that tells what it is to tell."""

    name: str = "told"
    losses: tuple[str, ...] = ("loss",)
    rewinds_noise: bool = False
    ema = None
    undecided: Mapping[str, float] = {}

    def __init__(self) -> None:
        self.network = nn.Linear(2, 2)
        self.now = Vitals()
        self.mild = 0

    def players(self) -> dict[str, Player]:
        return {"one": Player.adam(self.network.parameters(), 1e-3, (0.5, 0.9), lambda step: 1.0)}

    def parts(self) -> dict[str, Holder]:
        return {"network": self.network}

    def phase(self, step: int) -> int:
        return 0

    def batch(self, step: int) -> Batch:
        return {}

    def step(self, batch: Batch) -> Iterator[Update]:
        raise NotImplementedError

    def advice(self, loss: str) -> str:
        return ""

    def vitals(self) -> Vitals:
        return self.now

    def soften(self, *, won: bool) -> str:
        self.mild += 1
        return "milder"

    def learn(self, gradient: float = 1.0) -> None:
        for parameter in self.network.parameters():
            parameter.grad = torch.full_like(parameter, gradient)


@pytest.fixture
def told(tmp_path: Path) -> tuple[Told, Monitor]:
    algorithm = Told()
    algorithm.learn()
    watching = Monitor(algorithm, tmp_path)
    watching.begin(0)
    return algorithm, watching


def test_a_loss_that_is_not_finite_takes_the_run_back_at_once(told: tuple[Told, Monitor]) -> None:
    algorithm, watching = told
    for step in (20, 40):
        with torch.no_grad():
            algorithm.network.weight.fill_(step)
        assert watching.look(step, {"loss": 1.0}) is None
    assert watching.look(50, {"loss": float("nan")}) == 20
    assert float(algorithm.network.weight.detach().max()) == 20
    assert algorithm.mild == 1


@pytest.mark.parametrize(("gradient", "seen"), [(50.0, False), (200.0, True), (float("inf"), True)])
def test_gradients_that_grow_a_hundredfold_are_seen(
    told: tuple[Told, Monitor], gradient: float, seen: bool
) -> None:
    algorithm, watching = told
    for step in range(6):
        assert watching.look(step, {"loss": 1.0}) is None
    algorithm.learn(gradient)
    backs = [watching.look(step, {"loss": 1.0}) for step in (6, 7)]
    assert [back is not None for back in backs] == [False, seen]
    assert bool(watching.troubles) == seen


def test_a_student_that_goes_astray_is_seen_where_it_stays_so(told: tuple[Told, Monitor]) -> None:
    algorithm, watching = told
    backs: list[int | None] = []
    for step, distance in enumerate((0.2, 0.1, 0.25, 0.15, 0.25, 0.25)):
        algorithm.now = Vitals(distance=distance)
        backs.append(watching.look(step, {"loss": 1.0}))
    assert backs == [None] * 5 + [1]
    assert "2.5 times as far" in watching.troubles[0].what


def test_outputs_that_grow_alike_are_taken_back_to_where_they_were_not_yet(
    told: tuple[Told, Monitor],
) -> None:
    algorithm, watching = told
    backs: list[int | None] = []
    for step, there in enumerate((1.0, 1.1, 0.9, 1.0, 1.0, 1.0, 0.9, 0.45, 0.35, 0.2, 0.2)):
        algorithm.now = Vitals(spread=there)
        backs.append(watching.look(step, {"loss": 1.0}))
    assert backs == [None] * 10 + [5]  # the last but one of those at half the usual or more
    assert "become alike: 0.2 of the spread" in watching.troubles[0].what


def test_a_run_is_taken_back_five_times_and_then_left_alone(told: tuple[Told, Monitor]) -> None:
    algorithm, watching = told
    for step in range(1, 9):
        watching.look(step, {"loss": float("inf")})
    assert algorithm.mild == monitor.MOST == 5


def test_states_of_a_run_that_was_begun_anew_are_not_gone_back_to(tmp_path: Path) -> None:
    algorithm = Told()
    algorithm.learn()
    with torch.no_grad():
        algorithm.network.weight.fill_(-1)
    save_state(tmp_path / "well-00000040.safetensors", algorithm.parts(), 40)
    watching = Monitor(algorithm, tmp_path)
    watching.begin(0)
    for step, loss in ((20, 1.0), (60, 1.0), (80, float("nan"))):
        with torch.no_grad():
            algorithm.network.weight.fill_(step)
        back = watching.look(step, {"loss": loss})
    assert back == 20
    assert float(algorithm.network.weight.detach().max()) == 20


def test_a_run_that_no_state_was_kept_of_is_left_alone(tmp_path: Path) -> None:
    algorithm = Told()
    algorithm.learn()
    watching = Monitor(algorithm, tmp_path)
    watching.begin(20)
    assert watching.look(40, {"loss": float("nan")}) is None
    assert watching.troubles == []
    assert watching.look(60, {"loss": 1.0}) is None
    assert watching.look(80, {"loss": float("nan")}) == 60


def test_spread_is_that_of_nearest_neighbours() -> None:
    real = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0))
    assert spread(real, real) == 1
    assert spread(2 * real, real) == pytest.approx(2)
    few: Tensor = real[:5].repeat(10, 1, 1)
    assert spread(few, real) == pytest.approx(0, abs=1e-3)
    assert spread(real, torch.zeros(50, 3)) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_a_student_is_kept_near_its_teacher_against_a_discriminator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    torch.manual_seed(seed)
    teacher, discriminator = networks()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter *= 1.5
        student = copy_of(teacher)
        for parameter in student.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    settings = DistillationSettings(
        steps=300,
        batch=32,
        learning_rate=1e-2,
        discriminator_learning_rate=1e-2,
        output=0.2,
        features=0,
        perceptual=0,
        adversarial=20,
        augment=False,
    )

    def distance(name: str) -> tuple[float, list[Trouble]]:
        algorithm = Distillation(student, teacher, discriminator, CONTRACT, settings, launch("fp32"), seed)
        _, _, troubles = run_distillation(algorithm, tmp_path / name, lambda done, total: None)
        there = algorithm.vitals().distance
        assert there is not None
        return there, troubles

    alone, nothing = distance("alone")
    monkeypatch.setattr(loop, "STEPS", 50)
    watched, troubles = distance("watched")
    assert nothing == []
    assert watched < alone / 3, (watched, alone)
    assert "gone astray" in troubles[0].what
    assert troubles[-1].now == f"a weight of {20 / 4 ** len(troubles):.3g} of the adversarial loss"
