"""Compose two bars of music by rule: `python recipes/music-piano-roll/compose.py bars.npz`.

A roll is (32 pitches, 32 sixteenths) of rest, bass, chord or melody: one of three major keys, a chord for
each bar, its root in the bass, its triad above, and a melody whose notes on the beat are of the chord. 20,000
are written, from one seed; all keep `harmony.py`'s rules.
"""

from __future__ import annotations

import sys

import numpy as np
from harmony import BASS, CHORD, LOWEST, MELODY, PITCHES, STEPS

COUNT, SEED, BAR = 20_000, 0, 16
MAJOR = (0, 2, 4, 5, 7, 9, 11)
KEYS = (0, 5, 7)
PROGRESSIONS = ((0, 3), (0, 4), (3, 4), (5, 3), (4, 0), (0, 5), (1, 4))
"""Degrees of the two bars' chords, from 0."""


def compose(rng: np.random.Generator) -> np.ndarray:
    """Return one roll (32, 32)."""
    roll = np.zeros((PITCHES, STEPS), np.uint8)
    key = rng.choice(KEYS)
    scale = [(key + step) % 12 for step in MAJOR]
    rhythm, last = int(rng.integers(3)), int(rng.integers(20, 32))
    for bar, degree in enumerate(PROGRESSIONS[rng.integers(len(PROGRESSIONS))]):
        triad = [scale[(degree + third) % 7] for third in (0, 2, 4)]
        start = bar * BAR
        for pitch in range(24):
            name = (LOWEST + pitch) % 12
            if pitch < 12 and name == triad[0]:
                for beat in range(0, BAR, 4):
                    roll[pitch, start + beat : start + beat + (4, 2, 3)[rhythm]] = BASS
            if pitch >= 12 and name in triad:
                roll[pitch, start : start + BAR] = CHORD
        step = 0
        while step < BAR:
            length = int(rng.choice([2, 2, 4]))
            allowed = triad if step % 4 == 0 or length == 4 else scale
            near = [p for p in range(20, PITCHES) if (LOWEST + p) % 12 in allowed and 0 < abs(p - last) < 6]
            last = int(rng.choice(near))
            roll[last, start + step : start + min(BAR, step + length)] = MELODY
            step += length
    return roll


def main(path: str) -> None:
    """Write the rolls."""
    rng = np.random.default_rng(SEED)
    np.savez_compressed(path, train_samples=np.stack([compose(rng) for _ in range(COUNT)]))


if __name__ == "__main__":
    main(sys.argv[1])
