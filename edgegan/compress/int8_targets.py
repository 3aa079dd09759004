"""For which devices a run writes INT8: what is asked for, and what is said where nobody said."""

from __future__ import annotations

from collections.abc import Sequence

from edgegan.compress.lint.finding import Finding
from edgegan.compress.stage import Stage
from edgegan.errors import RecipeError
from edgegan.recipe import Recipe
from edgegan.target import seen_from

QUANTIZE = "quantize"


def for_targets(recipe: Recipe, targets: Sequence[str]) -> Recipe:
    """Return the recipe with `quantize` writing for these targets, whose files are in the current folder.

    Raises:
        RecipeError: it has no such stage.
    """
    if not any(spec.name == QUANTIZE for spec in recipe.stages):
        raise RecipeError(
            "targets are for the stage `quantize`, and the recipe has none",
            where=recipe.where("stages"),
            next="leave out --target, or add `- quantize: {}` to the stages",
        )
    named = {"targets": [seen_from(recipe.folder, name) for name in targets]}
    stages = tuple(
        spec.model_copy(update={"settings": {**spec.settings, **named}}) if spec.name == QUANTIZE else spec
        for spec in recipe.stages
    )
    return recipe.model_copy(update={"stages": stages})


def untold_targets(stages: Sequence[Stage]) -> list[Finding]:
    """Say for what INT8 is written where nobody said."""
    return [
        Finding(
            "warning",
            "",
            f"INT8 is written for {', '.join(stage.settings.targets)} alone",
            "the recipe's `quantize` names no targets",
            "name your device, as --target jetson-orin-nano; `edgegan targets` lists what there is",
        )
        for stage in stages
        if stage.name == QUANTIZE and "targets" not in stage.settings.model_fields_set
    ]
