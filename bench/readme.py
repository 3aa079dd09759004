"""Put the tables, the figures in front and the pictures of the CIFAR-10 runs into README.md.

edgegan compress recipes/cifar10 && python bench/headline.py && python bench/readme.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from edgegan.files import write_text
from edgegan.report.headline import headline
from edgegan.report.table import markdown_table
from edgegan.run.folder import read_run
from edgegan.runtime.grid import image_grid, write_png

ROOT = Path(__file__).resolve().parents[1]
RUNS = {"quick": ROOT / "runs" / "cifar10", "full": ROOT / "runs" / "cifar10-full"}
COLUMNS = 16
FRONT, SCALE = 8, 4
"""Pictures of a row in front, each pixel drawn as 4 by 4."""


def section(run: Path) -> str:
    """Return a run's table, and under it what it was measured with."""
    read = read_run(run)
    protocol, machine = read.figures.protocol, read.figures.protocol.machine
    flags = ", ".join(machine["flags"])
    sentences = [
        f"Made by `{read.run.shell_command}`:",
        f"{protocol.engine}, {protocol.threads} threads, batch {protocol.batch},",
        f"on {machine['cores']} cores of an {machine['cpu']} ({flags});",
        f"{protocol.samples:,} samples of seed {protocol.seed}, features {protocol.features},",
        f"reference {protocol.reference}. Brackets hold 95% intervals.",
    ]
    return f"{markdown_table(read.figures)}\n\n{' '.join(sentences)}"


def fill(text: str, name: str, content: str) -> str:
    """Replace what stands between the two markers of `name`."""
    pattern = rf"(<!-- {name}\b[^>]*-->).*?(<!-- /{name} -->)"
    filled, count = re.subn(pattern, lambda m: m[1] + content + m[2], text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"README.md has {count} places for {name!r}, not 1")
    return filled


def grid(run: Path) -> np.ndarray[Any, Any]:
    """Return the first samples of each row of the run's table, one row each."""
    shown = [row.name for row in read_run(run).figures.rows if not row.unmeasured]
    strips = [np.load(run / "samples" / f"{row}.npz")["images"][:COLUMNS] for row in shown]
    return image_grid(np.concatenate(strips), COLUMNS)


def shipped(run: Path) -> str:
    """Return the precision of the file that a run's bundle loads by default."""
    return json.loads((run / "bundle" / "manifest.json").read_text())["default"]


def front(run: Path) -> np.ndarray[Any, Any]:
    """Return the full model's first samples, large, over those of the file that ships."""
    rows = [np.load(run / "samples" / f"{row}.npz")["images"][:FRONT] for row in ("full", shipped(run))]
    return image_grid(np.concatenate(rows).repeat(SCALE, axis=1).repeat(SCALE, axis=2), FRONT)


def sentence(run: Path) -> str:
    """Return the figures of the file that ships against the full model, in one line."""
    summed = headline(read_run(run).figures, shipped(run))
    assert summed is not None
    return "; ".join(f"**{item.figure} {item.what}** ({item.detail})" for item in summed.items)


def int8_table(content: dict[str, Any]) -> str:
    """Return bench/int8.json in short: batch 1, edgegan's file and stock's."""
    lines = ["| generator | INT8 by edgegan | INT8 by stock ONNX Runtime |", "| --- | ---: | ---: |"]
    for row in content["rows"]:
        cells = []
        for name in ("edgegan_vnni", "stock"):
            speedup = row["files"][name]["latency"]["1"]["speedup"]
            times = f"{speedup['value']:.2f}×" if speedup else "speed withheld"
            cells.append(f"{times}, {row['files'][name]['psnr_db']:.1f} dB")
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    machine = content["protocol"]["machine"]
    made = f"{machine['cores']} cores of an {machine['cpu']} ({', '.join(machine['flags'])})"
    engine = f"onnxruntime {machine['packages']['onnxruntime']}"
    lines += [
        "",
        f"Against FP32, batch 1, {engine}, {made}: `python bench/int8.py`, [the whole table](bench/int8.md). "
        "All that can be is in INT8 here; by default layers stay in float until 40 dB are held.",
    ]
    return "\n".join(lines)


def main() -> None:
    text = (ROOT / "README.md").read_text()
    text = fill(text, "numbers", sentence(RUNS["full"]))
    text = fill(text, "int8", f"\n{int8_table(json.loads((ROOT / 'bench' / 'int8.json').read_text()))}\n")
    write_png(ROOT / "bench" / "front.png", front(RUNS["full"]))
    for name, run in RUNS.items():
        text = fill(text, name, f"\n{section(run)}\n")
        write_png(ROOT / "bench" / f"{name}.png", grid(run))
    record = json.loads((RUNS["full"] / "stages" / "02-distill" / "record.json").read_text())
    text = fill(text, "minutes", f"{record['seconds'] / 60:.0f}")
    write_text(ROOT / "README.md", text)


if __name__ == "__main__":
    main()
