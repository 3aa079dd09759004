"""The stages that a recipe can name."""

from __future__ import annotations

import importlib

from edgegan.compress.stage import Stage
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
        module_name, class_name = STAGES[spec.name]
        module = importlib.import_module(module_name)
        settings = recipe.parse(("stages", index), getattr(module, f"{class_name}Settings"))
        stages.append(getattr(module, class_name)(settings))
    return stages
