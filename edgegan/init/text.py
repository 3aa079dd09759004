"""The text of a recipe: what was found, and in comments what it rests on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

WIDTH = 100


def flow(value: Any) -> str:
    """Return plain data as YAML on one line."""
    text = yaml.safe_dump(
        _whole(value), default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("...").strip()


def comment(text: str, indent: int = 0) -> Iterator[str]:
    """Yield `text` as lines of comments."""
    start = " " * indent + "# "
    yield from textwrap.wrap(
        " ".join(text.split()), WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False
    )


def entries(title: str, listed: Sequence[tuple[Mapping[str, Any], Sequence[str]]]) -> Iterator[str]:
    """Yield a list of the contract, each entry under its notes."""
    yield f"  {title}:"
    for data, notes in listed:
        for note in notes:
            yield from comment(note, 4)
        yield f"    - {flow(dict(data))}"


def _whole(value: Any) -> Any:
    """Return plain data with whole numbers written as such."""
    if isinstance(value, Mapping):
        return {key: _whole(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
