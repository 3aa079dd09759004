"""Let MNIST's digits move: `python recipes/moving-digits/animate.py mnist.npz clips.npz`.

Each of 15,000 clips is one digit that crosses a field of 32x32 in eight frames, straight and evenly, and
never leaves it. They are made of every fourth training image, from one seed.
"""

from __future__ import annotations

import sys

import numpy as np

FRAMES, SIZE, DIGIT, COUNT, SEED = 8, 32, 20, 15_000, 0
"""MNIST's digits fill 20x20 of their 28x28 pixels."""


def animate(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a clip (8, 1, 32, 32) of one digit (28, 28), uint8; between pixels its neighbours share it."""
    clip = np.zeros((FRAMES, 1, SIZE, SIZE), np.uint8)
    ends = rng.uniform(0, SIZE - DIGIT, (2, 2))
    for frame, share in enumerate(np.linspace(0, 1, FRAMES)):
        place = ends[0] + share * (ends[1] - ends[0])
        row, column = place.astype(int)
        down, across = place - (row, column)
        part = np.pad(digit[4:24, 4:24].astype(float), 1)
        part = down * part[:-1] + (1 - down) * part[1:]
        part = across * part[:, :-1] + (1 - across) * part[:, 1:]
        clip[frame, 0, row : row + DIGIT + 1, column : column + DIGIT + 1] = part.round()
    return clip


def main(source: str, path: str) -> None:
    """Write the clips."""
    rng = np.random.default_rng(SEED)
    digits = np.load(source)["train_images"][::4]
    clips = [animate(digits[rng.integers(len(digits))], rng) for _ in range(COUNT)]
    np.savez_compressed(path, train_samples=np.stack(clips))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
