"""Structured channel pruning."""

from edgegan.compress.prune.stage import Prune, PruneSettings

__all__ = ["Prune", "PruneSettings"]
