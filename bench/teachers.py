"""Write what teachers trained on pairs reached, from the last row of their logs, into their recipes' pages.

python bench/teachers.py
"""

from __future__ import annotations

import json
from pathlib import Path

from edgegan.measure.metrics import find

RECIPES = Path(__file__).parent.parent / "recipes"
START, END = "<!-- teacher: written by `python bench/teachers.py` -->\n", "<!-- /teacher -->"


def table(log: Path) -> str:
    """Return the figures of a log's last row, each beside what there is without a network."""
    last = json.loads(log.read_text().splitlines()[-1])
    lines = ["| on pairs held out | teacher | without a network |", "| --- | ---: | ---: |"]
    for key in last:
        if f"baseline_{key}" in last:
            spec = find(key).spec
            title = f"{spec.title}, {spec.unit}" if spec.unit else spec.title
            plain = last[f"baseline_{key}"]
            lines.append(f"| {title} ({spec.better} is better) | {last[key]:.3f} | {plain:.3f} |")
    return "\n".join([*lines, "", f"After {last['step']:,} steps.", ""])


def main() -> None:
    for page in sorted(RECIPES.glob("*/README.md")):
        before, start, rest = page.read_text().partition(START)
        if start:
            made = table(page.with_name("teacher-log.jsonl"))
            page.write_text(before + start + made + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
