"""What is said of INT8 files: whether they are as near as asked for, and whether they pay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

from edgegan.compress.int8_targets import QUANTIZE
from edgegan.compress.lint.finding import Finding, together
from edgegan.compress.psnr import LEAST_USED, used_db
from edgegan.compress.stage import StageRecord
from edgegan.runtime.artifact import Artifact

SHORT_DB = 3.0
"""Samples that fall short of the budget by more are told of: their error is twice what is allowed."""
LITTLE_SHARE = 0.1
"""Of the multiplications: where so few are in INT8, at twice the speed, the file is under 5% faster, which a
bench does not tell from noise."""


def int8_findings(lineage: Iterable[StageRecord]) -> list[Finding]:
    """Say where an INT8 file is farther from the float outputs than asked for, all samples as one or some of
    them; where its dB say little; and where hardly any of it is in INT8.
    """
    found = (
        look(key, proof, record)
        for record in lineage
        if record.stage == QUANTIZE
        for key, proof in record.proof.items()
        for look in (_coarse, _uneven, _flattered, _hardly)
    )
    return [finding for finding in found if finding is not None]


def _coarse(key: str, proof: Mapping[str, Any], record: StageRecord) -> Finding | None:
    budget = _budget(key, record)
    if budget["met"]:
        return None
    return Finding(
        "warning",
        f"model.{key}.onnx",
        f"{_sure(proof):.1f} dB on other inputs, where {budget['psnr_db']:g} are asked for",
        "more layers in float would take back most of what INT8 saves (now in float: "
        f"{together(proof['float_layers']) or 'none'})",
        f"`quality: {{psnr_db: {budget['psnr_db']:g}}}` under `quantize` insists on it, FP32 and FP16 "
        "are finer, `distill: {}` trains INT8, and `quality: {}` asks for nothing",
    )


def _uneven(key: str, proof: Mapping[str, Any], record: StageRecord) -> Finding | None:
    budget = _budget(key, record)
    limit_db, worst_db = budget.get("psnr_db"), proof.get("worst_psnr_db")
    if limit_db is None or worst_db is None or not budget["met"] or worst_db >= limit_db - SHORT_DB:
        return None
    return Finding(
        "warning",
        f"model.{key}.onnx",
        f"{worst_db:.1f} dB on the worst of {sum(proof['batches'])} inputs",
        f"{100 * proof['under_budget_share']:.2g}% of them are under {limit_db:g} dB, which all of them hold "
        "as one",
        f"`quality: {{psnr_db: {ceil(2 * limit_db - worst_db)}}}` under `quantize` asks for as much more; "
        "FP32 and FP16 are finer",
    )


def _flattered(key: str, proof: Mapping[str, Any], _: StageRecord) -> Finding | None:
    used = proof.get("range_used_share", 1.0)
    if used >= LEAST_USED:
        return None
    return Finding(
        "warning",
        f"model.{key}.onnx",
        f"its {proof['psnr_db']:.1f} dB say little: outputs use {100 * used:.2g}% of the contract's range",
        f"against what they use it is as few as {proof['psnr_db'] - used_db(used):.1f} dB",
        "correct the range of the contract's outputs, or draw its inputs as they really are, and run again",
    )


def _hardly(key: str, proof: Mapping[str, Any], record: StageRecord) -> Finding | None:
    share = proof["int8_macs_share"]
    if share >= LITTLE_SHARE:
        return None
    whys = {
        "kept for the budget": _for_budget(key, record),
        "a last layer, or one that `skip` names": {*record.changed["kept_in_float"]},
    }
    told = {why: [layer for layer in proof["float_layers"] if layer in of] for why, of in whys.items()}
    rest = [layer for layer in proof["float_layers"] if not any(layer in of for of in told.values())]
    told["with no INT8 kernel"] = rest
    return Finding(
        "warning",
        f"model.{key}.onnx",
        f"{100 * share:.2g}% of its multiplications run in INT8: it is hardly faster than FP32",
        "in float: " + "; ".join(f"{together(layers)} ({why})" for why, layers in told.items() if layers),
        "take FP32 or FP16, which are finer, and leave `quantize` out"
        + (
            "; a lower `quality`, as {psnr_db: 30}, keeps more in INT8" if told["kept for the budget"] else ""
        ),
    )


def _budget(key: str, record: StageRecord) -> dict[str, Any]:
    return record.changed.get(key, {}).get("budget", {"met": True})


def _sure(proof: Mapping[str, Any]) -> float:
    return proof.get("sure_psnr_db", proof["psnr_db"])


def _for_budget(key: str, record: StageRecord) -> set[str]:
    """Return the layers that went to float for the budget."""
    precisions = record.changed.get(key, {}).get("precisions", {})
    in_float = {layer for layer, precision in precisions.items() if precision == "float"}
    return in_float - {*record.changed["kept_in_float"]}


def slow_int8(
    default: str, speedups: Mapping[str, Mapping[str, float]], artifacts: Iterable[Artifact]
) -> list[Finding]:
    """Say so where INT8 is slower than the finer file that is the `default`, or may be, as the default."""
    int8 = [artifact.name for artifact in artifacts if artifact.precision == "int8"]
    if default in int8 and default not in speedups:
        return [
            Finding(
                "warning",
                "",
                f"{default} is the bundle's default, and was not shown to be faster than FP32",
                "its speed-up was withheld or could not be measured on this machine",
                "close other programs and run the same command again: it measures what was withheld",
            )
        ]
    slow = [name for name in int8 if name in speedups]
    return [
        Finding(
            "warning",
            "",
            f"{default} is the bundle's default, not {name}",
            f"on this machine {name} is slower: {speedups[name]['value']:.2f}x of the full model's speed, "
            f"against {speedups[default]['value']:.2f}x",
            f"measure on your device; precision={name!r} runs it all the same",
        )
        for name in slow
        if default not in int8 and default in speedups
    ]
