"""The stages that a recipe can name: ours, and those of installed packages.

A package adds one by its class, with its settings beside it, in its pyproject.toml:

    [project.entry-points."edgegan.stages"]
    mine = "my_package.stage:Mine"
"""

from __future__ import annotations

import importlib
from typing import Any

from edgegan import plugins
from edgegan.compress.lint.finding import Finding
from edgegan.compress.stage import OLD_NAMES_UNTIL, Settings, Stage
from edgegan.errors import InputError, RecipeError
from edgegan.recipe import Recipe

GROUP = "edgegan.stages"
"""Of the entry points that add others."""
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
        try:
            kind, settings_kind = _kind(spec.name)
        except InputError as error:
            raise RecipeError(error.what, where=recipe.where("stages", index), next=error.next) from error
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
        if spec.name in plugins.names(GROUP, STAGES)
        for old, new in getattr(_kind(spec.name)[1], "RENAMED", {}).items()
        if old in spec.settings
    ]


def _kind(name: str) -> tuple[type[Any], type[Settings]]:
    """Return a stage's class and that of its settings.

    Raises:
        InputError: there is none of this name, or the package that has it cannot be imported.
    """
    found = plugins.find(GROUP, STAGES, name, "stage")
    module_name, class_name = found if isinstance(found, tuple) else (found.__module__, found.__name__)
    module = importlib.import_module(module_name)
    return getattr(module, class_name), getattr(module, f"{class_name}Settings")
