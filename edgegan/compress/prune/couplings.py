"""Positions along the axes of tensors, and which of them can only be lost together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Labels = NDArray[np.int64]
"""For each position along an axis, what it is: equal labels are lost together."""
PLACES = "its channels meet an axis of samples or of pixels"
"""Why what has the label 0 stays."""


class Couplings:
    """Labels of which some are tied, and axes that are products of others."""

    def __init__(self) -> None:
        self._count = 1
        self._ties: list[tuple[Labels, Labels]] = []
        self._kept: list[tuple[Labels, str]] = [(stay(1), PLACES)]
        self._products: list[tuple[Labels, list[Labels]]] = []
        self._merged: set[int] = set()

    def new(self, size: int) -> Labels:
        """Return labels that nothing else has; an axis of one position cannot lose it."""
        if size == 1:
            return stay(1)
        self._count += size
        return np.arange(self._count - size, self._count)

    def tie(self, one: Labels, other: Labels) -> None:
        """Let positions of one axis be lost with those of the other; a single one is broadcast."""
        if one is not other and len(one) and len(other):
            left, right = np.broadcast_arrays(one, other)
            self._ties.append((left.ravel(), right.ravel()))

    def keep(self, labels: Labels, why: str) -> None:
        """Let none of these be lost; `why` is told of layers whose channels they are."""
        if labels.any():
            self._kept.append((labels[labels != 0], why))

    def regroup(self, axes: Sequence[Labels], sizes: Sequence[int]) -> list[Labels]:
        """Return the labels of axes that hold what `axes` hold, in row-major order, as after a reshape.

        Which of several axes is the one that loses positions is decided by `classes`.
        """
        result = [stay(size) for size in sizes]
        before = [factor for axis in axes for factor in self._factors(axis) if len(factor) != 1]
        behind = [index for index, size in enumerate(sizes) if size != 1]
        while before and behind:
            ins, outs = [before.pop(0)], [behind.pop(0)]
            while (left := prod(map(len, ins))) != (right := prod(sizes[i] for i in outs)):
                if left < right:
                    ins.append(before.pop(0))
                else:
                    outs.append(behind.pop(0))
            found = self._split(self._merge(ins), [sizes[i] for i in outs])
            for index, labels in zip(outs, found):
                result[index] = labels
        return result

    def _factors(self, axis: Labels) -> list[Labels]:
        """Return the axes that were merged into one, as long as they are known."""
        return next((axes for flat, axes in self._products if flat is axis), [axis])

    def _merge(self, axes: list[Labels]) -> Labels:
        if len(axes) == 1:
            return axes[0]
        if not any(axis.any() for axis in axes):
            return stay(prod(map(len, axes)))
        for flat, parts in self._products:
            if len(parts) == len(axes) and all(one is other for one, other in zip(parts, axes)):
                return flat
        flat = self.new(prod(map(len, axes)))
        self._merged.add(id(flat))
        self._products.append((flat, axes))
        return flat

    def _split(self, flat: Labels, sizes: list[int]) -> list[Labels]:
        if len(sizes) == 1:
            return [flat]
        if not flat.any():
            return [stay(size) for size in sizes]
        axes = [self.new(size) for size in sizes]
        self._products.append((flat, axes))
        return axes

    def classes(self, prefer: Callable[[Labels], int]) -> Classes:
        """Find out what is lost together.

        Of the axes of a product only one can lose positions. Where several could, it is the one that `prefer`
        gives the highest number.
        """
        ties, undecided = list(self._ties), self._read_products()
        while True:
            found = self._connected(ties)
            before, undecided = undecided, []
            for flat, axes in before:
                free = [index for index, axis in enumerate(axes) if found.lost(axis).any()]
                if not found.lost(flat).any():
                    ties += [(axis, np.broadcast_to(flat[:1], axis.shape)) for axis in axes]
                elif len(free) > 1:
                    undecided.append((flat, axes))
                else:
                    ties.append(_along(flat, axes, free[0] if free else int(np.argmax([*map(len, axes)]))))
            if len(undecided) == len(before):
                if not undecided:
                    return found
                flat, axes = undecided.pop(0)
                free = [index for index, axis in enumerate(axes) if found.lost(axis).any()]
                best = max(free, key=lambda index: prefer(axes[index]))
                ties.append(_along(flat, axes, best))
                ties += [(axis, stay(len(axis))) for index, axis in enumerate(axes) if index != best]

    def _read_products(self) -> list[tuple[Labels, list[Labels]]]:
        """Return the products that say something: not merged axes that were only passed through."""
        met = Counter(id(axis) for flat, axes in self._products for axis in (flat, *axes))
        tied = np.zeros(self._count, bool)
        for labels in (*(side for tie in self._ties for side in tie), *(labels for labels, _ in self._kept)):
            tied[labels] = True
        return [
            (flat, axes)
            for flat, axes in self._products
            if id(flat) not in self._merged or met[id(flat)] > 1 or tied[flat].any()
        ]

    def _connected(self, ties: list[tuple[Labels, Labels]]) -> Classes:
        one, other = (np.concatenate([tie[side] for tie in ties] or [stay(1)]) for side in (0, 1))
        edges = coo_array((np.ones(len(one), bool), (one, other)), shape=(self._count, self._count))
        _, found = connected_components(edges, directed=False)
        why: dict[int, str] = {}
        for labels, reason in self._kept:  # what came last is told, and any other reason before PLACES
            for one in np.unique(found[labels]).tolist():
                why[one] = why.get(one, reason) if reason == PLACES else reason
        return Classes(found.astype(np.int64), why)


@dataclass(frozen=True)
class Classes:
    """For each label the number of its class, and of those that stay, why."""

    numbers: Labels
    why: Mapping[int, str]

    def lost(self, labels: Labels) -> NDArray[np.bool_]:
        """Return which of `labels` can be lost."""
        return ~self._stays[self.numbers[labels]]

    @cached_property
    def _stays(self) -> NDArray[np.bool_]:
        stays = np.zeros(self.numbers.max() + 1, bool)
        stays[list(self.why)] = True
        return stays

    def units(self, labels: Labels) -> Iterator[tuple[int, int]]:
        """Yield the position of each label that can be lost, and the number of its class."""
        yield from (
            (place, one) for place, one in enumerate(self.numbers[labels].tolist()) if one not in self.why
        )

    def reason(self, labels: Labels) -> str:
        """Return why labels stay, of which none can be lost."""
        return self.why[int(self.numbers[labels][0])]


def stay(size: int) -> Labels:
    """Return the labels of an axis that loses nothing: all 0."""
    return np.zeros(size, np.int64)


def _along(flat: Labels, axes: list[Labels], axis: int) -> tuple[Labels, Labels]:
    """Return the tie by which `flat` loses slices along one axis of the product."""
    shape = [1] * len(axes)
    shape[axis] = -1
    spread = np.broadcast_to(axes[axis].reshape(shape), [len(labels) for labels in axes])
    return flat, spread.ravel()
