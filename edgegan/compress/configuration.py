"""Configurations that constructors take: mappings of a recipe, in the form that the code reads them in."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any


class Configuration(dict[str, Any]):
    """A mapping whose entries are attributes too, as those of argparse, OmegaConf and the like are."""

    def __getattr__(self, name: str) -> Any:
        """Return the entry `name`."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the configuration has no {name!r}") from None


def configured(make: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return `arguments` as `make` takes them: each mapping as the dataclass that its parameter is, or one
    that is read by keys and by attributes alike, in all its depth.
    """
    declared = declared_types(make)
    return {name: _as(declared.get(name), value) for name, value in arguments.items()}


def declared_types(make: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters of `make` to what they are annotated with, of strings what these name."""
    called = make.__init__ if inspect.isclass(make) else make
    try:
        return typing.get_type_hints(called)
    except Exception:
        return dict(getattr(called, "__annotations__", {}))


def dataclass_of(annotation: Any) -> type | None:
    """Return the dataclass that an annotation is, or may be; None where it is none."""
    choices = (annotation, *typing.get_args(annotation))
    return next((one for one in choices if isinstance(one, type) and is_dataclass(one)), None)


def _as(annotation: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_as(None, part) for part in value]
    if not isinstance(value, Mapping):
        return value
    kind = dataclass_of(annotation)
    if kind is None:
        return Configuration({str(name): _as(None, part) for name, part in value.items()})
    types = declared_types(kind)
    return kind(**{str(name): _as(types.get(str(name)), part) for name, part in value.items()})


def names_of(kind: type) -> set[str]:
    """Return the fields that a dataclass is made of."""
    return {one.name for one in fields(kind) if one.init}
