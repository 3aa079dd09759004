"""Whether a level can be played: walked and jumped through from its left edge to its right one."""

from __future__ import annotations

from collections import deque

import numpy as np

SKY, GROUND, BRICK, HAZARD, COIN = range(5)
JUMP_UP, JUMP_ACROSS = 3, 4
"""Tiles that a jump reaches, upwards and sideways."""


def playable(outputs):
    """Return for each level (N, 16, 16) of tiles 1 where it can be played, else 0."""
    return np.array([float(is_playable(level)) for level in outputs])


playable.title = "Playable"
playable.modalities = ("class_map",)


def is_playable(level) -> bool:
    """Whether a way leads from a place to stand in the first column to one in the last.

    One stands in open tiles (sky, coins) on solid ones (ground, bricks). From there one walks to a neighbour,
    drops, or jumps up to three tiles up and four across, where all tiles of the rectangle at jump's height on
    the way are open.
    """
    solid = np.isin(level, (GROUND, BRICK))
    free = np.isin(level, (SKY, COIN))
    stands = np.zeros_like(solid)
    stands[:-1] = free[:-1] & solid[1:]
    width = level.shape[1]
    starts = [(row, 0) for row in np.flatnonzero(stands[:, 0])]
    seen, queue = set(starts), deque(starts)
    while queue:
        row, column = queue.popleft()
        if column == width - 1:
            return True
        for place in _reached(row, column, stands, free):
            if place not in seen:
                seen.add(place)
                queue.append(place)
    return False


def _reached(row, column, stands, free):
    width = stands.shape[1]
    for up in range(JUMP_UP + 1):
        top = row - up
        if top < 0 or not free[top, column]:
            break
        for side in (-1, 1):
            for across in range(1, JUMP_ACROSS + 1):
                there = column + side * across
                if not 0 <= there < width or not free[top, there]:
                    break
                landing = top
                while landing < len(stands) - 1 and free[landing, there] and not stands[landing, there]:
                    landing += 1
                if stands[landing, there]:
                    yield landing, there
