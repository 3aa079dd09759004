"""The tables that normal latents are drawn with: `python -m edgegan.runtime.ziggurat` prints them as JSON.

Marsaglia and Tsang, "The ziggurat method for generating random variables", 2000, with 256 layers of equal
area under exp(-x*x/2). numpy has these tables in its binary; README.md says how they are used.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence

LAYERS, BITS = 256, 23
EDGE = 3.6541528853610088
"""Where the tail begins."""
AREA = 0.00492867323399
"""Of each layer, as the authors of numpy's tables rounded it."""


def tables() -> dict[str, Sequence[float]]:
    """Return `k` (whole numbers), and `w` and `f`, whose values are exactly those of float32, 256 of each."""
    x = [0.0] * LAYERS
    f = [1.0] * LAYERS
    x[-1], f[-1] = EDGE, math.exp(-0.5 * EDGE * EDGE)
    for layer in range(LAYERS - 2, 0, -1):
        x[layer] = math.sqrt(-2.0 * math.log(AREA / x[layer + 1] + f[layer + 1]))
        f[layer] = math.exp(-0.5 * x[layer] * x[layer])
    scale = 1 << BITS
    k = [round(EDGE * f[-1] / AREA * scale), 0]
    k += [round(x[layer - 1] / x[layer] * scale) for layer in range(2, LAYERS)]
    w = [AREA / f[-1] / scale, *(width / scale for width in x[1:])]
    return {"k": k, "w": list(map(_float32, w)), "f": list(map(_float32, f))}


def _float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


if __name__ == "__main__":
    print(json.dumps(tables()))
