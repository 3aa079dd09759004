"""The figures of zoo.py as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

STEPS = ("lint", "prune", "distill", "export", "quantize", "tensorrt", "runtime", "accuracy")
"""edgegan's own; what fails of stock quantization is told, and held against nobody."""
GOAL_DB = 40.0
COLUMNS = ("MACs kept", "FP16, dB", "INT8, dB", "stock INT8, dB", "MACs in INT8", "kept in float")
OTHERS = ("INT8 for TensorRT, dB", "off in an app, of 255")
SPEEDS = ("INT8 against FP32", "stock against FP32")
Figures = Mapping[str, Any]


def markdown(content: Figures) -> str:
    """Return the table, how many come through, and why the others do not."""
    rows, timed = content["rows"], any("speed" in row for row in content["rows"])
    count = content["protocol"]["architectures"]
    missing = [f"{len(rows)} of {count} are made so far.", ""] if len(rows) < count else []
    columns = ["architecture", *COLUMNS, *OTHERS, *(SPEEDS if timed else ()), "failed"]
    withheld = "" if timed else " Speeds are withheld: `python bench/zoo.py --speed` wants a quiet machine."
    lines = [
        *missing,
        *_summary(rows),
        "",
        _line(*columns),
        _line(*["---"] * len(columns)),
        *(_row(row, len(columns), timed) for row in rows),
        "",
        *(f"- **{row['name']}**, {step}: {why}" for row in rows for step, why in failures(row)),
        *(f"- **{row['name']}**, stock INT8: {row['stock']['failed']}" for row in rows if _stock_fails(row)),
        *(f"- **{row['name']}** is not pruned: {row['prune']['whole']}" for row in rows if _whole(row)),
        "",
        f"Random weights, settled; calibrated on noise; edgegan {content['protocol']['edgegan']}, "
        f"{_made_by(rows)}. The dB are of outputs against the student's, with the output's "
        f"range as peak, on inputs that nothing was calibrated on.{withheld}",
    ]
    return "\n".join(lines).rstrip() + "\n"


def failures(row: Figures) -> Iterator[tuple[str, str]]:
    """Yield the steps that failed, and why."""
    if "broken" in row:
        yield "all", row["broken"]
        return
    for step in STEPS:
        if why := row[step].get("failed"):
            yield step, why


def _made_by(rows: list[Figures]) -> str:
    """Return on what, and by which revision of `quantize`, how many rows were made."""
    kinds = Counter(
        (
            row["made_by"]["machine"].get("cpu", "this CPU"),
            row["made_by"]["machine"]["packages"]["onnxruntime"],
            row["made_by"]["quantize_revision"],
        )
        for row in rows
    )
    return "; ".join(
        f"{count} rows on {cpu} with onnxruntime {version} by revision {revision} of `quantize`"
        for (cpu, version, revision), count in sorted(kinds.items())
    )


def _summary(rows: list[Figures]) -> list[str]:
    through = [row for row in rows if not list(failures(row))]
    whole = sum(map(_whole, through))
    good = [row for row in through if row["accuracy"]["int8"] >= GOAL_DB]
    mixed = [row for row in good if row["quantize"]["proof"]["int8"]["float_layers"]]
    under = [row for row in through if row not in good]
    told = [row for row in under if not row["quantize"]["changed"]["int8"]["budget"]["met"]]
    missed = (
        f" Of the {len(under)} under it, `quantize` says so of {len(told)}, and {len(under) - len(told)} "
        "reached it on the inputs that it chose by."
    )
    missed = missed if under else ""
    left = f" {whole} are not pruned, for the reasons below." if whole else ""
    return [
        f"{len(through)} of {len(rows)} architectures come through every step, {len(good)} of them with INT8 "
        f"at {GOAL_DB:g} dB or more, {len(mixed)} of these with layers in float.{missed}{left}"
    ]


def _stock_fails(row: Figures) -> bool:
    return "failed" in row.get("stock", {})


def _whole(row: Figures) -> bool:
    return "broken" not in row and "whole" in row["prune"]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _row(row: Figures, columns: int, timed: bool) -> str:
    failed = ", ".join(step for step, _ in failures(row))
    if "broken" in row:
        return _line(row["name"], *[""] * (columns - 2), failed)
    prune, int8 = row["prune"].get("proof"), row["quantize"].get("proof", {}).get("int8")
    accuracy, steps = row["accuracy"], row["runtime"].get("steps")
    return _line(
        row["name"],
        f"{prune['after']['macs'] / prune['before']['macs']:.0%}" if prune else "all",
        *(_number(accuracy.get(file)) for file in ("fp16", "int8")),
        _number(row["stock"].get("psnr_db")),
        f"{int8['int8_macs_share']:.0%}" if int8 else "",
        _some(int8["float_layers"]) if int8 else "",
        _number(accuracy.get("int8-tensorrt")),
        "" if steps is None else f"{steps:.2g}",
        *(_ratio(row.get("speed", {}).get(file)) for file in ("int8", "stock") if timed),
        failed,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _some(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:2]) + (
        f" and {len(names) - 2} more" if len(names) > 2 else ""
    )


def _ratio(latency: Figures | None) -> str:
    speedup = (latency or {}).get("speedup")
    return f"{speedup['value']:.2f}" if speedup else ""
