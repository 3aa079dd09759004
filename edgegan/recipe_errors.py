"""What is wrong with the data of a recipe or a target, in words: pydantic's errors, told as ours."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Collection
from typing import Any

from pydantic import BaseModel, ValidationError

from edgegan.errors import RecipeError, did_you_mean
from edgegan.recipe_source import Location, RecipeSource

SHOWN = 8
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls a key that is not one of a model's, or of a dataclass's."""


def explain(
    error: ValidationError,
    model: type[BaseModel],
    source: RecipeSource,
    place: Callable[[Location], Location],
    kinds: Collection[str] = (),
) -> RecipeError:
    """Turn pydantic's `error` about `model` into ours; `place` maps its locations to the recipe's.

    Unknown keys come first. With `kinds`, only what is of these is told.
    """
    problems: list[tuple[str, Location]] = []
    details = [one for one in error.errors(include_url=False) if not kinds or one["type"] in kinds]
    for detail in sorted(details, key=lambda one: one["type"] not in UNKNOWN_KEY):
        inner = tuple(step for step in detail["loc"] if not str(step).startswith("function-"))
        location = place(_entry_location(inner, source))
        problems.append((_sentence(detail["type"], detail["msg"], location, inner, model), location))
    more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    shown = problems[:SHOWN]
    next = f"correct the {source.what} there, then run the same command again"
    if len(problems) == 1:
        return RecipeError(shown[0][0], where=source.where(shown[0][1]), next=next)
    lines = [f"line {source.line(at)}: {text}" if source.line(at) else text for text, at in shown]
    return RecipeError(
        f"{len(problems)} problems in the {source.what}:\n  " + "\n  ".join([*lines, *more]),
        where=str(source.file) if source.file else None,
        next=next,
    )


def _entry_location(location: Location, source: RecipeSource) -> Location:
    """A stage is written {name: settings}: pydantic's stages.0.settings is the file's stages.0.<name>."""
    if len(location) > 2 and location[0] == "stages" and location[2] in ("name", "settings"):
        entry = source.data["stages"][location[1]]
        return (*location[:2], next(iter(entry)), *location[3:])
    return location


def _sentence(kind: str, message: str, location: Location, inner: Location, model: type[BaseModel]) -> str:
    parent, last = ".".join(map(str, location[:-1])), location[-1] if location else ""
    inside = f" in {parent}" if parent else ""
    if kind in UNKNOWN_KEY:
        choices = _keys(model, inner[:-1])
        near = did_you_mean(last, choices)
        return f"unknown key {last!r}{inside}{near or '; the keys are: ' + ', '.join(choices)}"
    if kind in ("missing", "missing_argument"):
        return f"the key {last!r} is missing{inside}"
    text = message.removeprefix("Value error, ").removeprefix("Input ")
    return f"{'.'.join(map(str, location))}: {text}"


def _keys(annotation: Any, location: Location) -> list[str]:
    """The keys that the mapping at `location` may have, where `annotation` is a model or a dataclass."""
    for step in location:
        annotation = _step(annotation, step)
    kind = _structure(annotation)
    if kind is None:
        return []
    if dataclasses.is_dataclass(kind):
        return [entry.name for entry in dataclasses.fields(kind)]
    return [entry.alias or name for name, entry in kind.model_fields.items()]


def _step(annotation: Any, step: str | int) -> Any:
    kind = _structure(annotation)
    if kind is None:
        return None
    if isinstance(step, int):
        return kind
    if typing.get_origin(annotation) is dict:
        return typing.get_args(annotation)[1]
    if dataclasses.is_dataclass(kind):
        return typing.get_type_hints(kind).get(step)
    fields = {entry.alias or name: entry for name, entry in kind.model_fields.items()}
    return fields[step].annotation if step in fields else None


def _structure(annotation: Any) -> Any:
    """The model or dataclass inside an Optional, a tuple, a list or an Annotated."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        is_model = issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
        return annotation if is_model else None
    return next(filter(None, map(_structure, typing.get_args(annotation))), None)
