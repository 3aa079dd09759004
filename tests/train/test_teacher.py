from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgegan import interrupts
from edgegan.errors import DataError, RecipeError, StageError
from edgegan.models.resnet import Generator, ProjectionDiscriminator
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.train import teacher
from edgegan.train.data import LabelledImages
from edgegan.train.settings import TrainSettings
from edgegan.train.teacher import TeacherTraining

CONTRACT = Contract(
    (Input("z", (8,)), Input("label", (), "int64", Sample("labels", classes=2))),
    (Output("image", (3, 8, 8)),),
)
SETTINGS = TrainSettings(steps=6, batch=8, log_every=1, sample_every=3)


def plain(*reds: int) -> LabelledImages:
    """64 images of 8x8, as red as their class's number and else black."""
    labels = np.arange(64) % len(reds)
    images = np.zeros((64, 8, 8, 3), np.uint8)
    images[..., 0] = np.array(reds, np.uint8)[labels][:, None, None]
    return LabelledImages(images, labels, tuple(f"class {index}" for index in range(len(reds))))


def training(
    folder: Path, settings: TrainSettings = SETTINGS, data: LabelledImages | None = None
) -> TeacherTraining:
    torch.manual_seed(0)
    return TeacherTraining(
        Generator((16, 16), latent=8, classes=2),
        ProjectionDiscriminator(16, classes=2, blocks=2, downs=1),
        CONTRACT,
        data or plain(0, 255),
        settings,
        folder,
    )


class StoppedError(Exception):
    pass


def stop_at(step: int):
    def progress(done: int, total: int) -> None:
        if done == step:
            raise StoppedError

    return progress


@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_broken_off_goes_on_to_the_same_weights_and_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    training(tmp_path / "whole").run()
    if number is None:
        monkeypatch.setattr(teacher, "CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(StoppedError):
            training(tmp_path / "broken").run(stop_at(4))
    else:
        send = {3: lambda: os.kill(os.getpid(), number)}
        with interrupts.raised(), pytest.raises(KeyboardInterrupt):
            training(tmp_path / "broken").run(lambda done, total: send.get(done, int)())
    resumed = training(tmp_path / "broken")
    assert resumed.step == 4
    resumed.run()
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


@pytest.mark.parametrize("installed", [True, False])
def test_tensorboard_is_used_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    training(tmp_path / "run").run()
    assert bool(list((tmp_path / "run").glob("tensorboard/*"))) == installed
    assert (tmp_path / "run" / "log.jsonl").is_file()


@pytest.mark.slow
def test_the_generator_learns_the_colour_of_its_data(tmp_path: Path) -> None:
    settings = TrainSettings(steps=200, batch=32, augment=False, ema=0.9, sample_every=200)
    run = training(tmp_path, settings, plain(255, 255))

    def redness() -> float:
        images = next(run.images(64, seed=3)).astype(float)
        return float(images[..., 0].mean() - images[..., 2].mean())

    before = redness()
    run.run()
    assert abs(before) < 30
    assert redness() > 100


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    run = training(tmp_path)
    with torch.no_grad():
        next(run.discriminator.parameters()).fill_(float("nan"))
    with pytest.raises(StageError, match=r"diverged at step 1"):
        run.run()


def test_images_that_do_not_fit_the_contract_are_refused(tmp_path: Path) -> None:
    data = plain(0, 255)
    wrong = LabelledImages(data.images[:, :4], data.labels, data.classes)
    with pytest.raises(DataError, match=r"\(4, 8, 3\)"):
        TeacherTraining(torch.nn.Module(), torch.nn.Module(), CONTRACT, wrong, SETTINGS, tmp_path)
    three = LabelledImages(data.images, data.labels, ("a", "b", "c"))
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
