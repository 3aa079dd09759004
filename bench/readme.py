"""Put the tables and image grids of the CIFAR-10 runs into README.md.

edgegan compress recipes/cifar10 && python bench/headline.py && python bench/readme.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from edgegan.files import write_text
from edgegan.report.table import markdown_table
from edgegan.runtime.grid import image_grid, write_png

ROOT = Path(__file__).resolve().parents[1]
RUNS = {"quick": ROOT / "runs" / "cifar10", "full": ROOT / "runs" / "cifar10-full"}
COLUMNS = 16


def section(run: Path) -> str:
    """Return a run's table, and under it what it was measured with."""
    figures = json.loads((run / "figures.json").read_text())
    described = json.loads((run / "run.json").read_text())
    protocol: dict[str, Any] = figures["protocol"]
    machine = protocol["machine"]
    flags = ", ".join(machine["flags"])
    sentences = [
        f"Made by `{' '.join(described['command'])}`:",
        f"{protocol['engine']}, {protocol['threads']} threads, batch {protocol['batch']},",
        f"on {machine['cores']} cores of an {machine['cpu']} ({flags});",
        f"{protocol['samples']:,} samples of seed {protocol['seed']}, features {protocol['features']},",
        f"reference {protocol['reference']}. Brackets hold 95% intervals.",
    ]
    return f"{markdown_table(figures)}\n\n{' '.join(sentences)}"


def fill(text: str, name: str, content: str) -> str:
    """Replace what stands between the two markers of `name`."""
    pattern = rf"(<!-- {name}\b[^>]*-->).*?(<!-- /{name} -->)"
    filled, count = re.subn(pattern, lambda m: m[1] + content + m[2], text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"README.md has {count} places for {name!r}, not 1")
    return filled


def grid(run: Path) -> np.ndarray[Any, Any]:
    """Return the first samples of each row of the run's table, one row each."""
    rows = json.loads((run / "figures.json").read_text())["rows"]
    shown = [row["name"] for row in rows if not row.get("unmeasured")]
    strips = [np.load(run / "samples" / f"{row}.npz")["images"][:COLUMNS] for row in shown]
    return image_grid(np.concatenate(strips), COLUMNS)


def main() -> None:
    text = (ROOT / "README.md").read_text()
    for name, run in RUNS.items():
        text = fill(text, name, f"\n{section(run)}\n")
        write_png(ROOT / "bench" / f"{name}.png", grid(run))
    record = json.loads((RUNS["full"] / "stages" / "02-distill" / "record.json").read_text())
    text = fill(text, "minutes", f"{record['seconds'] / 60:.0f}")
    write_text(ROOT / "README.md", text)


if __name__ == "__main__":
    main()
