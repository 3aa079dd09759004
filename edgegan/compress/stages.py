"""The stages that a recipe can name."""

from __future__ import annotations

import importlib
from typing import Any

from edgegan.compress.lint.finding import Finding
from edgegan.compress.stage import OLD_NAMES_UNTIL, Settings, Stage
from edgegan.errors import RecipeError
from edgegan.recipe import Recipe
from edgegan.recipe_source import did_you_mean

STAGES = {
    "prune": ("edgegan.compress.prune", "Prune"),
    "distill": ("edgegan.compress.distill", "Distill"),
    "quantize": ("edgegan.compress.quantize", "Quantize"),
    "export": ("edgegan.compress.export", "Export"),
}
"""Name to (module, class); the class's settings stand beside it, as `<class>Settings`."""


def build_stages(recipe: Recipe) -> list[Stage]:
    """Return the recipe's stages, with their settings checked.

    Raises:
        RecipeError: a stage is unknown, or one of its settings is.
    """
    stages: list[Stage] = []
    for index, spec in enumerate(recipe.stages):
        if spec.name not in STAGES:
            raise RecipeError(
                f"there is no stage {spec.name!r}{did_you_mean(spec.name, STAGES)}",
                where=recipe.where("stages", index),
                next=f"the stages are: {', '.join(STAGES)}",
            )
        kind, settings_kind = _kind(spec.name)
        stages.append(kind(recipe.parse(("stages", index), settings_kind)))
    return stages


def renamed_settings(recipe: Recipe) -> list[Finding]:
    """Say which settings of a recipe whose stages are known go by names that they had before."""
    return [
        Finding(
            "warning",
            "",
            f"the setting `{old}` of `{spec.name}` is now called `{new}`",
            f"its old name is read until version {OLD_NAMES_UNTIL}",
            f"write `{new}` in its place: {recipe.where('stages', index)}",
        )
        for index, spec in enumerate(recipe.stages)
        if spec.name in STAGES
        for old, new in getattr(_kind(spec.name)[1], "RENAMED", {}).items()
        if old in spec.settings
    ]


def _kind(name: str) -> tuple[type[Any], type[Settings]]:
    module_name, class_name = STAGES[name]
    module = importlib.import_module(module_name)
    return getattr(module, class_name), getattr(module, f"{class_name}Settings")
