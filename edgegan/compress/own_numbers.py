"""Whole numbers by which a network's own code names widths: attributes, entries of settings, literals.

A student needs them as narrow as its tensors: `self.channels`, `self.config.width`, `self.shape[0]`, and the
16 of `x.view(-1, 16, 4, 4)`. Each has a key: "channels", "config.width", "shape.0", "code(16)".
"""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any, cast

from torch import nn

CHANGED = "_edgegan_numbers"
"""The attribute that holds the numbers of a layer that were set, other than attributes, by key."""
DEEPEST, LONGEST, LEAST = 3, 64, 2
"""Levels of settings and entries of a list that are looked at, and the least number that may be a width."""


def numbers(layer: nn.Module) -> dict[str, int]:
    """Return the numbers that a module of a network's own holds, by key."""
    found: dict[str, int] = {}
    for name, value in vars(layer).items():
        if name.startswith("_"):
            continue
        if type(value) is int and value >= 0:
            found[name] = value
        else:
            found |= {f"{name}.{path}": number for path, number in _inside(value, DEEPEST)}
    changed = changed_numbers(layer)
    return found | {f"code({one})": changed.get(f"code({one})", one) for one in _literals(_written(layer))}


def changed_numbers(layer: nn.Module) -> dict[str, int]:
    """Return the numbers that were set and are no attributes, by key."""
    return vars(layer).get(CHANGED, {})


def set_number(layer: nn.Module, key: str, value: int) -> None:
    """Set a number of `numbers(layer)`; other layers that share its settings or its code keep theirs."""
    if numbers(layer)[key] == value:
        return
    if key in vars(layer):
        setattr(layer, key, value)
        return
    setattr(layer, CHANGED, changed_numbers(layer) | {key: value})
    if key.startswith("code("):
        layer.__class__ = _with_literals(_written(layer), changed_numbers(layer))
    else:
        name, *path = key.split(".")
        setattr(layer, name, _with_entry(getattr(layer, name), path, value))


def _inside(value: Any, depth: int) -> Iterator[tuple[str, int]]:
    """Yield the numbers in settings by their paths."""
    for name, entry in _entries(value) if depth else ():
        if type(entry) is int and entry >= LEAST:
            yield name, entry
        else:
            yield from ((f"{name}.{path}", number) for path, number in _inside(entry, depth - 1))


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    if type(value) in (tuple, list):
        yield from ((str(place), entry) for place, entry in enumerate(value[:LONGEST]))
    elif isinstance(value, dict):
        yield from ((key, entry) for key, entry in value.items() if isinstance(key, str) and "." not in key)
    elif isinstance(value, (SimpleNamespace, Namespace)) or (
        is_dataclass(value) and not isinstance(value, type)
    ):
        yield from getattr(value, "__dict__", {}).items()


def _with_entry(value: Any, path: list[str], number: int) -> Any:
    """Return a copy of settings with one number in them set."""
    name, *rest = path
    old = dict(_entries(value))[name]
    new = _with_entry(old, rest, number) if rest else number
    if isinstance(value, (tuple, list)):
        place = int(name)
        return type(value)([*value[:place], new, *value[place + 1 :]])
    copied = copy.copy(value)
    if isinstance(copied, dict):
        copied[name] = new
    else:
        object.__setattr__(copied, name, new)
    return copied


def _written(layer: nn.Module) -> type[nn.Module]:
    """Return the class that a layer was made of, before literals were set."""
    return next(kind for kind in type(layer).__mro__ if CHANGED not in vars(kind))


@cache
def _literals(kind: type[nn.Module]) -> tuple[int, ...]:
    found = {one for function in _functions(kind).values() for one in _in_code(function.__code__)}
    return tuple(sorted(found))


def _functions(kind: type[nn.Module]) -> dict[str, FunctionType]:
    """Return what a class defines and may call as it runs, with what it inherits of a network's own."""
    own = [base for base in kind.__mro__ if not base.__module__.startswith("torch.")]
    return {
        name: function
        for base in reversed(own)
        for name, function in vars(base).items()
        if isinstance(function, FunctionType) and name != "__init__"
    }


def _in_code(constant: Any) -> Iterator[int]:
    if type(constant) is int and constant >= LEAST:
        yield constant
    elif isinstance(constant, (CodeType, tuple)):
        for one in constant.co_consts if isinstance(constant, CodeType) else constant:
            yield from _in_code(one)


def _with_literals(kind: type[nn.Module], changed: dict[str, int]) -> type[nn.Module]:
    """Return a class that is `kind` with other literals."""
    values = {one: changed.get(f"code({one})", one) for one in _literals(kind)}
    body: dict[str, Any] = {CHANGED: None, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    for name, function in _functions(kind).items():
        if any(values[one] != one for one in _in_code(function.__code__)):
            made = FunctionType(
                _replaced(function.__code__, values),
                function.__globals__,
                name,
                function.__defaults__,
                function.__closure__,
            )
            made.__kwdefaults__, made.__annotations__ = function.__kwdefaults__, function.__annotations__
            body[name] = made
    return cast(type[nn.Module], type(kind.__name__, (kind,), body))


def _replaced(constant: Any, values: dict[int, int]) -> Any:
    if type(constant) is int:
        return values.get(constant, constant)
    if isinstance(constant, CodeType):
        return constant.replace(co_consts=tuple(_replaced(one, values) for one in constant.co_consts))
    return tuple(_replaced(one, values) for one in constant) if isinstance(constant, tuple) else constant
