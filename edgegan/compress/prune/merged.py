"""Groups that a network's code shrinks together, though no operator ties their channels.

One number may name the width of several. And code that computes a width of another, as `c // 4` or
`c // heads` of `x.shape[1]`, runs as long as both lose the same share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from math import gcd

from edgegan.compress.prune.graph import Group, Side, Slot

Place = tuple[str, Side, int]
"""A position on a side of a layer."""


def places(groups: Sequence[Group]) -> set[Place]:
    """Return all positions that the groups hold."""
    return {
        (slot.layer, slot.side, place)
        for group in groups
        for slot in group.slots
        for one in slot.positions
        for place in one
    }


def of_one_width(groups: Sequence[Group]) -> Iterator[Group]:
    """Yield the groups of each number of channels as one."""
    alike: dict[int, list[Group]] = defaultdict(list)
    for group in groups:
        if not places(alike[group.channels]) & places([group]):
            alike[group.channels].append(group)
    yield from (merge(members) for members in alike.values() if len(members) > 1)


def of_one_layer(groups: Sequence[Group]) -> Iterator[Group]:
    """Yield the groups that have parts of the same sides of layers as one, where they can shrink alike."""
    yield from _together(groups, lambda slot: (slot.layer, slot.side))


def of_neighbours(groups: Sequence[Group]) -> Iterator[Group]:
    """Yield the groups on both sides of layers as one, where they can shrink alike."""
    yield from _together(groups, lambda slot: slot.layer)


def merge(groups: Sequence[Group]) -> Group:
    """Return the groups as one, of whose channels each is an equal share of all of theirs."""
    channels = gcd(*(group.channels for group in groups))
    found: dict[tuple[str, Side], list[set[int]]] = {}
    for group in groups:
        share = group.channels // channels
        for slot in group.slots:
            units = found.setdefault((slot.layer, slot.side), [set() for _ in range(channels)])
            for channel, positions in enumerate(slot.positions):
                units[channel // share].update(positions)
    slots = (
        Slot(layer, side, tuple(tuple(sorted(unit)) for unit in units))
        for (layer, side), units in found.items()
    )
    return Group(groups[0].root, channels, tuple(slots))


def _together(groups: Sequence[Group], meets: Callable[[Slot], Hashable]) -> Iterator[Group]:
    sets: list[tuple[list[Group], set[Hashable], set[Place]]] = []
    for group in groups:
        met, held = {meets(slot) for slot in group.slots}, places([group])
        joined = [one for one in sets if one[1] & met]
        if any(one[2] & held for one in joined):
            continue
        sets = [one for one in sets if one not in joined]
        sets.append(
            (
                [*(member for one in joined for member in one[0]), group],
                met.union(*(one[1] for one in joined)),
                held.union(*(one[2] for one in joined)),
            )
        )
    for members, *_ in sets:
        if len(members) > 1 and gcd(*(group.channels for group in members)) > 1:
            yield merge(members)
