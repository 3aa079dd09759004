"""The recipes of pairs that ship: small, whole, and with a teacher that keeps their contract."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edgegan.compress.load import load_module
from edgegan.learning.draws import draw, with_targets
from edgegan.learning.taps import outputs_of
from edgegan.measure.metrics import find
from edgegan.measure.metrics.base import Given
from edgegan.measure.statistics import Interval
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
def test_the_teacher_comes_as_near_to_what_is_held_out_as_its_log_says(folder: Path) -> None:
    recipe = Recipe.read(folder)
    last = json.loads((folder / "teacher-log.jsonl").read_text().splitlines()[-1])
    judged = with_targets(recipe.judged)
    *inputs, target = draw(judged, judged.distinct() or 0, 0)
    with torch.no_grad():
        output = outputs_of(load_module(recipe.model, folder).eval()(*inputs))[0]
    (spec,) = recipe.contract.outputs
    ours, theirs = (spec.modality.encode(each.numpy(), spec) for each in (output, target))
    near = find("psnr_db").measure(Given(spec, ours, theirs))
    assert isinstance(near, Interval)
    assert near.value == pytest.approx(last["psnr_db"], abs=0.1)
