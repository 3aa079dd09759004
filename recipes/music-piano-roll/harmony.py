"""How much of a piano roll is in harmony."""

from __future__ import annotations

import numpy as np

PITCHES, STEPS, LOWEST = 32, 32, 43
"""The lowest pitch is G2, as a MIDI number."""
REST, BASS, CHORD, MELODY = range(4)
TRIADS = ((0, 4, 7), (0, 3, 7))


def harmony(outputs):
    """Return for each roll (N, 32, 32) the share of its eight beats that are in harmony."""
    return np.array(
        [np.mean([is_harmonic(roll[:, beat]) for beat in range(0, STEPS, 4)]) for roll in outputs]
    )


harmony.title = "Beats in harmony"
harmony.modalities = ("class_map",)


def is_harmonic(column) -> bool:
    """Whether one step (32,) is a chord: one bass, and above it notes of its major or minor triad alone.

    Three of them at least, the melody's among them.
    """
    (bass,) = bass if len(bass := np.flatnonzero(column == BASS)) == 1 else (None,)
    above = np.flatnonzero((column == CHORD) | (column == MELODY))
    if bass is None or len(above) < 3 or not (column == MELODY).any():
        return False
    intervals = set(((above - bass) % 12).tolist())
    return any(intervals <= set(triad) for triad in TRIADS)
