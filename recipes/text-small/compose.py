"""Write sentences by `grammar.py`'s rules: `python recipes/text-small/compose.py text.npz`.

50,000 are written, from one seed.
"""

from __future__ import annotations

import sys

import numpy as np
from grammar import IDS, LENGTH, PAD, sentence

COUNT, SEED = 50_000, 0


def main(path: str) -> None:
    """Write the sentences, filled up with pads."""
    rng = np.random.default_rng(SEED)
    texts = [[IDS[word] for word in sentence(rng)] for _ in range(COUNT)]
    rows = [[*ids, *[IDS[PAD]] * (LENGTH - len(ids))] for ids in texts]
    np.savez_compressed(path, train_samples=np.array(rows, np.uint8))


if __name__ == "__main__":
    main(sys.argv[1])
