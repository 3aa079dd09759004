"""What a rewrite says that it did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """One thing that a rewrite did."""

    rewrite: str
    layer: str
    """The layer's name in the module, as in its state dict."""
    detail: str
