"""Pictures of what is no image, for the page and for `generate --out FILE.png`."""

from __future__ import annotations

import colorsys
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEIGHT, _WIDTH = 72, 144
_MOST = 128
_WHITE = 255
_GOLDEN = 0.618034


def palette(count: int) -> NDArray[np.uint8]:
    """Return `count` colours (count, 3): black, then hues by the golden ratio, so that neighbours differ."""
    colours = [(0.0, 0.0, 0.0)]
    for index in range(1, count):
        value = (0.95, 0.7, 0.5)[index % 3]
        colours.append(colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.75, value))
    return np.rint(np.array(colours[:count]) * 255).astype(np.uint8)


def coloured(ids: NDArray[Any], count: int) -> NDArray[np.uint8]:
    """Return whole numbers (N, *places) below `count` as colours (N, height, width, 3)."""
    return palette(count)[flat(ids)]


def flat(values: NDArray[Any]) -> NDArray[Any]:
    """Return (N, *shape) as (N, height, width): one axis as rows of a square, of several the last across.

    Of more than 128 rows or columns every n-th is taken. Places that no value fills hold 0.
    """
    n = len(values)
    if values.ndim <= 2:
        values = values.reshape(n, -1)
        width = math.ceil(math.sqrt(values.shape[1]))
        missing = -values.shape[1] % width
        values = np.pad(values, ((0, 0), (0, missing)))
    else:
        width = values.shape[-1]
    rows = values.reshape(n, -1, width)
    return rows[:, :: -(-rows.shape[1] // _MOST), :: -(-width // _MOST)]


def side_by_side(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return frames (N, T, H, W, C) as one picture a sample (N, H, T (W + 1) - 1, C), white between them."""
    n, count, height, width, channels = frames.shape
    padded = np.full((n, count, height, width + 1, channels), _WHITE, np.uint8)
    padded[..., :-1, :] = frames
    return padded.transpose(0, 2, 1, 3, 4).reshape(n, height, -1, channels)[:, :, :-1]


def curves(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return curves (N, channels, steps) of values from `low` to `high` as pictures (N, 72, 144, 3).

    Each column of a picture shows all values that fall into it, from the lowest to the highest.
    """
    n, channels, steps = values.shape
    shares = np.nan_to_num(np.clip((values - low) / (high - low), 0, 1), nan=0.5)
    heights = np.rint((1 - shares) * (_HEIGHT - 1)).astype(int)
    width = min(_WIDTH, max(2, steps))
    edges = np.linspace(0, steps, width + 1).astype(int)
    pictures = np.full((n, _HEIGHT, width, 3), _WHITE, np.uint8)
    colours = palette(channels + 1)[1:]
    rows = np.arange(_HEIGHT)
    for column in range(width):
        first = max(0, edges[column] - 1)  # with the step before, so that curves hang together
        part = heights[:, :, first : max(first + 1, edges[column + 1])]
        top, bottom = part.min(axis=2)[..., None], part.max(axis=2)[..., None]
        inside = (rows >= top) & (rows <= bottom)
        for channel in range(channels):
            pictures[:, :, column][inside[:, channel]] = colours[channel]
    return pictures
