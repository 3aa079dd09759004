"""What lint says of a model."""

from __future__ import annotations

from collections.abc import Sequence

from edgegan.run.records import Finding, Level

__all__ = ["Finding", "Level", "together"]

SHOWN = 3


def together(layers: Sequence[str]) -> str:
    """Join layers' names, the first three spelled out."""
    names = [name or "the model itself" for name in layers[:SHOWN]]
    rest = len(layers) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")
