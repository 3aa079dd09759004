"""What a recipe's models are measured with, and what its stages choose by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_latency import shorten

from edgegan.compress.recipe_quality import evaluation_of, file_fid
from edgegan.errors import DataError
from edgegan.evaluate.evaluation import Model
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.fid import Statistics
from edgegan.recipe import Recipe
from edgegan.runtime.artifact import Artifact

RECIPE: dict[str, Any] = {
    "schema": 1,
    "name": "x",
    "model": {"callable": "torch.nn:Identity", "checkpoint": "x.pt"},
    "contract": {
        "inputs": [{"name": "z", "shape": [8]}],
        "outputs": [{"name": "image", "shape": [3, 16, 16]}],
    },
    "stages": [{"export": {}}],
}
QUALITY = {"features": "features.onnx", "reference": "reference.npz", "samples": 100}


@pytest.fixture
def recipe(tmp_path: Path, extractor_file: Callable[..., Path]) -> Recipe:
    """A recipe with an extractor of its own and a reference."""
    extractor = OnnxExtractor(extractor_file())
    features = np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32)
    Reference(Statistics.of(features), features, extractor.sha256, "random").save(tmp_path / "reference.npz")
    return Recipe.of({**RECIPE, "quality": QUALITY, "latency": {"seconds": 7}}, tmp_path)


def test_stages_choose_by_fid_on_latents_that_the_report_does_not_use(
    recipe: Recipe, tmp_path: Path, generator_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    recipe = Recipe.of({**RECIPE, "quality": QUALITY}, tmp_path)
    assert file_fid(Recipe.of(RECIPE)) is None
    measure = file_fid(recipe)
    assert measure is not None
    model = Model("full", "full model", None, generator_file("full"), "fp32", 1, 1)
    (row,) = evaluation_of(recipe, [model], tmp_path / "run").run()["rows"]
    chosen_by = measure(model.path, 100)
    assert chosen_by == measure(Artifact.of(model.path, engine="tensorrt"), 100)
    assert chosen_by != row["fid_100"]["value"]
    assert chosen_by == pytest.approx(row["fid_100"]["value"], rel=0.2)


def test_models_are_measured_as_the_recipe_says(
    recipe: Recipe, tmp_path: Path, generator_file: Callable[..., Path]
) -> None:
    model = Model("full", "full model", None, generator_file("full"), "fp32", 1, 1)
    asked = evaluation_of(recipe, [model], tmp_path / "run")
    assert (asked.samples, asked.seconds) == (100, 7.0)
    assert (asked.judge.reference_name or "").endswith("(200 images)")
    plain = evaluation_of(Recipe.of(RECIPE), [model], tmp_path / "run")
    assert (plain.samples, plain.seconds, plain.judge.extractor, plain.judge.reference) == (
        1000,
        3.0,
        None,
        None,
    )


def test_an_extractor_that_does_not_fit_the_reference_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "reference.npz"
    np.savez(file, **{**dict(np.load(file)), "extractor": np.str_("0" * 64)})
    with pytest.raises(DataError, match="another extractor"):
        evaluation_of(recipe, [], tmp_path)
