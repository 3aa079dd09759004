"""The streams of random numbers that inputs are drawn from; README.md specifies them."""

from __future__ import annotations

import numpy as np

NEWEST = 2
"""The version of contracts that are written now."""


def stream(seed: int, index: int, version: int = NEWEST) -> np.random.Generator:
    """Return the stream of input number `index`, from 0, of `seed`, 0 or more.

    Version 1 put the words of the seed before the index, so that input 1 of seed 7 and input 0 of seed
    2**32 + 7 drew the same numbers. Version 2 puts the index after the lowest word: seeds below 2**32 draw
    what they did.
    """
    words = [seed, index] if version == 1 else [seed % 2**32, index, seed >> 32]
    return np.random.default_rng(words)
