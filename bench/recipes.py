"""Put the figures and the samples of recipes' runs into the recipes' folders.

    edgegan compress recipes/NAME --out runs/NAME && python bench/recipes.py runs/NAME

writes the table between the marks `figures` of recipes/NAME/README.md, without latencies and doubts of them,
and samples.png: the full model's samples above those of its INT8 file.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from readme import fill

from edgegan.files import write_text
from edgegan.recipe import Recipe
from edgegan.report.table import markdown_table
from edgegan.run.folder import read_run
from edgegan.runtime.grid import image_grid, write_png

ROOT = Path(__file__).resolve().parents[1]
COSTS = ("params", "macs", "file_bytes")
COLUMNS, SCALE, WIDEST = 16, 2, 1100
"""Of a picture: samples beside each other at most, how much they are enlarged, and pixels."""


def write(run: Path) -> None:
    """Write the table and the picture of the recipe that a run is of."""
    recipe = Recipe.read(run)
    read, folder = read_run(run), ROOT / "recipes" / recipe.name
    protocol = read.figures.protocol
    measured = tuple(replace(row, warnings=()) for row in read.figures.rows if not row.unmeasured)
    figures = replace(read.figures, rows=measured, protocol=replace(protocol, noise=None))
    features = f", features {protocol.features}, reference {protocol.reference}" if protocol.features else ""
    made = f"`{read.run.shell_command}`: {protocol.samples:,} samples of seed {protocol.seed}{features}."
    picture = "![the full model's samples above, the INT8 file's below, of equal inputs](samples.png)"
    table = markdown_table(figures, COSTS)
    section = f"\n{table}\nMade by {made} Brackets hold 95% intervals.\n\n{picture}\n"
    write_text(folder / "README.md", fill((folder / "README.md").read_text(), "figures", section))
    strips = [next(iter(np.load(run / "samples" / f"{row}.npz").values())) for row in ("full", "int8")]
    columns = min(COLUMNS, max(1, WIDEST // (SCALE * strips[0].shape[2])))
    shown = np.concatenate([strip[:columns] for strip in strips])
    write_png(folder / "samples.png", image_grid(shown.repeat(SCALE, 1).repeat(SCALE, 2), columns))


if __name__ == "__main__":
    for run in sys.argv[1:]:
        write(Path(run))
