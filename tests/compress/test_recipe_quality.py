"""What a recipe's models are measured with, and what its stages choose by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_latency import shorten

from edgegan.compress.recipe_quality import RecipeQuality, evaluation_of
from edgegan.compress.user_code import own_metric
from edgegan.errors import DataError, InputError, ModelError, RecipeError
from edgegan.evaluate.evaluation import Model
from edgegan.measure.features import OnnxExtractor, Reference
from edgegan.measure.metrics.fid import FID, Statistics
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
    with pytest.raises(InputError, match="needs features"):
        RecipeQuality(Recipe.of(RECIPE)).metric("fid")
    measure = RecipeQuality(recipe)
    model = Model("full", "full model", None, Artifact.of(generator_file("full")), 1, 1)
    (row,) = evaluation_of(recipe, [model], tmp_path / "run").run().to_dict()["rows"]
    chosen_by = measure(model.path, FID, 100)
    assert chosen_by == measure(Artifact.of(model.path, engine="tensorrt"), FID, 100)
    assert chosen_by != row["fid_100"]["value"]
    assert chosen_by == pytest.approx(row["fid_100"]["value"], rel=0.2)


def test_models_are_measured_as_the_recipe_says(
    recipe: Recipe, tmp_path: Path, generator_file: Callable[..., Path]
) -> None:
    model = Model("full", "full model", None, Artifact.of(generator_file("full")), 1, 1)
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


OWN = """
import numpy as np

def brightness(outputs, full):
    return np.abs(outputs.mean(axis=(1, 2, 3)) - full.mean(axis=(1, 2, 3)))

brightness.better = "lower"
brightness.title = "brightness off"
"""


def with_metrics(folder: Path, *names: str) -> Recipe:
    return Recipe.of({**RECIPE, "quality": {"metrics": list(names), "samples": 30}}, folder)


def test_a_recipe_names_its_metrics_and_functions_of_its_own(
    tmp_path: Path, generator_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    (tmp_path / "my_metrics.py").write_text(OWN)
    recipe = with_metrics(tmp_path, "my_metrics.py:brightness", "ssim")
    assert tmp_path / "my_metrics.py" in [path for _, path in recipe.files()]
    models = [
        Model(name, name, None, Artifact.of(generator_file(name, depth=depth)), 1, 1)
        for name, depth in (("full", 1), ("fp32", 2))
    ]
    figures = evaluation_of(recipe, models, tmp_path / "run").run().to_dict()
    assert list(figures["metrics"]) == ["brightness", "ssim"]
    told = figures["metrics"]["brightness"]
    assert (told["title"], told["better"], told["needs"]) == ("brightness off", "lower", "pair")
    full, other = figures["rows"]
    assert "brightness" not in full
    assert other["brightness"]["low"] < other["brightness"]["value"] < other["brightness"]["high"]
    assert "psnr_db" not in other
    spelled = RecipeQuality(recipe).metric("my_metrics.py:brightness")
    measured = RecipeQuality(recipe)(models[1].path, spelled, 30, full=models[0].path)
    assert measured == pytest.approx(other["brightness"]["value"], rel=0.5)


def test_a_changed_metric_is_measured_again(
    tmp_path: Path, generator_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    models = [
        Model(name, name, None, Artifact.of(generator_file(name, depth=depth)), 1, 1)
        for name, depth in (("full", 1), ("fp32", 2))
    ]
    found = []
    for text in (OWN, OWN.replace("np.abs(", "2 * np.abs(")):
        (tmp_path / "my_metrics.py").write_text(text)
        recipe = with_metrics(tmp_path, "my_metrics.py:brightness")
        rows = evaluation_of(recipe, models, tmp_path / "run").run().to_dict()["rows"]
        found.append(rows[1]["brightness"]["value"])
    assert found[1] == pytest.approx(2 * found[0])


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("psnr", "no metric 'psnr'; did you mean 'psnr_db'"),
        ("fid", "needs features of real samples"),
        ("mean_iou", "is for class_map, and not for image"),
        ("my_metrics.py:ssim", "has the name of a metric of edgegan's"),
    ],
)
def test_a_recipe_that_names_what_cannot_be_measured_is_refused(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        with_metrics(tmp_path, name)


@pytest.mark.parametrize("name", ["absent", "np", "math.sqrt"])
def test_only_functions_of_the_recipes_own_files_are_metrics(tmp_path: Path, name: str) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "my.py").write_text("import numpy as np\nfrom statistics import mean\n")
    (tmp_path / "elsewhere.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef iou(a, b): return 1\n")
    for spelled in (f"my.py:{name}", "my.py:mean", "../elsewhere.py:iou", "elsewhere.py:iou"):
        with pytest.raises((ModelError, InputError)):
            RecipeQuality(Recipe.of(RECIPE, tmp_path / "recipe")).metric(spelled)
        with pytest.raises(ModelError):
            own_metric(spelled, tmp_path / "recipe")
    assert not (tmp_path / "ran").exists()
