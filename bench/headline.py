"""The figures of the CIFAR-10 recipe's full profile against their goals.

    python bench/headline.py

Runs `edgegan compress recipes/cifar10 --profile full`, from the distilled student on that bench/cifar10-full
keeps, or going on with what is in runs/cifar10-full, and writes bench/headline.json and bench/headline.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import full_run

from edgegan import compress_generator
from edgegan.files import write_json, write_text
from edgegan.report.table import markdown_table

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Goal:
    what: str
    goal: str
    value: float
    met: bool


def goals(full: Mapping[str, Any], int8: Mapping[str, Any], quality: str) -> list[Goal]:
    """Compare the INT8 file of the bundle with the full model's FP32 file."""
    macs = full["macs"] / int8["macs"]
    size = full["file_bytes"] / int8["file_bytes"]
    increase = int8[quality]["value"] / full[quality]["value"] - 1
    if int8["speedup"] is None:
        raise SystemExit(f"the speed-up is not told: {int8['withheld'] or int8['failed']}")
    speedup = int8["speedup"]["value"]
    return [
        Goal("times fewer MACs", "at least 20", macs, macs >= 20),
        Goal("times smaller file", "at least 20", size, size >= 20),
        Goal(f"increase of {quality}, share of the full model's", "at most 0.15", increase, increase <= 0.15),
        Goal("times lower batch-1 latency", "at least 4", speedup, speedup >= 4),
    ]


def main() -> None:
    os.chdir(ROOT)
    full_run.begin(full_run.FULL)
    run = compress_generator("recipes/cifar10", profile="full")
    assert run.figures is not None
    figures = run.figures.to_dict()
    rows = {row["name"]: row for row in figures["rows"]}
    quality = next(key for key in rows["full"] if key.startswith("fid_"))
    reached = goals(rows["full"], rows["int8"], quality)
    content = {"goals": [asdict(goal) for goal in reached], **figures}
    write_json(ROOT / "bench" / "headline.json", content)
    lines = ["| INT8 against the full model | goal | value | met |", "| --- | --- | --- | --- |"]
    lines += [f"| {g.what} | {g.goal} | {g.value:.3g} | {'yes' if g.met else 'no'} |" for g in reached]
    write_text(ROOT / "bench" / "headline.md", "\n".join([*lines, "", markdown_table(run.figures)]) + "\n")
    print((ROOT / "bench" / "headline.md").read_text())


if __name__ == "__main__":
    main()
