"""How much each layer costs in INT8: one at a time, with all others in float."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgegan.compress.quantize.calibrate.calibration import levels_around, quantizers, split_readers
from edgegan.compress.quantize.calibrate.calibrators import Calibrator
from edgegan.compress.quantize.calibrate.neural_compressor import prepare
from edgegan.compress.quantize.choose.candidates import Start, calibration, lower
from edgegan.compress.quantize.choose.file_evaluator import FileEvaluator
from edgegan.compress.quantize.choose.quantized_layers import Layers
from edgegan.compress.quantize.prepare.fake_quantize import Levels
from edgegan.compress.quantize.prepare.layers import layer_names
from edgegan.compress.quantize.prepare.quantizer import Int8Quantizer
from edgegan.target import Int8

WORST = 3
"""FID, which takes a file and thousands of images, is measured for this many layers."""


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

    Args:
        start: the float graph, and what its tensors hold.
        layers: which are to be in INT8.
        int8: how.
        calibrator: how ranges are found.
        judge: measures FID, where it can.
        progress: called after each layer.

    Returns:
        One entry a layer, in the order in which they run; the worst have FID where `judge` can measure it.
    """
    total = sum(layers.macs.values())
    chosen = [layer for layer in layers.macs if layer not in layers.skip]
    prepared = prepare(copy.deepcopy(start.graph), Int8Quantizer(int8, layers.skip, layers.float_outputs))
    calibration(start, int8, calibrator)(prepared)
    split_readers(prepared)
    around: dict[str, set[Levels]] = {layer: set() for layer in chosen}
    names = {node.name: layer for node, layer in layer_names(start.graph).items()}
    for name, levels in levels_around(prepared, outputs=int8.outputs).items():
        around[names[name]] |= levels
    psnr, increases = {}, {}
    for layer in chosen:
        for _, levels in quantizers(prepared):
            levels.active = levels in around[layer]
        psnr[layer] = judge.samples.psnr_db(prepared)
        progress()
    for layer in sorted(chosen, key=psnr.__getitem__)[:WORST] if judge.fid else ():
        others = layers.without([other for other in chosen if other != layer])
        with judge.file(lower(start, others, int8, calibrator)) as path:
            increases[layer] = judge.measure(path, judge.fid)  # pyright: ignore[reportArgumentType]
    return [
        Sensitivity(layer, layers.macs[layer] / total, psnr[layer], increases.get(layer)) for layer in chosen
    ]


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
