from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from small_recipe import RECIPE, write_recipe

from edgegan.compress.int8_targets import coarse_int8, for_targets, slow_int8, untold_targets
from edgegan.compress.stage import StageRecord
from edgegan.compress.stages import build_stages, renamed_settings
from edgegan.errors import RecipeError
from edgegan.recipe import Recipe
from edgegan.runtime.artifact import known


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


def test_int8_that_is_coarser_than_asked_for_is_told() -> None:
    proof = {"int8": {"psnr_db": 36.5, "float_layers": ["first"]}, "int8-arm64": {"psnr_db": 41.0}}
    budgets = {key: {"budget": {"psnr_db": 40.0, "met": key != "int8"}} for key in proof}
    (finding,) = coarse_int8([StageRecord("quantize", {}, budgets, proof)])
    assert finding.layer == "model.int8.onnx"
    assert finding.what == "36.5 dB on other inputs, where 40 are asked for"
    assert "first" in finding.why
    assert "quality: {psnr_db: 40}" in finding.next


def test_int8_that_is_slower_is_told() -> None:
    measured = {"fp32": {"value": 1.2}, "int8": {"value": 1.14}}
    (finding,) = slow_int8("fp32", measured, [known(name, "") for name in ("fp32", "int8", "int8-tensorrt")])
    assert finding.what == "fp32 is the bundle's default, not int8"
    assert "1.14x" in finding.why
    assert "1.20x" in finding.why
    assert not slow_int8("int8", measured, [known("fp32", ""), known("int8", "")])
    (finding,) = slow_int8("int8", {"fp32": measured["fp32"]}, [known("fp32", ""), known("int8", "")])
    assert "not shown to be faster" in finding.what
