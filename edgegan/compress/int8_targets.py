"""For which devices a run writes INT8, and whether it pays: what is asked for, and what is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgegan.compress.lint.finding import Finding, together
from edgegan.compress.stage import Stage, StageRecord
from edgegan.errors import RecipeError
from edgegan.recipe import Recipe
from edgegan.runtime.artifact import Artifact

QUANTIZE = "quantize"


def for_targets(recipe: Recipe, targets: Sequence[str]) -> Recipe:
    """Return the recipe with `quantize` writing for these targets.

    Raises:
        RecipeError: it has no such stage.
    """
    if not any(spec.name == QUANTIZE for spec in recipe.stages):
        raise RecipeError(
            "targets are for the stage `quantize`, and the recipe has none",
            where=recipe.where("stages"),
            next="leave out --target, or add `- quantize: {}` to the stages",
        )
    named = {"targets": list(targets)}
    stages = tuple(
        spec.model_copy(update={"settings": {**spec.settings, **named}}) if spec.name == QUANTIZE else spec
        for spec in recipe.stages
    )
    return recipe.model_copy(update={"stages": stages})


def untold_targets(stages: Sequence[Stage]) -> list[Finding]:
    """Say for what INT8 is written where nobody said."""
    return [
        Finding(
            "warning",
            "",
            f"INT8 is written for {', '.join(stage.settings.targets)} alone",
            "the recipe's `quantize` names no targets",
            "name your device, as --target jetson-orin-nano; `edgegan targets` lists what there is",
        )
        for stage in stages
        if stage.name == QUANTIZE and "targets" not in stage.settings.model_fields_set
    ]


def coarse_int8(lineage: Iterable[StageRecord]) -> list[Finding]:
    """Say so where an INT8 file does not reach the quality that is asked for by default."""
    return [
        Finding(
            "warning",
            f"model.{key}.onnx",
            f"{_sure(proof):.1f} dB on other inputs, where {budget['psnr_db']:g} are asked for",
            f"more layers in float would take back most of what INT8 saves ({_in_float(proof)})",
            f"`quality: {{psnr_db: {budget['psnr_db']:g}}}` under `quantize` insists on it, FP32 and FP16 "
            "are finer, `distill: {}` trains INT8, and `quality: {}` asks for nothing",
        )
        for record in lineage
        if record.stage == QUANTIZE
        for key, proof in record.proof.items()
        if not (budget := record.changed.get(key, {}).get("budget", {"met": True}))["met"]
    ]


def _sure(proof: Mapping[str, Any]) -> float:
    return proof.get("sure_psnr_db", proof["psnr_db"])


def _in_float(proof: Mapping[str, Any]) -> str:
    return f"now in float: {together(proof['float_layers']) or 'none'}"


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
