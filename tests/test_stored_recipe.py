"""A recipe whose input is drawn from stored pictures, from its text to a bundle that works on its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from quick_latency import shorten
from safetensors.torch import save_file

from edgegan import compress_generator
from edgegan.compress.export import export_onnx
from edgegan.compress.load import load_module
from edgegan.compress.recipe_quality import evaluation_of
from edgegan.errors import InputError, RecipeError
from edgegan.evaluate.evaluation import Evaluation, Model
from edgegan.measure.latency import measure_latency
from edgegan.recipe import Recipe
from edgegan.runtime import Bundle, Generator
from edgegan.runtime.artifact import Artifact

MODEL = """\
from torch import nn


class Generator(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(width, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, image):
        return self.shuffle(self.last(self.second(self.first(image)))).sigmoid()
"""

RECIPE = """\
schema: 1
name: larger
model: {callable: "model.py:Generator", checkpoint: teacher.safetensors}
contract:
  inputs: [{name: image, shape: [3, 12, 12], sample: {kind: stored, file: inputs.npz, low: 0, high: 1}}]
  outputs: [{name: larger, shape: [3, 24, 24], range: [0, 1]}]
stages:
  - quantize: {samples: 16}
  - export: {}
"""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


def pictures(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (20, 3, 12, 12), np.uint8)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "larger"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "model.py").write_text(MODEL)
    names: dict[str, object] = {}
    exec(MODEL, names)
    torch.manual_seed(0)
    save_file(names["Generator"]().state_dict(), folder / "teacher.safetensors")  # type: ignore[operator]
    np.savez_compressed(folder / "inputs.npz", image=pictures())
    return folder


def seconds(run: Path) -> list[float]:
    """How long each stage took when it last ran: it changes only where the stage ran again."""
    return [json.loads(file.read_text())["seconds"] for file in sorted(run.glob("stages/*/record.json"))]


def test_the_bundle_works_when_the_recipe_is_gone(recipe: Path, tmp_path: Path) -> None:
    run = compress_generator(recipe, out=tmp_path / "run")
    assert run.figures is not None
    assert run.figures.to_dict()["protocol"]["samples"] == 20
    assert all(not row["failed"] for row in run.figures.to_dict()["rows"])
    assert run.bundle is not None
    bundle = run.bundle.rename(tmp_path / "bundle")
    shutil.rmtree(recipe)
    shutil.rmtree(run.folder)

    manifest = Bundle.open(bundle).manifest
    assert "inputs.npz" in manifest.files
    with Generator.load(bundle, precision="fp32") as generator:
        images = generator(n=20, seed=4)
        drawn = generator.contract.sample(20, 4)["image"]
        np.testing.assert_array_equal(generator(image=drawn), images)
    known = {picture.tobytes() for picture in pictures()}
    assert {np.rint(255 * picture).astype(np.uint8).tobytes() for picture in drawn} == known


def test_a_run_goes_on_where_both_folders_were_moved_and_not_with_other_pictures(
    recipe: Path, tmp_path: Path
) -> None:
    compress_generator(recipe, out=tmp_path / "run", until="quantize")
    first = seconds(tmp_path / "run")
    moved, run = tmp_path / "elsewhere" / "larger", tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    recipe.rename(moved)
    (tmp_path / "run").rename(run)
    compress_generator(moved, out=run, until="quantize")
    assert seconds(run) == first
    np.savez_compressed(moved / "inputs.npz", image=pictures(1))
    compress_generator(moved, out=run, until="quantize")
    assert seconds(run) != first


def test_stages_can_be_judged_on_pictures_that_they_never_saw(recipe: Path, tmp_path: Path) -> None:
    own = evaluation(recipe, tmp_path)
    assert own.samples == 20
    assert (own.inputs_name or "").endswith("; the stages drew from them too")
    np.savez_compressed(recipe / "others.npz", image=pictures(1)[:7])
    with (recipe / "recipe.yaml").open("a") as file:
        file.write("quality: {inputs: others.npz}\n")
    other = evaluation(recipe, tmp_path)
    assert other.samples == 7
    assert (other.inputs_name or "").startswith("others.npz ")
    assert "drew" not in (other.inputs_name or "")
    scaled = np.sort((pictures(1)[:7] / 255).ravel())
    np.testing.assert_allclose(np.sort(other.contract.sample(7, 1)["image"].ravel()), scaled, rtol=1e-6)
    kept = Recipe.read(recipe).contract.sample(20, 1)["image"]
    np.testing.assert_array_equal(own.contract.sample(20, 1)["image"], kept)


def evaluation(recipe: Path, folder: Path) -> Evaluation:
    read = Recipe.read(recipe)
    module = load_module(read.model, recipe)
    export_onnx(module, read.contract, folder / "full.onnx")
    full = Model("full", "full model", None, Artifact("full", str(folder / "full.onnx")), params=1, macs=1)
    return evaluation_of(read, [full], folder / "run")


def test_latency_is_measured_on_stored_inputs(recipe: Path, tmp_path: Path) -> None:
    path, contract = tmp_path / "model.onnx", Recipe.read(recipe).contract
    export_onnx(load_module(Recipe.read(recipe).model, recipe), contract, path)
    measured = measure_latency({"a": path}, contract, baseline="a", batch=2, seconds=0.05, warmup_seconds=0)
    assert measured["a"].failed is None
    (recipe / "inputs.npz").unlink()
    gone = measure_latency({"a": path}, contract, baseline="a", seconds=0.05, warmup_seconds=0)
    assert "cannot be read" in (gone["a"].failed or "")


def test_a_missing_file_is_named_with_its_line(recipe: Path) -> None:
    (recipe / "inputs.npz").unlink()
    with pytest.raises(RecipeError, match=r"contract\.inputs\.0\.sample\.file: there is no file") as caught:
        compress_generator(recipe)
    assert (caught.value.where or "").endswith("line 5")


def test_pictures_to_be_judged_on_need_stored_inputs(recipe: Path) -> None:
    text = (
        RECIPE.replace("kind: stored, file: inputs.npz", "kind: uniform") + "quality: {inputs: others.npz}\n"
    )
    (recipe / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match="the contract has none") as caught:
        Recipe.read(recipe)
    assert (caught.value.where or "").endswith("line 10")


def test_a_reference_needs_features(recipe: Path) -> None:
    (recipe / "recipe.yaml").write_text(RECIPE + "quality: {reference: reference.npz}\n")
    with pytest.raises(RecipeError, match="needs features"):
        Recipe.read(recipe)


def test_pictures_that_do_not_fit_are_refused_before_any_work(recipe: Path, tmp_path: Path) -> None:
    np.savez_compressed(recipe / "inputs.npz", image=pictures()[:, :, :6])
    with pytest.raises(InputError, match=r"must have shape \(M, 3, 12, 12\), not \(20, 3, 6, 12\)"):
        compress_generator(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_resolved_recipe_names_the_file(recipe: Path, tmp_path: Path) -> None:
    read = Recipe.read(recipe)
    (recipe / "again.yaml").write_text(read.to_yaml())
    again = Recipe.read(recipe / "again.yaml").contract
    assert again == read.contract
    np.testing.assert_array_equal(again.sample(3, 0)["image"], read.contract.sample(3, 0)["image"])
