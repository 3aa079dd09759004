from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pictures
from torch import nn

from edgegan.errors import DataError
from edgegan.learning.algorithms.unpaired import UnpairedTraining
from edgegan.models.cyclegan import Generator
from edgegan.models.unet import PatchDiscriminator
from edgegan.runtime.contract import Contract, Input, Output, Sample
from edgegan.train.run import train_teacher
from edgegan.train.settings import Kinds, UnpairedTrainSettings
from edgegan.train.unpaired import Cuts, UnpairedTeacherTraining

SHAPE = (3, 16, 16)
CONTRACT = Contract(
    (Input("photo", SHAPE, sample=Sample("stored", low=-1, high=1, file="inputs.npz")),),
    (Output("image", SHAPE),),
)


def settings(**changes: object) -> UnpairedTrainSettings:
    kinds = Kinds(inputs="dark", outputs="light")
    given = {"steps": 2, "batch": 2, "log_every": 1, "stored": 5, "sample_every": 2, "unpaired": kinds}
    return UnpairedTrainSettings.model_validate(given | changes)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 150)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(20):
            picture = np.full((24, 24, 3), low, np.uint8) + rng.integers(0, 100, (1, 1, 3), np.uint8)
            Pictures.fromarray(picture).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def players() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return Generator(3, 4, 1), PatchDiscriminator(3, 4, 2)


def test_pictures_that_nothing_learnt_from_are_left_for_the_recipe(data: Path, tmp_path: Path) -> None:
    run = UnpairedTeacherTraining(*players(), CONTRACT, data, settings(enlarge=1.5), tmp_path / "run")
    run.run()
    assert [set(row) for row in run.log.rows] == [
        {"step", "adversarial", "cycle", "identity", "discriminator"}
    ] * 2
    inputs, held_out = (np.load(tmp_path / "run" / f"{name}.npz")["photo"] for name in ("inputs", "held_out"))
    assert inputs.shape == (5, *SHAPE)
    assert held_out.shape == (2, *SHAPE)
    known = {tuple(picture[:, 0, 0]) for picture in run.inputs.pictures.numpy()}
    assert {tuple(picture[:, 0, 0]) for picture in inputs} <= known
    assert not {tuple(picture[:, 8, 8]) for picture in held_out} & known
    assert (tmp_path / "run" / "samples" / "0000002.png").is_file()
    assert (tmp_path / "run" / "discriminator.safetensors").is_file()


def test_dark_pictures_become_light_and_keep_their_content(data: Path, tmp_path: Path) -> None:
    chosen = settings(steps=60, batch=4, learning_rate=4e-3, ema=0.9, identity=0, log_every=30)
    run = UnpairedTeacherTraining(*players(), CONTRACT, data, chosen, tmp_path / "run")
    dark = torch.from_numpy(run.held_out).float() / 127.5 - 1
    run.run()
    with torch.no_grad():
        light = run.algorithm.ema.module(dark)
    assert float(dark.mean()) < -0.4
    assert float(light.mean()) > float(dark.mean()) + 0.5
    assert run.log.rows[-1]["cycle"] < run.log.rows[0]["cycle"]


def test_a_run_that_is_broken_off_goes_on_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole = UnpairedTeacherTraining(*players(), CONTRACT, data, settings(steps=3), tmp_path / "whole")
    whole.run()
    halved = UnpairedTeacherTraining(*players(), CONTRACT, data, settings(steps=3), tmp_path / "halved")

    def progress(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halved.run(progress)
    again = UnpairedTeacherTraining(*players(), CONTRACT, data, settings(steps=3), tmp_path / "halved")
    again.run()
    names = "generator.safetensors", "discriminator.safetensors"
    assert all(
        (tmp_path / "whole" / name).read_bytes() == (tmp_path / "halved" / name).read_bytes()
        for name in names
    )


def test_every_weight_of_both_generators_and_critics_learns(data: Path, tmp_path: Path) -> None:
    algorithm = UnpairedTeacherTraining(*players(), CONTRACT, data, settings(), tmp_path / "run").algorithm
    assert isinstance(algorithm, UnpairedTraining)
    for update in algorithm.step(algorithm.batch(0)):
        update.loss.backward()
        missing = [p for p in algorithm.players()[update.player].parameters if p.grad is None]
        assert not missing
        for player in algorithm.players().values():
            player.optimizer.zero_grad()


def test_cuts_lie_within_the_picture_and_are_mirrored() -> None:
    pictures = torch.arange(2 * 5 * 6, dtype=torch.uint8).view(2, 1, 5, 6)
    cuts = Cuts(pictures, (4, 3), mirror=True)
    drawn = [torch.tensor(each) for each in ([1, 0], [False, True], [1, 0], [3, 2])]
    made = cuts.make(drawn)
    assert torch.equal(made[0], pictures[1, :, 1:5, 3:6])
    assert torch.equal(made[1], pictures[0, :, :4, 2:5].flip(2))
    _, _, top, left = cuts.draw(np.random.default_rng(0), 500)
    assert (set(top), set(left)) == ({0, 1}, {0, 1, 2, 3})


@pytest.mark.parametrize(
    ("kinds", "what"),
    [({"inputs": "night", "outputs": "light"}, "'night'"), ({"inputs": "dark", "outputs": "x"}, "'x'")],
)
def test_kinds_that_are_not_there_are_named(
    kinds: dict[str, str], what: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=what) as caught:
        UnpairedTeacherTraining(*players(), CONTRACT, data, settings(unpaired=kinds), tmp_path / "run")
    assert "train.unpaired" in (caught.value.next or "")


def test_a_contract_of_two_shapes_is_refused(data: Path, tmp_path: Path) -> None:
    contract = Contract(CONTRACT.inputs, (Output("image", (3, 32, 32)),))
    with pytest.raises(DataError, match="one of the same shape"):
        UnpairedTeacherTraining(*players(), contract, data, settings(), tmp_path / "run")


RECIPE = """
schema: 1
name: to-light
model:
  callable: edgegan.models.cyclegan:Generator
  arguments: {width: 4, blocks: 1}
  checkpoint: teacher.safetensors
discriminator:
  callable: edgegan.models.unet:PatchDiscriminator
  arguments: {width: 4, levels: 2}
  checkpoint: discriminator.safetensors
contract:
  inputs: [{name: photo, shape: [3, 16, 16], sample: {kind: stored, file: inputs.npz, low: -1, high: 1}}]
  outputs: [{name: image, shape: [3, 16, 16], range: [-1, 1], layout: CHW}]
stages: [{prune: {}}]
train: {unpaired: {inputs: dark, outputs: light}, steps: 1, batch: 2}
"""


def test_a_recipe_says_that_its_data_are_not_pairs(data: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "recipe.yaml").write_text(RECIPE)
    trained = train_teacher(tmp_path / "recipe", data=data, out=tmp_path / "run")
    assert trained.generator.is_file()
    assert trained.discriminator is not None
    assert trained.discriminator.is_file()
    assert (trained.fid, trained.held_out) == (None, {})
