"""Arrays as `.csv` files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgegan.files import write_text


def write_csv(path: Path, titles: Iterable[str], index: NDArray[Any], values: NDArray[Any]) -> None:
    """Write whole numbers `index` (rows, I), then `values` (rows, V), under I + V `titles`.

    Floats are written so that reading them gives the same float32.

    Raises:
        StorageError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    for numbers, row in zip(index.tolist(), values, strict=True):
        writer.writerow([*numbers, *map(str, row)])
    write_text(path, text.getvalue())
