"""Placing labels beside points so that they cover nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

RADII = (7, 12, 18, 26, 36, 48, 62, 80, 100, 125, 155, 190, 230)
DIRECTIONS = 16


def overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    bounds: Box,
) -> list[Box]:
    """Find a box for each label: near its point, inside `bounds`, off the obstacles and the other labels.

    Greedy, in the order given: rings of growing radius around the point, the first free place wins.
    Where nothing is free, the place that covers least is taken.

    Args:
        points: where each label belongs (x, y).
        sizes: each label's width and height, in the same unit.
        obstacles: what must stay visible: markers, error bars.
        bounds: where labels may be.
    """
    placed: list[Box] = []
    for point, size in zip(points, sizes):
        candidates = [box for box in _around(point, size) if _inside(box, bounds)]
        if not candidates:
            candidates = [_moved_inside(next(iter(_around(point, size))), bounds)]
        taken = [*obstacles, *placed]
        placed.append(min(candidates, key=lambda box: sum(overlap(box, other) for other in taken)))
    return placed


def _around(point: tuple[float, float], size: tuple[float, float]) -> list[Box]:
    x, y = point
    width, height = size
    boxes = []
    for radius in RADII:
        for step in range(DIRECTIONS):
            angle = math.pi / 4 + 2 * math.pi * step / DIRECTIONS
            right, up = math.cos(angle), math.sin(angle)
            left = x + radius * right - width * (1 - right) / 2
            bottom = y + radius * up - height * (1 - up) / 2
            boxes.append((left, bottom, left + width, bottom + height))
    return boxes


def _inside(box: Box, bounds: Box) -> bool:
    return box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]


def _moved_inside(box: Box, bounds: Box) -> Box:
    width, height = box[2] - box[0], box[3] - box[1]
    left = max(bounds[0], min(box[0], bounds[2] - width))
    bottom = max(bounds[1], min(box[1], bounds[3] - height))
    return (left, bottom, left + width, bottom + height)
