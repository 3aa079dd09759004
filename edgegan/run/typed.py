"""Plain data read from a file as dataclasses: the fields' annotations say what is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from edgegan import forms
from edgegan.reading import Unreadable

T = TypeVar("T")
Count = Annotated[int, forms.count]
"""A whole number from 0 on, of a figure's size."""
_PLAIN: dict[Any, forms.Form] = {
    str: forms.text,
    int: forms.whole,
    float: forms.number,
    bool: forms.boolean,
    Any: forms.anything,
}


def from_plain(kind: type[T], value: Any, place: str = "") -> T:
    """Return the dataclass `kind` that `value`, plain data of a file, describes.

    Fields may be texts, numbers, truth values, tuples, mappings with names for keys, dataclasses, unions of
    these, literal texts, `Any`, or `Annotated` with a form of `edgegan.forms`. A field that is absent has
    its default; what is no field is left out.

    Raises:
        Unreadable: it is of another form; the text names the place in the file.
    """
    return _taken(kind, value, place)


def to_plain(value: Any) -> Any:
    """Return a dataclass as plain data, as `json` reads it back: objects, lists, texts and numbers."""
    if is_dataclass(value):
        return {each.name: to_plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in cast("Sequence[Any]", value)]
    return value


def check_schema(data: Any, newest: int, place: str = "") -> None:
    """Raise `Unreadable` where `data` is no object, or says that it is of a later schema than `newest`."""
    forms.record({}, {"schema": forms.count})(data, place)
    if data.get("schema", 1) > newest:
        raise Unreadable(
            f"it is of schema {data['schema']}, and this edgegan reads up to {newest}: update edgegan"
        )


def _taken(kind: Any, value: Any, place: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _made(kind, value, place)
    if origin is Annotated:
        taken = _taken(arguments[0], value, place)
        for form in arguments[1:]:
            form(value, place)
        return taken
    if origin in (Union, UnionType):
        return _one_of(arguments, value, place)
    if origin is Literal:
        if value not in arguments:
            raise Unreadable(f"{place} must be one of {', '.join(map(str, arguments))}, not {value!r:.40}")
        return value
    if origin is tuple:
        forms.list_of(forms.anything)(value, place)
        return tuple(_taken(arguments[0], item, f"{place}[{index}]") for index, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        forms.mapping_of(forms.anything)(value, place)
        return {key: _taken(arguments[1], item, forms.inside(place, key)) for key, item in value.items()}
    _PLAIN[kind](value, place)
    return value


def _one_of(kinds: Sequence[Any], value: Any, place: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    there = [kind for kind in kinds if kind is not NoneType]
    *others, last = [kind for kind in there if is_dataclass(kind) == isinstance(value, Mapping)] or there
    for kind in others:
        try:
            return _taken(kind, value, place)
        except Unreadable:
            continue
    return _taken(last, value, place)


def _made(kind: Any, value: Any, place: str) -> Any:
    hints, needed = _hints(kind)
    forms.record(dict.fromkeys(needed, forms.anything))(value, place)
    return kind(
        **{
            name: _taken(hint, value[name], forms.inside(place, name))
            for name, hint in hints.items()
            if name in value
        }
    )


@cache
def _hints(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the types of a dataclass's fields, and the names of those without a default."""
    hints = get_type_hints(kind, include_extras=True)
    named = [field for field in fields(kind) if field.init]
    needed = [field.name for field in named if field.default is MISSING and field.default_factory is MISSING]
    return {field.name: hints[field.name] for field in named}, needed
