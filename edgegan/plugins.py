"""What is found by its name: edgegan's own, and what installed packages register as entry points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from edgegan.errors import InputError, MissingDependency, did_you_mean

T = TypeVar("T")


def names(group: str, own: Iterable[str]) -> list[str]:
    """Return all names of a group: `own`, then those of installed packages, none of which is imported."""
    return list(dict.fromkeys([*own, *(entry.name for entry in entry_points(group=group))]))


def find(group: str, own: Mapping[str, T], name: Any, what: str) -> T:
    """Return what is registered under `name`: of `own`, else of an installed package, which is then imported.

    Args:
        group: of the entry points, as "edgegan.metrics".
        own: edgegan's, which no package can replace.
        name: that is looked for.
        what: it is, for the message: "metric".

    Raises:
        InputError: there is none of this name, or the package that has it cannot be imported.
    """
    if isinstance(name, str) and name in own:
        return own[name]
    for entry in entry_points(group=group):
        if entry.name == name:
            try:
                return entry.load()
            except Exception as error:
                package = entry.dist.name if entry.dist else entry.value
                raise InputError(
                    f"the {what} {name!r} cannot be imported: {type(error).__name__}: {error}",
                    where=f"{entry.value} of the package {package}",
                    next=error.next if isinstance(error, MissingDependency) else "repair that package",
                ) from error
    known = names(group, own)
    raise InputError(
        f"there is no {what} {name!r:.60}{did_you_mean(name, known)}",
        next=f"the {what} is one of {', '.join(known)}, or comes with a package that registers "
        f"an entry point of {group}",
    )
