"""Where the data of a recipe or a target came from: its YAML text and lines, for errors to point at."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from edgegan.errors import RecipeError
from edgegan.plain_yaml import NotPlainYaml, parse_yaml
from edgegan.reading import Unreadable, read_text

Location = tuple[str | int, ...]
SHOWN = 8
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls a key that is not one of a model's, or of a dataclass's."""
LARGEST = 256 << 10
"""Bytes of a YAML file."""
NEXT = "name a folder that holds a recipe.yaml, as in: edgegan compress recipes/cifar10"


@dataclass(frozen=True)
class RecipeSource:
    """A recipe's plain data, the folder of its files, and where they were read from.

    `what` is what errors call it: a recipe, or a target.
    """

    data: dict[str, Any]
    folder: Path
    file: Path | None = None
    root: yaml.Node | None = field(default=None, repr=False)
    what: str = "recipe"

    @classmethod
    def read(cls, file: Path, what: str = "recipe", next: str = NEXT) -> RecipeSource:
        """Read a YAML file.

        Raises:
            RecipeError: it is missing, when `next` says what to type; or it is not a YAML mapping.
        """
        try:
            text = read_text(file, LARGEST)
        except Unreadable as error:
            raise RecipeError(f"cannot read the {what}: {error}", where=str(file), next=next) from error
        try:
            root, data = parse_yaml(text)
        except NotPlainYaml as error:
            raise RecipeError(
                f"the {what} is not YAML as it is read here: {error}",
                where=f"{file}, line {error.line}" if error.line else str(file),
                next=f"correct the {what} there: plain keys and values, as in recipes/cifar10/recipe.yaml",
            ) from error
        if not isinstance(data, dict):
            raise RecipeError(f"the {what} must be a mapping of keys to values", where=str(file), next=next)
        return cls(data, file.parent, file, root, what)

    def line(self, location: Location) -> int | None:
        """Return the line, from 1, of the entry at `location`; None where there is no such entry."""
        node, line = self.root, None
        for step in location:
            if isinstance(node, yaml.MappingNode):
                entry = next(((k, v) for k, v in node.value if k.value == step), None)
                if entry is None:
                    return None
                line, node = entry[0].start_mark.line + 1, entry[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                return None
        return line

    def where(self, location: Location) -> str | None:
        """Return "file, line N" of the nearest entry at or above `location`."""
        if self.file is None:
            return None
        while location and self.line(location) is None:
            location = location[:-1]
        return f"{self.file}, line {self.line(location)}" if location else str(self.file)


def did_you_mean(name: object, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the choice nearest to `name`, or "" where none is near."""
    near = difflib.get_close_matches(str(name), [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


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
