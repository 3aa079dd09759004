"""What compression makes of the recipes' networks: one line for each recipe whose run was put into the table.

    edgegan compress recipes/NAME --profile full --out runs/NAME && python bench/families.py runs/NAME...

keeps the full model's figures and those of the INT8 file in `families.json`, beside those of other runs that
are there, and writes `families.md`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegan.files import write_json, write_text
from edgegan.measure.statistics import Interval
from edgegan.recipe import Recipe
from edgegan.report import format
from edgegan.report.quality import main_metric, title
from edgegan.run.figures import Row
from edgegan.run.folder import read_run

BENCH = Path(__file__).parent
KEPT, PAGE = BENCH / "families.json", BENCH / "families.md"
FULL, INT8 = "full", "int8"
FEWER, WITHIN, NEAR = 4, 0.1, 35
"""The goal: times fewer MACs, and how much worse than the full model's a figure may be, or dB of PSNR."""
TITLE = "| recipe | network | MACs | after | file | INT8 file | figure | full model | INT8 |"
RULE = "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: |"


def entry(run: Path) -> tuple[str, dict[str, Any]]:
    """Return the name of a run's recipe, and what the table says of it."""
    recipe, read = Recipe.read(run), read_run(run)
    metric = main_metric(read.figures)
    if metric is None:
        raise SystemExit(f"{run} has no figures of quality")
    key, column = metric
    rows = {row.name: _plain(row, key) for row in read.figures.rows if row.name in (FULL, INT8)}
    return recipe.name, {
        "network": recipe.model.callable,
        "figure": title(column),
        "better": column.better,
        "command": read.run.shell_command,
        "samples": read.figures.protocol.samples,
        **rows,
    }


def _plain(row: Row, key: str) -> dict[str, Any]:
    figure = row.interval(key)
    measured = figure and [figure.value, figure.low, figure.high]
    return {"params": row.params, "macs": row.macs, "bytes": row.file_bytes, "figure": measured}


def markdown(kept: Mapping[str, Any]) -> str:
    """Return the page."""
    recipes = sorted(path.parent.name for path in (BENCH.parent / "recipes").glob("*/recipe.yaml"))
    lines = [_line(name, kept[name]) for name in recipes if name in kept]
    missing = [name for name in recipes if name not in kept]
    made = [
        f"- {name}: `{kept[name]['command']}`, {kept[name]['samples']:,} samples"
        for name in recipes
        if name in kept
    ]
    met = [name for name in recipes if name in kept and meets_goal(kept[name])]
    short = [name for name in recipes if name in kept and name not in met]
    left = ["", f"Not in the table yet: {', '.join(missing)}."] if missing else []
    return "\n".join(
        [
            "# The recipes' networks, compressed",
            "",
            TITLE,
            RULE,
            *lines,
            *left,
            "",
            "Figures are of the files that ship; brackets hold 95% intervals, arrows say what is better. "
            "Where outputs are compared with the full model's, it has no figure of its own.",
            "",
            f"The goal is {FEWER} times fewer MACs and a figure at most {WITHIN:.0%} worse than the full "
            f"model's or, where it has none, {NEAR} dB. {len(met)} of {len(kept)} meet it"
            + (f"; {', '.join(short)} not." if short else "."),
            "",
            "Made by",
            "",
            *made,
            "",
        ]
    )


def meets_goal(said: Mapping[str, Any]) -> bool:
    """Return whether what is kept of a run meets the goal that the page tells."""
    full, int8 = said[FULL], said[INT8]
    figure, least = int8["figure"][0], full["figure"]
    if least is None:
        held = said["figure"] == "PSNR, dB" and figure >= NEAR
    elif said["better"] == "higher":
        held = figure >= (1 - WITHIN) * least[0]
    else:
        held = figure <= (1 + WITHIN) * least[0]
    return held and full["macs"] >= FEWER * int8["macs"]


def _line(name: str, said: Mapping[str, Any]) -> str:
    full, int8 = said[FULL], said[INT8]
    fewer = f"{format.count(int8['macs'])}, {format.ratio(full['macs'] / int8['macs'])} fewer"
    arrow = "↑" if said["better"] == "higher" else "↓"
    cells = (
        f"[{name}](../recipes/{name}/README.md)",
        said["network"].rpartition(":")[0].rpartition(".")[2],
        format.count(full["macs"]),
        fewer,
        format.size(full["bytes"]),
        format.size(int8["bytes"]),
        f"{said['figure']} {arrow}",
        _figure(full["figure"]),
        _figure(int8["figure"]),
    )
    return "| " + " | ".join(cells) + " |"


def _figure(measured: list[float] | None) -> str:
    if measured is None:
        return "–"
    value, low, high = measured
    return format.number(value) if low == high else format.interval(Interval(value, low, high))


def main(runs: list[str]) -> None:
    """Add the runs to what is kept, and write the page."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept |= dict(entry(Path(run)) for run in runs)
    write_json(KEPT, kept)
    write_text(PAGE, markdown(kept))


if __name__ == "__main__":
    main(sys.argv[1:])
