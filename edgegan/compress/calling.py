"""How a module's forward takes a row of inputs: by position, or by name where no position will do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from inspect import Parameter, Signature, signature
from types import MethodType
from typing import Any

from torch import nn


def keywords(
    forward: Callable[..., Any], names: Sequence[str], given: Collection[str] = ()
) -> list[str | None]:
    """Return for each input in a row the keyword that it is given by; None is by position.

    Inputs go by position, as far as `forward` needs them. Further ones that are named as a parameter of its
    are given by that name, and what is left of its parameters by name alone go to inputs of other names.

    Args:
        forward: the function, with its first parameter bound.
        names: of the inputs.
        given: the parameters that have values already, by name.
    """
    own = list(signature(forward).parameters.values())
    row = [
        one.name for one in own if one.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]
    free = next((place for place, name in enumerate(row) if name in given), len(row))
    needed = sum(one.name in row[:free] and one.default is Parameter.empty for one in own)
    alone = [one for one in own if one.kind is Parameter.KEYWORD_ONLY]
    unnamed = [
        one.name for one in alone if one.default is Parameter.empty and one.name not in (*names, *given)
    ]
    endless = any(one.kind is Parameter.VAR_POSITIONAL for one in own)
    by_name = {*row, *(one.name for one in alone)}
    found: list[str | None] = []
    for name in names:
        place = found.count(None)
        if place >= needed and name in by_name and name not in row[: place + 1]:
            found.append(name)
        elif place >= free and not endless and unnamed:
            found.append(unnamed.pop(0))
        else:
            found.append(None)
    return found


def split(values: Sequence[Any], by: Sequence[str | None]) -> tuple[list[Any], dict[str, Any]]:
    """Return a row's values as arguments by position and by name."""
    return (
        [value for value, name in zip(values, by) if name is None],
        {name: value for value, name in zip(values, by) if name is not None},
    )


def in_a_row(module: nn.Module, names: Sequence[str]) -> None:
    """Let `module`, in place, be called with the parameters `names` of its forward in a row."""
    written = type(module).forward
    by = keywords(MethodType(written, module), names)
    vars(module).pop("forward", None)
    if not any(by):
        return

    def forward(self: nn.Module, *given: Any) -> Any:
        args, kwargs = split(given, by)
        return type(self).forward(self, *args, **kwargs)

    own = signature(written).parameters
    row = [own.get(name, name) for name in names]
    forward.__signature__ = row_signature(row)  # pyright: ignore[reportFunctionMemberAccess]
    module.forward = MethodType(forward, module)


def row_signature(row: Sequence[str | Parameter]) -> Signature:
    """Return the signature of a method that takes these in a row, and needs all."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    named = [one if isinstance(one, Parameter) else Parameter(one, kind) for one in ("self", *row)]
    return Signature([one.replace(kind=kind, default=Parameter.empty) for one in named])
