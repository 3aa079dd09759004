from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from small_recipe import RECIPE, write_recipe

from edgegan.compress.int8_targets import for_targets, untold_targets
from edgegan.compress.quantize.settings import QuantizeSettings
from edgegan.compress.stages import build_stages, renamed_settings
from edgegan.errors import RecipeError
from edgegan.recipe import Recipe
from edgegan.target import FOLDER


def recipe(folder: Path, quantize: str) -> Recipe:
    """Return the small recipe with other settings of `quantize`, or without it."""
    before = next(line for line in RECIPE.splitlines() if "quantize" in line)
    return Recipe.read(write_recipe(folder, RECIPE.replace(before, quantize and f"  - quantize: {quantize}")))


def test_targets_of_the_command_take_the_place_of_the_recipes(tmp_path: Path) -> None:
    given = recipe(tmp_path, "{targets: [arm64-cpu], samples: 8}")
    changed = for_targets(given, ["jetson-orin-nano", "x64-cpu"])
    settings = build_stages(changed)[2].settings
    assert settings.targets == ("jetson-orin-nano", "x64-cpu")
    assert settings.samples == 8
    assert build_stages(given)[2].settings.targets == ("arm64-cpu",)
    with pytest.raises(RecipeError, match="the recipe has none"):
        for_targets(recipe(tmp_path, ""), ["x64-cpu"])


def board(folder: Path, name: str) -> None:
    """Write a target of one's own into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (FOLDER / "x64-cpu.yaml").read_text().replace("name: x64-cpu", f"name: {name}")
    (folder / "board.yaml").write_text(text)


def named(recipe: Recipe) -> list[str]:
    """Return the names of the targets that `quantize` reads."""
    return [target.name for target in build_stages(recipe)[2].settings.read_targets().values()]


@pytest.mark.parametrize("way", ["board.yaml", "./board.yaml", "../board.yaml"])
def test_a_target_lies_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    here, there = tmp_path / "here/now", tmp_path / "there/small"
    board(here / Path(way).parent, "of-the-command")
    board(there / Path(way).parent, "of-the-recipe")
    given = recipe(there, f"{{targets: [x64-cpu, {way}]}}")
    monkeypatch.chdir(here)
    assert named(given) == ["x64-cpu", "of-the-recipe"]
    assert named(for_targets(given, [way, "x64-cpu"])) == ["of-the-command", "x64-cpu"]
    assert [target.name for target in QuantizeSettings(targets=(way,)).read_targets().values()] == [
        "of-the-command"
    ]


def test_a_recipe_that_moved_has_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for folder in (tmp_path / "one/tree", tmp_path / "other/tree"):
        board(folder, "mine")
        given = recipe(folder / "small", "{targets: [../board.yaml]}")
        monkeypatch.chdir(folder)
        for each in (given, for_targets(given, ["./board.yaml"])):
            stage = build_stages(each)[2]
            found.append((stage.settings.model_dump(), list(stage.rests_on())))
    assert found[:2] == found[2:]


def test_a_target_that_nobody_named_is_told(tmp_path: Path) -> None:
    (finding,) = untold_targets(build_stages(recipe(tmp_path, "{}")))
    assert (finding.level, finding.what) == ("warning", "INT8 is written for x64-cpu alone")
    assert "--target" in finding.next
    assert not untold_targets(build_stages(recipe(tmp_path, "{targets: [x64-cpu]}")))


def test_a_setting_by_its_old_name_is_read_and_told(tmp_path: Path) -> None:
    old = recipe(tmp_path, "{targets: [x64-cpu], adaptive_rounding: false}")
    assert build_stages(old)[2].settings.gptq is False
    (finding,) = renamed_settings(old)
    assert finding.what == "the setting `adaptive_rounding` of `quantize` is now called `gptq`"
    assert "0.3" in finding.why
    assert not renamed_settings(recipe(tmp_path, "{gptq: false}"))
    with pytest.raises(RecipeError, match="old name of gptq"):
        build_stages(recipe(tmp_path, "{gptq: true, adaptive_rounding: false}"))
