"""The recipes of pairs that ship: small, whole, and with a teacher that keeps their contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgegan.compress.load import load_module
from edgegan.learning.draws import draw, with_targets
from edgegan.learning.taps import outputs_of
from edgegan.recipe import Recipe
from edgegan.train.settings import train_settings

RECIPES = sorted(path.parent for path in (Path(__file__).parent.parent / "recipes").glob("*/held_out.npz"))
PAIRED = [folder for folder in RECIPES if "unpaired" not in (Recipe.read(folder).train or {})]


@pytest.mark.parametrize("folder", RECIPES, ids=lambda path: path.name)
def test_a_shipped_recipe_is_whole(folder: Path) -> None:
    recipe = Recipe.read(folder)
    recipe.require_files()
    train_settings(recipe.train or {})
    for contract in (recipe.contract, recipe.judged):
        contract.check_stored()
    teacher = load_module(recipe.model, folder).eval()
    with torch.no_grad():
        outputs = outputs_of(teacher(*draw(recipe.contract, 2, 0)))
    assert [tuple(each.shape[1:]) for each in outputs] == [spec.shape for spec in recipe.contract.outputs]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5e6
    assert (folder / "README.md").is_file()


@pytest.mark.parametrize("folder", PAIRED, ids=lambda path: path.name)
def test_what_is_held_out_has_targets_that_the_teacher_comes_near(folder: Path) -> None:
    recipe = Recipe.read(folder)
    *inputs, target = draw(with_targets(recipe.judged), 8, 0)
    teacher = load_module(recipe.model, folder).eval()
    with torch.no_grad():
        output = outputs_of(teacher(*inputs))[0]
    low, high = recipe.contract.outputs[0].range
    assert float((output - target).abs().mean()) < 0.06 * (high - low)
