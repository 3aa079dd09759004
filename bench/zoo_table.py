"""The figures of zoo.py as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

STEPS = ("lint", "prune", "distill", "export", "quantize", "tensorrt", "runtime")
GOAL_DB = 40.0
Figures = Mapping[str, Any]


def markdown(content: Figures) -> str:
    """Return the table, how many come through, and why the others do not."""
    rows = content["rows"]
    through = [row for row in rows if not list(_failures(row))]
    good = [row for row in through if row["accuracy"]["int8"] >= GOAL_DB]
    machine = content["protocol"]["machine"]
    lines = [
        f"{len(through)} of {len(rows)} architectures come through every step, {len(good)} of them with INT8 "
        f"at {GOAL_DB:g} dB or more.",
        "",
        _line(
            "architecture",
            "MACs kept",
            "FP16, dB",
            "INT8, dB",
            "stock INT8, dB",
            "MACs in INT8",
            "in float",
            "INT8 against FP32",
            "stock against FP32",
            "failed",
        ),
        _line(*["---"] * 10),
        *(_row(row) for row in rows),
        "",
        *(f"- **{row['name']}**, {step}: {why}" for row in rows for step, why in _failures(row)),
        "",
        f"Random weights, settled; calibrated on noise; edgegan {content['protocol']['edgegan']}, batch 1, "
        f"one thread, on {machine.get('cpu', 'this CPU')}. The dB are of outputs against the student's, with "
        "the output's range as peak, on inputs that nothing was calibrated on.",
    ]
    return "\n".join(lines).rstrip() + "\n"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _row(row: Figures) -> str:
    failed = ", ".join(step for step, _ in _failures(row))
    if "broken" in row:
        return _line(row["name"], *[""] * 8, failed)
    prune, int8 = row["prune"].get("proof"), row["quantize"].get("proof", {}).get("int8")
    return _line(
        row["name"],
        f"{prune['after']['macs'] / prune['before']['macs']:.0%}" if prune else "",
        *(_number(row["accuracy"].get(file)) for file in ("fp16", "int8")),
        _number(row["stock"].get("psnr_db")),
        f"{int8['int8_macs_share']:.0%}" if int8 else "",
        _some(int8["float_layers"]) if int8 else "",
        *(_ratio(row["speed"].get(file)) for file in ("int8", "stock")),
        failed,
    )


def _failures(row: Figures) -> Iterator[tuple[str, str]]:
    """Yield the steps that failed, and why."""
    if "broken" in row:
        yield "all", row["broken"]
        return
    for step in STEPS:
        if why := row[step].get("failed"):
            yield step, why


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _some(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:2]) + (
        f" and {len(names) - 2} more" if len(names) > 2 else ""
    )


def _ratio(latency: Figures | None) -> str:
    speedup = (latency or {}).get("speedup")
    return f"{speedup['value']:.2f}" if speedup else ""
