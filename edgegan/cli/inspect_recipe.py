"""`edgegan inspect RECIPE`: what a recipe names. Nothing of it is imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgegan.recipe import Recipe


def findings(path: Path) -> dict[str, Any]:
    """Return what the recipe at `path` names: what is called, the code that this may run, files and stages.

    Raises:
        RecipeError: it is not well formed.
    """
    recipe = Recipe.read(path)
    specs = [spec for spec in (recipe.model, recipe.discriminator) if spec]
    named = {spec.callable.rpartition(":")[0] for spec in specs}
    beside = {file.relative_to(recipe.folder).as_posix() for file in recipe.folder.rglob("*.py")}
    return {
        "name": recipe.name,
        "description": recipe.description,
        "calls": [{"callable": spec.callable, "arguments": spec.arguments} for spec in specs],
        "metrics": list(recipe.quality.own_metrics) if recipe.quality else [],
        "code": sorted(beside | {name for name in named if name.endswith(".py")}),
        "files": {str(file): file.stat().st_size if file.is_file() else None for _, file in recipe.files()},
        "contract": recipe.contract.to_dict(),
        "stages": [{"stage": stage.name, "settings": stage.settings} for stage in recipe.stages],
        "profiles": list(recipe.profiles),
    }


def shown(found: dict[str, Any]) -> Iterator[str]:
    """Yield the lines to print of `findings`."""
    yield f"{found['name']}, a recipe; nothing of it was imported"
    for call in found["calls"]:
        yield f"calls   {call['callable']} {call['arguments'] or ''}".rstrip()
    for metric in found["metrics"]:
        yield f"calls   {metric}"
    for file in found["code"]:
        yield f"code    {file}: may run when the recipe is used"
    for file, size in found["files"].items():
        yield f"file    {file}: {'absent' if size is None else f'{size:,} bytes'}"
    for stage in found["stages"]:
        yield f"stage   {stage['stage']}: {stage['settings'] or 'no settings'}"
    if found["profiles"]:
        yield f"profile {', '.join(found['profiles'])}"
