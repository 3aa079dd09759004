"""Profiles of a recipe: named overrides of its stages, and of how it is measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from edgegan.errors import RecipeError, did_you_mean
from edgegan.recipe_source import Location, RecipeSource

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Of a recipe and of a profile: they name folders."""
MEASURED = ("quality", "latency")
"""What profiles override beside stages."""


def placer(source: RecipeSource, profile: str | None, base: Location) -> Callable[[Location], Location]:
    """Map a location under `base` to the profile's override of it, where there is one."""

    def place(location: Location) -> Location:
        full = (*base, *location)
        inside = full[2:] if full[:1] == ("stages",) else full
        override = ("profiles", profile or "", *inside)
        return override if len(inside) > 1 and source.line(override) else full

    return place


def chosen(source: RecipeSource, profiles: Any, profile: str | None) -> str | None:
    """Return the name of the profile to apply: the first where none is named, None where there is none.

    Raises:
        RecipeError: the profiles are not well formed, or there is none of this name.
    """
    if not isinstance(profiles, Mapping) or not all(
        isinstance(p, (Mapping, type(None))) for p in profiles.values()
    ):
        raise RecipeError(
            "profiles must map names to overrides of stages",
            where=source.where(("profiles",)),
            next="write them as in `profiles: {quick: {distill: {steps: 300}}}`",
        )
    for name in profiles:
        if not re.fullmatch(NAME, str(name)):
            raise RecipeError(
                f"a profile is named with up to 100 letters, digits and ._-, not {str(name)!r:.50}",
                where=source.where(("profiles",)),
                next="rename it",
            )
    if profile is None:
        return next(iter(profiles), None)
    if profile not in profiles:
        raise RecipeError(
            f"there is no profile {profile!r}{did_you_mean(profile, profiles)}",
            where=source.where(("profiles",)),
            next=f"choose one of: {', '.join(profiles)}" if profiles else "leave out --profile",
        )
    return profile


def overridden(
    source: RecipeSource, data: dict[str, Any], profile: str, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a recipe's data with a profile's overrides merged in.

    Raises:
        RecipeError: an override is of no stage of the recipe, and neither of quality nor of latency.
    """
    stages = data.get("stages")
    stages = [dict(s) if isinstance(s, Mapping) else s for s in stages] if isinstance(stages, list) else []
    names = [name for stage in stages if isinstance(stage, dict) for name in stage]
    merged = dict(data)
    for target, override in overrides.items():
        if target not in (*MEASURED, *names):
            raise RecipeError(
                f"profile {profile!r} overrides {target!r}, which is not a stage of this recipe"
                + did_you_mean(target, [*names, *MEASURED]),
                where=source.where(("profiles", profile, target)),
                next=f"override one of: {', '.join(['quality', *names])}",
            )
        if target in MEASURED:
            merged[target] = _merge(data.get(target) or {}, override)
        for stage in stages:
            if isinstance(stage, dict) and target in stage:
                stage[target] = _merge(stage[target] or {}, override)
    return {**merged, "stages": stages} if isinstance(data.get("stages"), list) else merged


def _merge(base: Any, override: Any) -> Any:
    if not (isinstance(base, Mapping) and isinstance(override, Mapping)):
        return override
    return {**base, **{key: _merge(base.get(key), value) for key, value in override.items()}}
