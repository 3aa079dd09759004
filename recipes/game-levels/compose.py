"""Compose levels of a platform game by rule: `python recipes/game-levels/compose.py levels.npz`.

Ground of changing height with gaps and hazards, bricks above it, coins on the way. Each of them can be played
by `playable.py`'s rules, and 20,000 are written, from one seed.
"""

from __future__ import annotations

import sys

import numpy as np
from playable import BRICK, COIN, GROUND, HAZARD, is_playable

SIZE, COUNT, SEED = 16, 20_000, 0


def compose(rng: np.random.Generator) -> np.ndarray:
    """Return one level (16, 16) of tiles."""
    level = np.zeros((SIZE, SIZE), np.uint8)
    height, column = int(rng.integers(2, 5)), 0
    while column < SIZE:
        run = int(rng.integers(2, 6))
        kind = rng.choice(["plain", "gap", "hazard"], p=[0.55, 0.25, 0.2]) if column > 1 else "plain"
        if kind == "gap" and column < SIZE - 3:
            column += int(rng.integers(1, 4))
            continue
        for place in range(column, min(SIZE, column + run)):
            level[SIZE - height :, place] = GROUND
        if kind == "hazard" and column + 1 < SIZE - 1:
            level[SIZE - height - 1, column + 1] = HAZARD
        if rng.random() < 0.4:
            start, length, up = column, int(rng.integers(2, 5)), int(rng.integers(3, 5))
            level[SIZE - height - up, start : min(SIZE, start + length)] = BRICK
            if rng.random() < 0.5:
                level[SIZE - height - up - 1, start : min(SIZE, start + length)] = COIN
        column += run
        height = int(np.clip(height + rng.integers(-2, 3), 1, 6))
    return level


def main(path: str) -> None:
    """Write the levels."""
    rng = np.random.default_rng(SEED)
    levels: list[np.ndarray] = []
    while len(levels) < COUNT:
        level = compose(rng)
        if is_playable(level):
            levels.append(level)
    np.savez_compressed(path, train_samples=np.stack(levels))


if __name__ == "__main__":
    main(sys.argv[1])
