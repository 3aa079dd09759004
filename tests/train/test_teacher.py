from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from teacher_setup import CONTRACT, SETTINGS, plain, training
from torch import nn

from edgegan import interrupts
from edgegan.errors import DataError, RecipeError, StageError
from edgegan.learning import checkpoint
from edgegan.learning.algorithms.gan import AdversarialTraining
from edgegan.models.resnet import Generator, ProjectionDiscriminator
from edgegan.runtime.contract import Contract, Input, Sample
from edgegan.train.samples import Samples
from edgegan.train.settings import TrainSettings
from edgegan.train.teacher import TeacherTraining


class StoppedError(Exception):
    pass


def stop_at(step: int):
    def progress(done: int, total: int) -> None:
        if done == step:
            raise StoppedError

    return progress


@pytest.mark.parametrize(
    ("number", "own"),
    [
        (None, {"loss": "hinge", "augment": "adaptive"}),
        (signal.SIGINT, {"loss": "wgan-gp"}),
        (signal.SIGTERM, {"loss": "relativistic", "penalty_every": 3}),
        (signal.SIGHUP, {"loss": "bce"}),
    ],
)
def test_a_run_broken_off_goes_on_to_the_same_weights_and_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None, own: dict[str, Any]
) -> None:
    settings = TrainSettings.of({**SETTINGS.model_dump(), **own})
    training(tmp_path / "whole", settings).run()
    if number is None:
        monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
        with pytest.raises(StoppedError):
            training(tmp_path / "broken", settings).run(stop_at(4))
    else:
        send = {3: lambda: os.kill(os.getpid(), number)}
        with interrupts.raised(), pytest.raises(KeyboardInterrupt):
            training(tmp_path / "broken", settings).run(lambda done, total: send.get(done, int)())
    seen: list[int] = []
    training(tmp_path / "broken", settings).run(lambda done, total: seen.append(done))
    assert seen == [4, 5, 6]
    for name in ("generator", "discriminator"):
        whole = load_file(tmp_path / "whole" / f"{name}.safetensors")
        broken = load_file(tmp_path / "broken" / f"{name}.safetensors")
        assert whole.keys() == broken.keys()
        assert all(torch.equal(whole[key], broken[key]) for key in whole)
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "broken")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [1, 2, 3, 4, 5, 6]
    assert sorted(p.name for p in (tmp_path / "whole" / "samples").iterdir()) == [
        "0000003.png",
        "0000006.png",
    ]


@pytest.mark.slow
def test_two_processes_give_the_teacher_of_one(tmp_path: Path) -> None:
    program, one, two = Path(__file__).with_name("teacher_setup.py"), tmp_path / "one", tmp_path / "two"
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command in ([program, one], [*run, program, two]):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *map(str, command)], env=environment, check=True, timeout=300)
    alone, together = (load_file(folder / "generator.safetensors") for folder in (one, two))
    start = training(tmp_path / "start").algorithm.generator.state_dict()
    learnt = [name for name in alone if "weight" in name]
    moved = sum(float((alone[name] - start[name]).abs().sum()) for name in learnt)
    apart = sum(float((alone[name] - together[name]).abs().sum()) for name in learnt)
    assert apart < 0.02 * moved
    logs = [(folder / "log.jsonl").read_text().splitlines() for folder in (one, two)]
    for row, other in zip(*logs, strict=True):
        assert json.loads(row) == pytest.approx(json.loads(other), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("installed", [True, False])
def test_tensorboard_is_used_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    training(tmp_path / "run").run()
    assert bool(list((tmp_path / "run").glob("tensorboard/*"))) == installed
    assert (tmp_path / "run" / "log.jsonl").is_file()


def test_a_state_of_the_version_before_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    with pytest.raises(StoppedError):
        training(tmp_path).run(stop_at(3))
    state = tmp_path / "state.safetensors"
    kept = {name: value for name, value in load_file(state).items() if not name.startswith("window/")}
    state.write_bytes(save(kept, metadata={"step": "3"}))
    seen: list[int] = []
    training(tmp_path).run(lambda done, total: seen.append(done))
    assert seen == [3, 4, 5, 6]


@pytest.mark.slow
def test_the_generator_learns_the_colour_of_its_data(tmp_path: Path) -> None:
    settings = TrainSettings(steps=200, batch=32, augment=False, ema=0.9, sample_every=200)
    run = training(tmp_path, settings, plain(255, 255))

    def redness() -> float:
        images = next(run.samples(64, seed=3)).astype(float)
        return float(images[..., 0].mean() - images[..., 2].mean())

    before = redness()
    run.run()
    assert abs(before) < 30
    assert redness() > 100


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    run = training(tmp_path)
    with torch.no_grad():
        next(run.algorithm.discriminator.parameters()).fill_(float("nan"))
    with pytest.raises(StageError, match=r"loss_discriminator loss became nan at step 0"):
        run.run()
    assert not (tmp_path / "state.safetensors").exists()


def test_a_contract_without_labels_has_a_discriminator_without(tmp_path: Path) -> None:
    def network(*sizes: int, shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(*sizes), nn.Unflatten(1, shape))

    contract = Contract(CONTRACT.inputs[:1], CONTRACT.outputs)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(192, 1), nn.Flatten(0))
    settings = TrainSettings(steps=2, batch=4, log_every=1)
    generator = network(8, 192, shape=(3, 8, 8))
    run = TeacherTraining(generator, critic, contract, plain(0, 255), settings, tmp_path)
    run.run()
    assert [row["step"] for row in run.log.rows] == [1, 2]


def test_images_that_do_not_fit_the_contract_are_refused(tmp_path: Path) -> None:
    data = plain(0, 255)
    wrong = Samples(data.values[:, :, :4], data.labels, data.classes)
    with pytest.raises(DataError, match=r"\(3, 4, 8\)"):
        TeacherTraining(torch.nn.Module(), torch.nn.Module(), CONTRACT, wrong, SETTINGS, tmp_path)
    three = Samples(data.values, data.labels, ("a", "b", "c"))
    with pytest.raises(DataError, match="3 classes"):
        TeacherTraining(torch.nn.Module(), torch.nn.Module(), CONTRACT, three, SETTINGS, tmp_path)


def test_stored_inputs_are_not_trained_from(tmp_path: Path) -> None:
    stored = Input("z", (8,), sample=Sample("stored", file="z.npz"))
    with pytest.raises(DataError, match="not from stored inputs"):
        TeacherTraining(
            Generator((16, 16), latent=8, classes=2),
            ProjectionDiscriminator(16, classes=2, blocks=2, downs=1),
            Contract((stored, CONTRACT.inputs[1]), CONTRACT.outputs),
            plain(0, 255),
            SETTINGS,
            tmp_path,
        )


@pytest.mark.parametrize(
    ("section", "named"), [({"stpes": 3}, "stpes"), ({"batch": 0}, "batch"), ({"ema": 1.0}, "ema")]
)
def test_bad_settings_are_refused_by_name(section: dict[str, float], named: str) -> None:
    with pytest.raises(RecipeError, match=f"train.{named}"):
        TrainSettings.of(section)


def test_smoothed_labels_are_the_cross_entropy_of_their_targets(tmp_path: Path) -> None:
    settings = TrainSettings(
        steps=1, batch=8, loss="bce", smoothing=0.2, augment=False, discriminator_steps=1
    )
    algorithm = training(tmp_path / "a", settings).algorithm
    batch = algorithm.batch(0)
    update = next(iter(algorithm.step(batch)))
    with torch.no_grad():
        fake = algorithm.generator(*batch["inputs 0"])
        real, labels = algorithm._real(*batch["real 0"])
        scores = algorithm.discriminator(
            torch.cat([real, fake]), torch.cat([labels[0], batch["inputs 0"][1]])
        )
    targets = torch.tensor([0.8] * 8 + [0.0] * 8)
    expected = 2 * torch.nn.functional.binary_cross_entropy_with_logits(scores, targets)
    torch.testing.assert_close(update.loss.detach(), expected, atol=2e-2, rtol=1e-2)
    with pytest.raises(ValueError, match="smoothing"):
        TrainSettings(loss="hinge", smoothing=0.1)


def test_lazy_penalties_weigh_as_much_as_there_are_steps_between(tmp_path: Path) -> None:
    every = {"loss": "relativistic", "penalty": 0.5, "discriminator_steps": 1, "batch": 8, "steps": 9}
    lazy, eager, none = (
        training(tmp_path / name, TrainSettings.model_validate({**every, **own})).algorithm
        for name, own in (("lazy", {"penalty_every": 4}), ("eager", {}), ("none", {"penalty": 0.0}))
    )

    def loss(algorithm: AdversarialTraining, step: int) -> float:
        algorithm.phase(step)
        return float(next(iter(algorithm.step(algorithm.batch(step)))).loss.detach())

    assert [lazy.phase(step) for step in range(9)] == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    plain = [loss(none, step) for step in (0, 1)]
    assert loss(lazy, 1) == pytest.approx(plain[1], abs=2e-3)  # spectral norms settle on the way
    assert loss(eager, 1) > plain[1] + 0.01
    assert loss(lazy, 0) - plain[0] == pytest.approx(4 * (loss(eager, 0) - plain[0]), rel=0.1)


def test_augmentation_begins_with_none_and_is_told_in_the_log(tmp_path: Path) -> None:
    settings = TrainSettings.of({**SETTINGS.model_dump(), "augment": "adaptive", "batch": 32})
    run = training(tmp_path, settings)
    run.run()
    shares = [row["augmented"] for row in run.log.rows]
    assert all(0 <= share < 1e-3 for share in shares)
    assert run.algorithm.parts()["augmentation"] is run.algorithm.adaptive
