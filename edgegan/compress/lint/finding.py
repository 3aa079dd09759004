"""What lint says of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["info", "warning", "error"]
SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One thing that will not prune, quantize or deploy well.

    `layer` names the layers that it is about, the first three spelled out, or is "" where it is about the
    whole model; `layers` holds the names of all where there are more.
    """

    level: Level
    layer: str
    what: str
    why: str
    next: str
    layers: tuple[str, ...] = ()


def together(layers: Sequence[str]) -> str:
    """Join layers' names, the first three spelled out."""
    names = [name or "the model itself" for name in layers[:SHOWN]]
    rest = len(layers) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")
