"""Every recipe of the repository: whole, small, and what it says it is."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from edgegan.compress.load import load_module
from edgegan.learning.draws import draw
from edgegan.learning.taps import outputs_of
from edgegan.recipe import Recipe
from edgegan.train.settings import train_settings

RECIPES = sorted(path.parent for path in (Path(__file__).parents[1] / "recipes").glob("*/recipe.yaml"))


@pytest.mark.parametrize("folder", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_whole_and_its_networks_fit_its_contract(folder: Path) -> None:
    for profile in (None, "full"):
        recipe = Recipe.read(folder, profile)
        recipe.require_files()
    assert recipe.name == folder.name
    assert recipe.train is not None
    train_settings(recipe.train)
    assert (folder / "README.md").is_file()
    if recipe.name != "cifar10":
        assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 5e6
    inputs = draw(recipe.contract, 2, 0)
    with torch.no_grad():
        outputs = outputs_of(load_module(recipe.model, folder)(*inputs))
        labels = [value for spec, value in zip(recipe.contract.inputs, inputs) if spec.dtype == "int64"]
        if recipe.discriminator:
            scores = load_module(recipe.discriminator, folder)(outputs[0], *labels)
            assert len(scores) == 2
            assert scores.isfinite().all()
    for output, spec in zip(outputs, recipe.contract.outputs):
        low, high = (float(bound) for bound in output.aminmax())
        assert output.shape == (2, *spec.shape)
        overshoot = 0.1 * (spec.range[1] - spec.range[0])  # of networks that end without an activation
        assert spec.range[0] - overshoot <= low < high <= spec.range[1] + overshoot


@pytest.fixture
def of_levels(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "recipes" / "game-levels")
    for name in ("playable", "compose"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module("compose")


def level(*rows: str) -> np.ndarray:
    """Sky is ".", ground "#", brick "B", a hazard "^" and a coin "o"."""
    return np.array([[".#B^o".index(tile) for tile in row] for row in rows])


SKY = "." * 8


@pytest.mark.parametrize(
    ("rows", "can"),
    [
        ((SKY, SKY, SKY, "########"), True),
        ((SKY, SKY, SKY, "##...###"), True),
        ((SKY, SKY, SKY, "##....##"), False),
        ((SKY, "....####", "....####", "########"), True),
        ((SKY, "...^....", "...^....", "########"), True),
        (("...^....", "...^....", "...^....", "########"), False),
        (("....####", "....####", "....####", "########"), False),
        ((SKY, SKY, SKY, SKY), False),
        (("oooooooo", "oooooooo", "oooooooo", "###^^###"), True),
        (("########", SKY, SKY, "..######"), False),
    ],
)
def test_a_level_is_playable_by_the_rules_alone(
    rows: tuple[str, ...], can: bool, of_levels: ModuleType
) -> None:
    assert of_levels.is_playable(level(*rows)) is can


def test_composed_levels_are_of_known_tiles_and_differ(of_levels: ModuleType) -> None:
    rng = np.random.default_rng(0)
    levels = np.stack([of_levels.compose(rng) for _ in range(60)])
    assert levels.shape == (60, 16, 16)
    assert set(np.unique(levels)) == {0, 1, 2, 3, 4}
    assert len(np.unique(levels, axis=0)) == 60
    assert np.mean([of_levels.is_playable(each) for each in levels]) > 0.5
