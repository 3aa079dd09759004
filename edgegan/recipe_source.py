"""Where the data of a recipe or a target came from: its YAML text and lines, for errors to point at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edgegan.errors import RecipeError
from edgegan.plain_yaml import NotPlainYaml, parse_yaml
from edgegan.reading import Unreadable, read_text

Location = tuple[str | int, ...]
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
