"""The numbers that a network's layers, settings and constructor hold, by their names."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

COUNTING = {"num", "number", "dim", "size", "count", "channel", "width", "len", "length"}
"""Words of a number's name that do not say of what it is."""


def layers_with_weights(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that hold weights and no other modules, whether these are computed or not."""
    below = [child for name, child in module.named_children() if name != "parametrizations"]
    if not below and any(True for _ in module.parameters()):
        yield module
    for child in below:
        yield from layers_with_weights(child)


def settings(layer: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the values that a layer holds by name, and those of configurations that it holds."""
    for name, value in vars(layer).items():
        if isinstance(value, (argparse.Namespace, SimpleNamespace)) or dataclasses.is_dataclass(value):
            yield from vars(value).items()
        elif isinstance(value, Mapping) and not name.startswith("_"):
            yield from ((key, one) for key, one in value.items() if isinstance(key, str))
        else:
            yield name, value


def widths_of(layer: nn.Module) -> list[int]:
    """Return how many channels a layer takes; of one with a weight of its own form, what it may take."""
    if isinstance(layer, nn.Embedding):
        return []
    for name in ("in_features", "in_channels", "input_size"):
        if isinstance(getattr(layer, name, None), int):
            return [getattr(layer, name)]
    weight = getattr(layer, "weight", None)
    if isinstance(weight, Tensor) and weight.dim() > 1:
        return [size for size in (*weight.shape[:3][::-1],) if size > 1][:2]
    return []


def constructed(make: type[nn.Module]) -> list[tuple[str, int]]:
    """Return the numbers that a network is built with unless others are given, which may be kept nowhere."""
    return [
        (name.lower(), parameter.default)
        for name, parameter in inspect.signature(make.__init__).parameters.items()
        if type(parameter.default) is int and 0 < parameter.default <= 1 << 16
    ]


def words_of(name: str) -> set[str]:
    """Return the words of a name that say what it is of, in the singular."""
    return {word.removesuffix("s") for word in name.lower().split("_") if len(word) > 2} - COUNTING


def numbers_named(own: Iterable[tuple[str, int]], pattern: re.Pattern[str]) -> list[int]:
    """Return the numbers whose whole names fit a pattern."""
    return [value for name, value in own if pattern.fullmatch(name)]


def unique(values: Iterable[int]) -> list[int]:
    """Return the values without those that came before, in their order."""
    return list(dict.fromkeys(values))
