"""How much each layer costs in INT8: one at a time, with all others in float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import GraphModule

from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.choose.candidates import Layers, Start, lower
from edgegan.compress.quantize.choose.file_evaluator import FileEvaluator
from edgegan.target import Int8

WORST = 3
"""FID, which takes a file and thousands of images, is measured for this many layers."""
NEGLIGIBLE = 0.01
"""A layer with a smaller share of all layers' errors is not worth being in float, however cheap that is."""


@dataclass(frozen=True)
class Sensitivity:
    """What a layer alone in INT8 does to the outputs."""

    layer: str
    macs_share: float
    """Of the multiply-accumulates of all layers, 0..1."""
    psnr_db: float
    """Of the outputs to the float ones."""
    fid_increase: float | None = None
    """Of the target's file, relative to the float student's; only for the worst."""

    @property
    def error(self) -> float:
        """The mean square error of the outputs, as a share of their range squared. Layers' errors add up."""
        return float(10 ** (-self.psnr_db / 10))


def sweep(
    start: Start,
    layers: Layers,
    int8: Int8,
    calibrator: Calibrator,
    judge: FileEvaluator,
    progress: Callable[[], object] = lambda: None,
) -> list[Sensitivity]:
    """Quantize each layer that is to be in INT8 alone.

    Returns:
        One entry a layer, in the order in which they run; the worst have FID where `judge` can measure it.
    """
    total = sum(layers.macs.values())
    chosen = [layer for layer in layers.macs if layer not in layers.skip]

    def alone(layer: str) -> GraphModule:
        return lower(start, layers.without([other for other in chosen if other != layer]), int8, calibrator)

    psnr, increases = {}, {}
    for layer in chosen:
        psnr[layer] = judge.samples.psnr_db(alone(layer))
        progress()
    if judge.fid is not None:
        for layer in sorted(chosen, key=psnr.__getitem__)[:WORST]:
            with judge.file(alone(layer)) as path:
                increases[layer] = judge.measure(path, judge.fid)
    return [
        Sensitivity(layer, layers.macs[layer] / total, psnr[layer], increases.get(layer)) for layer in chosen
    ]


def ranking(table: Sequence[Sensitivity]) -> list[str]:
    """Return the layers in the order in which to take them out of INT8: the most error per MAC first.

    Those whose error is negligible come last.
    """
    total = sum(entry.error for entry in table)
    ranked = sorted(
        table, key=lambda entry: (entry.error < NEGLIGIBLE * total, -entry.error / entry.macs_share)
    )
    return [entry.layer for entry in ranked]


def to_dicts(table: Sequence[Sensitivity], fid: str | None) -> list[dict[str, Any]]:
    """Return the table as plain data: `layer`, `macs_share`, `psnr_db`, and the increase under `fid`."""
    return [
        {
            "layer": entry.layer,
            "macs_share": round(entry.macs_share, 4),
            "psnr_db": round(entry.psnr_db, 2),
            **({fid: round(entry.fid_increase, 4)} if fid and entry.fid_increase is not None else {}),
        }
        for entry in table
    ]
