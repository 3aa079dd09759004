"""Channels that layers tie together: those of a GroupNorm's group, and those of a grouped convolution's.

Such a layer stays exact where it loses whole groups: no other group's values are of these channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

Atom = tuple[str, int]
"""A side of a layer, as "outputs NAME", and a position there."""


def joined(entries: Sequence[dict[str, Any]], layers: Mapping[str, nn.Module]) -> list[dict[str, Any]]:
    """Return `entries` (root, units, blocked), those that share a tie as one, and their units with it.

    A tie that holds positions of no unit blocks those that it ties.
    """
    owners: dict[Atom, list[int]] = defaultdict(list)
    units: list[tuple[int, dict[str, list[int]]]] = []
    for index, entry in enumerate(entries):
        for unit in entry["units"]:
            for place, positions in unit.items():
                for position in positions:
                    owners[place, position].append(len(units))
            units.append((index, unit))
    same, kin = list(range(len(units))), list(range(len(entries)))
    blocked = {index: entry["blocked"] for index, entry in enumerate(entries)}
    for name, tie in _ties(layers):
        tied = [owners.get(atom, []) for atom in tie]
        held = [unit for found in tied for unit in found]
        if not all(tied):
            for unit in held:
                blocked[units[unit][0]] = blocked[units[unit][0]] or _partly(name, layers[name])
            continue
        for unit in held[1:]:
            _join(same, held[0], unit)
            _join(kin, units[held[0]][0], units[unit][0])
    merged: dict[int, dict[int, dict[str, list[int]]]] = defaultdict(lambda: defaultdict(dict))
    for index, (entry, unit) in enumerate(units):
        whole = merged[_root(kin, entry)][_root(same, index)]
        for place, positions in unit.items():
            whole.setdefault(place, []).extend(positions)
    return [
        {
            "root": entry["root"],
            "units": list(merged[index].values()),
            "blocked": next(
                (blocked[one] for one in blocked if blocked[one] and _root(kin, one) == index), None
            ),
        }
        if _root(kin, index) == index
        else {"root": entry["root"], "units": [], "blocked": blocked[index]}
        for index, entry in enumerate(entries)
        if _root(kin, index) == index or blocked[index]
    ]


def _ties(layers: Mapping[str, nn.Module]) -> Iterator[tuple[str, list[Atom]]]:
    """Yield the positions that have to go together, by the layer that ties them."""
    for name, layer in layers.items():
        if isinstance(layer, nn.GroupNorm):
            sides = {"outputs": layer.num_channels}
            count = layer.num_groups
        elif isinstance(layer, _ConvNd) and layer.groups > 1:
            sides = {"inputs": layer.in_channels, "outputs": layer.out_channels}
            count = layer.groups
            if layer.in_channels == layer.out_channels == count:
                continue
        else:
            continue
        for group in range(count):
            parts = {side: size // count for side, size in sides.items()}
            yield (
                name,
                [
                    (f"{side} {name}", group * part + place)
                    for side, part in parts.items()
                    for place in range(part)
                ],
            )


def _partly(name: str, layer: nn.Module) -> str:
    kind = type(layer).__name__
    return f"its channels share a group of {name!r}, a {kind}, with others that cannot be pruned"


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        index = parents[index]
    return index


def _join(parents: list[int], one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first
